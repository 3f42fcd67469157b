"""Peak memory of ``medsynth evaluate`` on many images: the real command, the default metrics and MMD.

    python benchmarks/memory.py [-n 1000 10000 100000]

writes ``benchmarks/memory.md``. The images are the radiographs of one shard of ``../shared/data``, named again and
again under new ids, each a group of its own: networks look at every different file once and keep what they said in
a cache, so that what is measured is the statistics of n images.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from medsynth_cli.files import atomic, datasets, records
from medsynth_cli.metrics import DEFAULT

SHARD = Path(__file__).parents[2] / "shared" / "data" / "nih-test-000.tar"
METRICS = ",".join((*DEFAULT, "mmd"))
COUNTS = (1_000, 10_000, 100_000)
MOST_GB = 3.0
SHA256 = "0" * 64


def write_records(folder: Path, count: int) -> Path:
    """Write the images of the shard, and a file with ``count`` image records of them: its path."""
    items = list(datasets.read([SHARD]))
    for item in items:
        (folder / f"{item.id}.jpg").write_bytes(item.data())
    lines = []
    for index in range(count):
        item = items[index % len(items)]
        name = f"copy-{index:06d}"
        record = {"kind": "image", "id": name, "source_id": name, "image": f"{item.id}.jpg", "seed": index}
        record |= {"bundle": {"name": "real", "sha256": SHA256}, "codes_sha256": SHA256}
        record |= {field: item.meta.get(field) for field in ("labels", "view", "sex", "age")}
        lines.append(records.dumps(record) + "\n")
    path = folder / f"{count}.jsonl"
    path.write_text("".join(lines))
    return path


def measure(source: Path, cache: Path) -> tuple[float, float, dict]:
    """One evaluation in a process of its own: peak of resident memory in GB, seconds, and the score."""
    argv = ["evaluate", str(source), "--metrics", METRICS, "--cache", str(cache), "--json", str(cache / "score.json")]
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-m", "medsynth_cli", *argv], stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"medsynth evaluate ended with {process.returncode}")
    # ru_maxrss is in KiB on Linux, in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    score = json.loads((cache / "score.json").read_text())
    return usage.ru_maxrss * unit / 1e9, time.perf_counter() - began, score


def report(counts: Sequence[int], folder: Path) -> str:
    """Measure everything: the Markdown page."""
    cache = folder / "cache"
    cache.mkdir()
    measure(write_records(folder, min(counts)), cache)
    lines = [
        "# Memory of evaluation",
        "",
        f"`medsynth evaluate --metrics {METRICS}` against the bundled reference, on records that name the same images "
        f"again and again; {os.cpu_count()} cores, no GPU, what networks say of the images from the cache. "
        "`python benchmarks/memory.py` measures it again.",
        "",
        "| images | groups with figures of their own | seconds | peak memory | must reach |",
        "|---|---|---|---|---|",
    ]
    for count in counts:
        peak, seconds, score = measure(write_records(folder, count), cache)
        lines.append(f"| {count:,} | {len(score['groups'])} | {seconds:,.0f} | {peak:.2f} GB | < {MOST_GB:.0f} GB |")
        print(lines[-1], file=sys.stderr)
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, nargs="+", default=COUNTS, help="numbers of images")
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="medsynth-memory-") as name:
        page = report(sorted(options.n), Path(name))
    atomic.write_text(options.out, page)
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
