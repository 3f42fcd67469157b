"""Start-up, throughput and memory of the command line, each measured in a process of its own.

    python benchmarks/speed.py [-n 64] [--repeat 3]

writes ``benchmarks/speed.md``. Run it on an idle machine; the median of the repetitions counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
NO_TORCH = (
    "import sys; from medsynth_cli.app import main; main(['--help']); sys.exit(1 if 'torch' in sys.modules else 0)"
)


@dataclass(frozen=True)
class Row:
    """One measured figure and what it must reach."""

    what: str
    bar: str
    measured: str
    command: str


def medsynth(*arguments: str) -> float:
    """Run the command line in a new process: wall-clock seconds."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "medsynth_cli", *arguments], check=True, capture_output=True)
    return time.perf_counter() - began


def median(repeat: int, *arguments: str) -> float:
    """Median of several runs, after one that warms the disk cache."""
    medsynth(*arguments)
    return statistics.median(medsynth(*arguments) for _ in range(repeat))


def rows(count: int, repeat: int, folder: Path) -> list[Row]:
    """Measure everything."""
    one = ["generate", "--findings", "effusion", "--overwrite", "-o", str(folder / "one")]
    many = ["generate", "--findings", "effusion", "-n", str(count), "--overwrite", "-o", str(folder / "many")]
    helped = median(repeat, "--help")
    torch_free = subprocess.run([sys.executable, "-c", NO_TORCH], capture_output=True, check=False).returncode == 0
    cold = median(repeat, *one)
    medsynth(*many)
    steady = json.loads((folder / "many" / "run.log.json").read_text())["images_per_second"]
    # ru_maxrss of the children: the largest of all processes so far, in KiB on Linux.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
    return [
        Row("medsynth --help", "< 0.4 s", f"{helped:.2f} s", "medsynth --help"),
        Row("torch imported by --help", "no", "no" if torch_free else "yes", "medsynth --help"),
        Row("one image, cold", "< 12 s", f"{cold:.1f} s", "medsynth generate --findings effusion"),
        Row(
            "steady state",
            ">= 4 images/s",
            f"{steady:.2f} images/s",
            f"medsynth generate --findings effusion -n {count}",
        ),
        Row("peak memory", "< 2 GB", f"{peak:.2f} GiB", "the largest of the above"),
    ]


def report(measured: list[Row]) -> str:
    """The Markdown page."""
    lines = [
        "# Speed",
        "",
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, no GPU."
        " `python benchmarks/speed.py` measures it again.",
        "",
        "| what | must reach | measured | command |",
        "|---|---|---|---|",
        *(f"| {row.what} | {row.bar} | {row.measured} | `{row.command}` |" for row in measured),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="medsynth-speed-"))
    try:
        page = report(rows(arguments.n, arguments.repeat, folder))
    finally:
        shutil.rmtree(folder)
    (HERE / "speed.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
