"""Building codebooks: speed, memory, top-κ1 beside FAISS, merging, kills, and what quality control and audit find.

    python benchmarks/codebook.py [--only speed memory faiss merge kills control audit]

writes ``benchmarks/codebook.md``; with ``--only`` it prints those parts. The images are the training shards of
``../shared/data``. FAISS is no dependency of medsynth: ``pip install faiss-cpu``, or ``--target DIR`` and DIR in
PYTHONPATH; without it that part says so. Set OMP_NUM_THREADS to the number of cores.
"""

from __future__ import annotations

import argparse
import functools
import io
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from medsynth_cli import modality
from medsynth_cli.alignment import aligner, build, codebook, pool, words
from medsynth_cli.files import atomic, datasets
from medsynth_cli.runtime import bundles
from medsynth_cli.text import vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

DATA = Path(__file__).parents[2] / "shared" / "data"
TRAIN = [*sorted(DATA.glob("nih-train-*.tar")), *sorted(DATA.glob("rsna-train-*.tar"))]
CPU = torch.device("cpu")
FILES = (codebook.TENSORS, codebook.LINES)
Rows = list[str]


def command(*arguments: object) -> list[str]:
    """A command line of ``medsynth codebook``."""
    return [sys.executable, "-m", "medsynth_cli", "codebook", *map(str, arguments), "--quiet"]


