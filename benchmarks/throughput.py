"""Features of many images by medsynth, clean-fid and torch-fidelity: the same network, the same files.

    python benchmarks/throughput.py [-n 10000] [--rounds 1]

writes ``benchmarks/throughput.md``. The files are the 256-px radiographs of ``../shared/data`` as PNG, so that no
tool resizes; where there are not enough of them they come again, shifted by a pixel. The network is the bundled
EfficientNet-Lite2. Each run has a process of its own; the other tools first try their settings on some of the
images. What is timed begins when the network is loaded and ends with the features.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medsynth_cli.files import atomic, datasets, pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

DATA = Path(__file__).parents[2] / "shared" / "data"
SIZE_PX = 256
TRIED = 256
"""Images on which settings are tried."""
CLOSE = 1e-4
"""Largest difference of a feature that batches of other shapes may make, as a share of the largest feature."""
FASTER = 20
"""How many times faster than the first a second run must be."""
Settings = dict[str, Any]


def write_images(folder: Path, count: int) -> None:
    """Write ``count`` different PNG files."""
    shards = sorted(DATA.glob("*.tar"))
    shift, number = 0, itertools.count()
    while True:
        for item in datasets.read(shards):
            index = next(number)
            if index == count:
                return
            image = np.roll(item.pixels(SIZE_PX), shift, axis=1)
            (folder / f"{index:06d}.png").write_bytes(pixels.encode_png(image))
        shift += 1


def extractor(device: Any = "cpu") -> Any:
    """The bundled network as an observer on the CPU."""
    import torch

    from medsynth_cli.recognition import features
    from medsynth_cli.runtime import bundles

    return features.load(bundles.load("cxr-mini"), torch.device(device))


def by_medsynth(folder: Path, settings: Settings) -> Callable[[], NDArray[np.float32]]:
    """As ``medsynth evaluate`` does it: files hashed, results kept in a cache."""
    from medsynth_cli.files.cache import Cache
    from medsynth_cli.files.records import Failures
    from medsynth_cli.metrics import imagesets
    from medsynth_cli.runtime import devices

    observer = extractor(devices.resolve("cpu"))

    def run() -> NDArray[np.float32]:
        images = imagesets.read([str(folder)], SIZE_PX, Failures(), Cache(Path(settings["cache"])), [observer])
        order = np.argsort([str(meta["id"]) for meta in images.meta])
        return np.asarray(images.of(observer)[order], np.float32)

    return run


def by_clean_fid(folder: Path, settings: Settings) -> Callable[[], NDArray[np.float32]]:
    """clean-fid's `get_folder_features` with a network of one's own, and no resizing."""
    import torch
    from cleanfid.fid import get_folder_features

    observer = extractor()
    return lambda: get_folder_features(
        str(folder),
        lambda batch: observer.forward(batch[:, 0].round().byte()),
        custom_fn_resize=np.asarray,
        device=torch.device("cpu"),
        verbose=False,
        **settings,
    )


def by_torch_fidelity(folder: Path, settings: Settings) -> Callable[[], NDArray[np.float32]]:
    """torch-fidelity's own loop with a registered network."""
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase
    from torch_fidelity.registry import register_feature_extractor
    from torch_fidelity.utils import create_feature_extractor, extract_featuresdict_from_input_id

    observer = extractor()

    class Bundled(FeatureExtractorBase):
        def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
            super().__init__(name, features_list)

        @staticmethod
        def get_provided_features_list() -> tuple[str]:
            return ("pooled",)

        def forward(self, images: Any) -> tuple[Any]:
            return (observer.forward(images[:, 0]),)

    register_feature_extractor("bundled", Bundled)
    options = {"cuda": False, "verbose": False, "input1": str(folder), "samples_find_ext": "png"}
    options |= settings
    network = create_feature_extractor("bundled", ["pooled"], **options)
    return lambda: extract_featuresdict_from_input_id(1, network, **options)["pooled"].numpy()


def only_decoding(folder: Path, settings: Settings) -> Callable[[], NDArray[np.float32]]:
    """Every file read and decoded, by as many threads as there are cores; no network."""
    files = sorted(folder.iterdir())

    def run() -> NDArray[np.float32]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(partial(pixels.read, size_px=SIZE_PX), files):
                pass
        return np.empty((0, 0), np.float32)

    return run


TOOLS = {
    "decoding only": only_decoding,
    "clean-fid": by_clean_fid,
    "torch-fidelity": by_torch_fidelity,
    "medsynth, first run": by_medsynth,
    "medsynth, second run": by_medsynth,
}
BATCHES = (16, 64)
CHOICES: dict[str, list[Settings]] = {
    "clean-fid": [{"num_workers": w, "batch_size": b} for w in (0, 2) for b in BATCHES],
    # No workers, or four: torch-fidelity leaves no other choice.
    "torch-fidelity": [{"save_cpu_ram": w, "batch_size": b} for w in (True, False) for b in BATCHES],
}


