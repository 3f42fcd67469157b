"""Whether an image depends on what is made beside it: the same records in other orders and batches.

    python benchmarks/independence.py [-n 1000] [--alone 32]

makes ``n`` images in order and again in a shuffled order, and the first ``alone`` of them at batch size 1,
through the command line; writes ``benchmarks/independence.md``; exits with 1 if any image differs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def medsynth(*arguments: str | Path) -> str:
    """Run the command line in a new process: what it wrote to stdout."""
    command = [sys.executable, "-m", "medsynth_cli", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def codes_of(records: list[str], folder: Path, name: str, batch_size: int) -> dict[str, str]:
    """Hash of the codes of each record's image, by the record's id."""
    source = folder / f"{name}.jsonl"
    source.write_text("\n".join(records) + "\n")
    written = medsynth("generate", source, "-o", folder / name, "--batch-size", str(batch_size))
    return {record["id"]: record["codes_sha256"] for record in map(json.loads, written.splitlines())}


def main() -> int:
    """Make the images and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=1000, help="records")
    parser.add_argument("--alone", type=int, default=32, help="records that are also made one at a time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records = medsynth("vocab", "sample", "-n", str(options.n), "--seed", "1").splitlines()
        order = np.random.default_rng(0).permutation(len(records))
        in_order = codes_of(records, folder, "in-order", 16)
        shuffled = codes_of([records[i] for i in order], folder, "shuffled", 7)
        alone = codes_of(records[: options.alone], folder, "alone", 1)
    differ = sum(in_order[key] != value for other in (shuffled, alone) for key, value in other.items())
    lines = [
        "# Independence",
        "",
        "Images whose codes changed when the same records were made in another way. "
        "`python benchmarks/independence.py` measures it again.",
        "",
        "| records | made | beside it | differ |",
        "|---|---|---|---|",
        f"| {len(shuffled)} | shuffled, 7 at a time | in order, 16 at a time | "
        f"{sum(in_order[key] != value for key, value in shuffled.items())} |",
        f"| {len(alone)} | one at a time | in order, 16 at a time | "
        f"{sum(in_order[key] != value for key, value in alone.items())} |",
    ]
    (HERE / "independence.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return 1 if differ or len(shuffled) != options.n else 0


if __name__ == "__main__":
    sys.exit(main())