def timed(argv: Sequence[str]) -> tuple[float, float]:
    """Run a command: seconds, and peak of resident memory in GB."""
    began = time.perf_counter()
    with subprocess.Popen(argv) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(argv)} ended with {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in KiB on Linux, in bytes on macOS
    return time.perf_counter() - began, usage.ru_maxrss * unit / 1e9


def same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same codebook, byte for byte."""
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in FILES)


def speed(folder: Path) -> Rows:
    """The whole command over all training images, of which one in seven has a label, and with every image scored."""
    count = sum(1 for _ in datasets.read(TRAIN))
    rows = []
    for name, options in (("labels", ()), ("labels and anatomy", ("--anatomy",))):
        seconds, peak = timed(command("build", *TRAIN, "-o", folder / f"speed{len(options)}", *options))
        rows.append(
            f"| build over {count:,} images, words of {name} | >= 60 images/s | {count / seconds:.0f} images/s "
            f"({seconds:.0f} s, {peak:.2f} GB) |"
        )
    return rows


def memory(folder: Path) -> Rows:
    """Peak memory over 1,000 and 50,000 images: the same ones, again and again under new ids."""
    items = list(datasets.read(TRAIN))[::7]
    few, many = (_repeated(folder / f"{count}.tar", items, count) for count in (1_000, 50_000))
    peaks = {}
    for name, path in (("few", few), ("many", many)):
        seconds, peaks[name] = timed(command("build", path, "-o", folder / name))
        print(f"{name}: {seconds:.0f} s, {peaks[name]:.3f} GB", file=sys.stderr)
    ratio = peaks["many"] / peaks["few"]
    return [
        f"| peak memory, 50,000 images to 1,000 | within 10 % | {ratio:.3f} times "
        f"({peaks['many']:.3f} GB, {peaks['few']:.3f} GB) |"
    ]


def _repeated(path: Path, items: Sequence[datasets.Item], count: int) -> Path:
    with tarfile.open(path, "w") as tar:
        for index, item in enumerate(itertools.islice(itertools.cycle(items), count)):
            meta = json.dumps(item.meta | {"id": f"copy-{index:06d}"}).encode()
            for suffix, data in ((".jpg", item.data()), (".json", meta)):
                info = tarfile.TarInfo(f"copy-{index:06d}{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            tar.members = []
    return path


def faiss(folder: Path) -> Rows:
    """Scores of all windows and the best κ1 a word, from the same embeddings, beside FAISS's flat index."""
    try:
        import faiss as library
    except ImportError:
        return ["| scoring and top-κ1 beside FAISS | >= FAISS | FAISS is not installed |"]
    library.omp_set_num_threads(torch.get_num_threads())
    known = vocabulary.load(modality.find("chest_xray"))
    model = aligner.load(bundles.load("cxr-mini"), CPU)
    torch.manual_seed(0)
    patches = torch.nn.functional.normalize(torch.randn(2000, 128, 16, 16) + 0.5 * torch.randn(2000, 128, 1, 1), dim=1)
    patches = patches.contiguous(memory_format=torch.channels_last)
    pooled = torch.nn.functional.avg_pool2d(patches, 3, 1).permute(0, 2, 3, 1).reshape(-1, 128).contiguous().numpy()
    rows = []
    for anatomy in (False, True):
        queries = model.encode_words([word.phrase for word in words.all_words(known, anatomy)])
        index = library.IndexFlatIP(128)
        added = _best_of_three(functools.partial(_fill, index, pooled))
        searched = _best_of_three(functools.partial(index.search, queries.numpy(), 64))
        ours = _best_of_three(functools.partial(_top, model, patches, queries))
        scores, found = index.search(queries.numpy(), 4096)
        apart = _apart(_top(model, patches, queries), scores, found // (14 * 14))
        rows.append(
            f"| scores and top 64 of {len(queries)} words in {len(patches):,} images, beside FAISS | >= FAISS | "
            f"{len(patches) / ours:,.0f} images/s; FAISS {len(patches) / searched:,.0f} (search alone), "
            f"{len(patches) / (added + searched):,.0f} (with filling its index); scores differ by {apart:.0e} at most |"
        )
    return rows


def _fill(index: Any, vectors: NDArray[np.float32]) -> None:
    index.reset()
    index.add(vectors)


def _top(model: aligner.Aligner, patches: torch.Tensor, queries: torch.Tensor) -> pool.Pool:
    """The best 64 images a word, in batches as they come: what `scoring.Scorer` and `pool.Pool` do."""
    from medsynth_cli.alignment import scoring, windows

    kept = pool.Pool.empty(len(queries), pool.Caps(64, 64), pool.row_type(3, 128))
    columns = torch.ones(len(queries), 14, dtype=torch.bool)
    for start in range(0, len(patches), scoring.ROWS["cpu"]):
        part = patches[start : start + scoring.ROWS["cpu"]]
        values, places = windows.best_windows(windows.window_scores(model, part, queries), columns, None)
        image, word = (values >= torch.from_numpy(kept.floors)).nonzero(as_tuple=True)
        rows, place = np.zeros(len(image), kept.rows.dtype), places[image, word]
        rows["word"], rows["score"] = word, values[image, word]
        rows["image"] = rows["order"] = rows["patient"] = image + start
        rows["at"] = torch.stack([place // 14, place % 14], 1)
        rows["vector"] = part[image, :, place // 14 + 1, place % 14 + 1]
        kept.add(rows)
    kept.settle()
    return kept


def _best_of_three(run: Callable[[], Any]) -> float:
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return min(taken)


def _apart(kept: pool.Pool, scores: NDArray[np.float32], images: NDArray[np.int64]) -> float:
    """Largest difference between our scores and those of FAISS, each image's best window taken."""
    largest = 0.0
    for number, (own, names) in enumerate(zip(scores, images, strict=True)):
        firsts = np.sort(np.unique(names, return_index=True)[1])[:64]
        largest = max(largest, float(np.abs(kept.of_word(number)["score"][: len(firsts)] - own[firsts]).max()))
    return largest


def merge(folder: Path) -> Rows:
    """Eight shards beside one pass."""
    one, parts = folder / "one", [folder / f"part{number}" for number in range(1, 9)]
    timed(command("build", *TRAIN, "-o", one))
    for number, part in enumerate(parts, 1):
        timed(command("build", *TRAIN, "-o", part, "--shard", f"{number}/8"))
    random.Random(0).shuffle(parts)
    seconds, _ = timed(command("merge", *parts, "-o", folder / "merged"))
    answer = "yes" if same(folder / "merged", one) else "NO"
    return [f"| 8 shards, merged in another order | byte-identical to one pass | {answer} (merge: {seconds:.0f} s) |"]


def kills(folder: Path) -> Rows:
    """SIGKILL at random, ten times, and resume."""
    one, other, draw = folder / "whole", folder / "killed", random.Random(0)
    whole, _ = timed(command("build", *TRAIN, "-o", one))
    killed, resumed = 0, 0
    while killed < 10:
        resumed += (other / build.CHECKPOINT).exists()
        with subprocess.Popen(command("build", *TRAIN, "-o", other, "--resume")) as process:
            try:
                process.wait(draw.uniform(0.1, 0.6) * whole)
                (other / codebook.TENSORS).unlink()  # it came to its end: begin again
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                killed += 1
    timed(command("build", *TRAIN, "-o", other, "--resume"))
    answer = "yes" if same(one, other) else "NO"
    return [
        f"| SIGKILL at random 10 times and resume | byte-identical | {answer} ({resumed} went on from a checkpoint) |"
    ]


def control(folder: Path) -> Rows:
    """Near-duplicates and markers: how many planted ones are found, and how many others; see `codebook_control`."""
    from codebook_control import markers, near_duplicates

    return [*near_duplicates(TRAIN[0], folder), *markers(TRAIN[0])]


def audit(folder: Path) -> Rows:
    """Patches that were put into other images: how many are found, and how many in images without any."""
    from codebook_control import audited

    timed(command("build", TRAIN[0], "-o", folder / "book"))
    return audited(folder / "book", DATA / "nih-test-000.tar")


PARTS: dict[str, Callable[[Path], Rows]] = {
    "speed": speed, "memory": memory, "faiss": faiss, "merge": merge, "kills": kills, "control": control,
    "audit": audit,
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS)
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args(argv)
    lines = [
        "# Codebooks",
        "",
        f"`medsynth codebook build` and its like on the training images of `../shared/data`, bundle cxr-mini, "
        f"{os.cpu_count()} cores, no GPU; each command a process of its own, with all its start-up. "
        "`python benchmarks/codebook.py` measures it again.",
        "",
        "Every image is read. By labels, only those with a label, one in seven, are scored; with anatomy, all are.",
        "",
        "| what | must reach | measured |",
        "|---|---|---|",
    ]
    with tempfile.TemporaryDirectory(prefix="medsynth-codebook-") as name:
        for part in options.only or PARTS:
            folder = Path(name) / part
            folder.mkdir()
            rows = PARTS[part](folder)
            print("\n".join(rows), file=sys.stderr, flush=True)
            lines += rows
    if not options.only:
        atomic.write_text(options.out, "\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