def child(tool: str, folder: Path, settings: Settings, result: Path) -> None:
    """One run in this process: seconds by the clock and of processors, workers included, and the features."""
    run = TOOLS[tool](folder, settings)
    began, worked = time.perf_counter(), os.times()[:4]
    found = run()
    seconds, cpu = time.perf_counter() - began, sum(os.times()[:4]) - sum(worked)
    np.savez(result, seconds=seconds, cpu=cpu, features=found)


def measure(tool: str, folder: Path, settings: Settings, result: Path) -> tuple[float, float, float]:
    """One run in a process of its own: seconds of the features, by the clock and of processors, and of the process."""
    began = time.perf_counter()
    argv = [sys.executable, __file__, "--child", tool, str(folder), json.dumps(settings), str(result)]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    whole = time.perf_counter() - began
    with np.load(result) as stored:
        return float(stored["seconds"]), float(stored["cpu"]), whole


def best_settings(tool: str, folder: Path, result: Path) -> Settings:
    """The settings that take the least time on the images of a folder."""
    choices = CHOICES.get(tool, [{}])
    if len(choices) == 1:
        return choices[0]
    taken = [measure(tool, folder, settings, result)[0] for settings in choices]
    for settings, seconds in zip(choices, taken, strict=True):
        print(f"{tool} {settings}: {seconds:.1f} s", file=sys.stderr)
    return choices[int(np.argmin(taken))]


def report(count: int, rounds: int, folder: Path) -> str:
    """Measure everything: the Markdown page."""
    images, few, result = folder / "images", folder / "few", folder / "result.npz"
    images.mkdir()
    few.mkdir()
    write_images(images, count)
    for file in sorted(images.iterdir())[:TRIED]:
        shutil.copy(file, few)
    settings = {tool: best_settings(tool, few, result) for tool in TOOLS}
    times: dict[str, list[tuple[float, float, float]]] = {tool: [] for tool in TOOLS}
    kept: dict[str, NDArray[np.float32]] = {}
    for number in range(rounds):
        for tool in TOOLS:
            own = settings[tool] | ({"cache": str(folder / f"cache-{number}")} if "medsynth" in tool else {})
            times[tool].append(measure(tool, images, own, result))
            print(tool, *(f"{value:.1f}" for value in times[tool][-1]), file=sys.stderr)
            with np.load(result) as stored:
                kept[tool] = stored["features"]
    seconds, cpu, whole = (
        {tool: statistics.median(values[which] for values in taken) for tool, taken in times.items()}
        for which in range(3)
    )
    ours = kept["medsynth, first run"]
    apart = {tool: float(np.abs(found - ours).max() / np.abs(ours).max()) for tool, found in kept.items() if found.size}
    fastest = min(seconds["clean-fid"], seconds["torch-fidelity"])
    first, second = seconds["medsynth, first run"], seconds["medsynth, second run"]
    lines = [
        "# Throughput of features",
        "",
        f"{count:,} PNG files of {SIZE_PX} px, the bundled EfficientNet-Lite2, {os.cpu_count()} cores, no GPU; median "
        f"of {rounds} interleaved run{'s' if rounds > 1 else ''}. `python benchmarks/throughput.py -n {count}` "
        "measures it again.",
        "",
        "| run | images/s | seconds | of processors | whole process | largest difference to medsynth | settings |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {tool} | {count / seconds[tool]:,.1f} | {seconds[tool]:,.1f} | {cpu[tool]:,.1f} | {whole[tool]:,.1f} | "
            f"{f'{apart[tool]:.1e}' if tool in apart else '-'} | {_words(settings[tool])} |"
            for tool in TOOLS
        ),
        "",
        "| what | must reach | measured |",
        "|---|---|---|",
        f"| medsynth beside the faster of the other two | <= 1.00 times its seconds | {first / fastest:.2f} |",
        f"| second run | >= {FASTER} times faster than the first | {first / second:.0f} |",
        f"| features of the three | equal to {CLOSE:.0e} of the largest | {max(apart.values()):.1e} |",
    ]
    return "\n".join(lines) + "\n"


def _words(settings: Settings) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items()) or "as in `medsynth evaluate`"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=10_000, help="images")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).with_suffix(".md"))
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        tool, folder, settings, result = options.child
        child(tool, Path(folder), json.loads(settings), Path(result))
        return 0
    with tempfile.TemporaryDirectory(prefix="medsynth-throughput-") as name:
        page = report(options.n, options.rounds, Path(name))
    atomic.write_text(options.out, page)
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
