"""What the metrics of ``medsynth evaluate`` say of real radiographs that were changed in known ways.

    python benchmarks/responses.py --data ../shared/data [-n 164]

writes ``benchmarks/responses.md`` and ``docs/images/responses.jpg``. Images of nih-val stand in for synthetic ones, and
their labels and boxes for what was asked for. They are compared as `medsynth evaluate` does by default: with the
bundled reference of nih-test, and with nih-train for floors. No patient is in two of the three, and no network was
trained with nih-val or nih-test. Every set goes through a shard, as a user's images would.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

from medsynth_cli import modality as modalities
from medsynth_cli.files import atomic
from medsynth_cli.files.cache import Cache
from medsynth_cli.files.records import Failures
from medsynth_cli.metrics import evaluation, imagesets, msssim
from medsynth_cli.metrics.comparison import Comparison
from medsynth_cli.metrics.observers import Observers
from medsynth_cli.recognition.observers import Observer
from medsynth_cli.runtime import bundles
from medsynth_cli.text import termsets, vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZE_PX = 256
METRICS = ("fd", "kid", "prdc", "vendi", "auroc", "side", "niqe", "niqe-radiographs")
COLUMNS = {
    "FD-EffNet": "{:.1f}",
    "KID-EffNet": "{:.3f}",
    "precision-EffNet": "{:.2f}",
    "recall-EffNet": "{:.2f}",
    "density-EffNet": "{:.2f}",
    "coverage-EffNet": "{:.2f}",
    "Vendi-EffNet": "{:.1f}",
    "AUROC macro": "{:.2f}",
    "wrong side": "{:.2f}",
    "NIQE": "{:.1f}",
    "NIQE-radiographs": "{:.1f}",
}
"""Row of a score -> how to print it."""
PAIRS = 100
"""Pairs for MS-SSIM, the same of every set."""
FLOORS = ("training", "round trip", "repeated")
SHIFT_PX, NOISE, WINDOW, CROP_PX = 16, 8.0, (48, 208), 24
ACROSS = 6
"""Images in a row of the picture."""

Meta = Mapping[str, Any]
Change = Callable[["NDArray[np.uint8]", np.random.Generator], "NDArray[Any]"]


def blurred(sigma_px: float) -> Change:
    """Convolved with a Gaussian."""
    return lambda images, random: ndimage.gaussian_filter(images, (0, sigma_px, sigma_px))


def noisy(images: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """White noise added, of a standard deviation of `NOISE` gray levels."""
    return np.clip(images + NOISE * random.standard_normal(images.shape), 0, 255).round().astype(np.uint8)


def windowed(images: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """The gray levels of `WINDOW` stretched to the whole range, as with a narrower window."""
    low, high = WINDOW
    return (np.clip((images - float(low)) / (high - low), 0, 1) * 255).round().astype(np.uint8)


def shifted(images: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Displaced by `SHIFT_PX` down and to the right, the border repeated."""
    wide = np.pad(images, ((0, 0), (SHIFT_PX, 0), (SHIFT_PX, 0)), mode="edge")
    return wide[:, :SIZE_PX, :SIZE_PX]


def cropped(images: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """`CROP_PX` cut off at every side, and what is left enlarged (Lanczos)."""
    inner = images[:, CROP_PX:-CROP_PX, CROP_PX:-CROP_PX]
    return np.stack([np.asarray(Image.fromarray(i).resize((SIZE_PX,) * 2, Image.Resampling.LANCZOS)) for i in inner])


def halved(images: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Every second image replaced by the one before it: half of the images, twice each."""
    return images[np.arange(len(images)) // 2 * 2]


CHANGES: dict[str, Change] = {
    "unchanged": lambda images, random: images,
    "blur 1 px": blurred(1),
    "blur 2 px": blurred(2),
    "noise": noisy,
    "narrow window": windowed,
    "shift": shifted,
    "centre crop": cropped,
    "mirrored": lambda images, random: images[:, :, ::-1],
    "inverted": lambda images, random: 255 - images,
    "12 bits in 16": lambda images, random: images.astype(np.uint16) << 4,
    "half twice": halved,
}
"""Name of a change -> what it does to images uint8 ``(N, 256, 256)``; 16-bit ones are stored as such."""
ROUND_TRIP, SHUFFLED = "tokenizer", "labels shuffled"


def shard(path: Path, images: NDArray[Any], metas: Sequence[Meta]) -> None:
    """Write images as a WebDataset shard of PNG and JSON."""
    with tarfile.open(path, "w") as tar:
        for image, meta in zip(images, metas, strict=True):
            buffer = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(image)).save(buffer, "PNG", compress_level=1)
            for suffix, data in ((".png", buffer.getvalue()), (".json", json.dumps(meta).encode())):
                member = tarfile.TarInfo(f"{meta['id']}{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def asked_for(images: imagesets.ImageSet, bundle: bundles.Bundle, seed: int) -> list[Meta]:
    """What is known of real images, with their labels and boxes as findings, as if these had been asked for."""
    known, random = vocabulary.load(modalities.find(bundle.modality)), np.random.default_rng(seed)
    return [termsets.from_metadata(meta, known, random) for meta in images.meta]


def sets(
    images: NDArray[np.uint8], metas: Sequence[Meta], observers: Observers, seed: int
) -> Iterator[tuple[str, NDArray[Any], Sequence[Meta]]]:
    """All sets: a name, images, and what was asked for."""
    for place, (name, change) in enumerate(CHANGES.items()):
        yield name, change(images, np.random.default_rng([seed, place])), metas
    through = observers.round_trip(Observer("pixels", "", lambda x: x, torch.device("cpu")))
    yield ROUND_TRIP, through(images), metas
    order = np.random.default_rng([seed, 99]).permutation(len(metas))
    kept = ("findings", "labels")
    moved = [{**meta, **{key: metas[n][key] for key in kept}} for meta, n in zip(metas, order, strict=True)]
    yield SHUFFLED, images, moved


def picture(shown: Mapping[str, NDArray[Any]], path: Path) -> None:
    """One radiograph under every change, with the name of the change above it."""
    from matplotlib.figure import Figure

    down = -(-len(shown) // ACROSS)
    figure = Figure(figsize=(ACROSS * 1.7, down * 1.9), dpi=110, layout="constrained")
    axes = figure.subplots(down, ACROSS, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, (name, image) in zip(axes, shown.items(), strict=False):
        axis.imshow(image, cmap="gray", vmin=0, vmax=np.iinfo(image.dtype).max)
        axis.set_title(name, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    with atomic.replacing(path) as handle:
        Image.open(buffer).convert("RGB").save(handle, "JPEG", quality=85, optimize=True)


def printed(values: Mapping[str, float | None]) -> list[str]:
    """The cells of a row of the table."""
    return ["-" if values.get(name) is None else form.format(values[name]) for name, form in COLUMNS.items()]


def lines_of(name: str, score: Mapping[str, Any], alike: float) -> Iterator[str]:
    """A set's row of the table; behind that of the unchanged images, their intervals and floors."""
    rows = score["metrics"]
    raised = ", ".join(alarm["name"] for alarm in score["alarms"] if alarm["raised"]) or "none"
    values = {column: rows[column]["value"] for column in COLUMNS}
    yield f"| **{name}** | " + " | ".join([*printed(values), f"{alike:.2f}", raised]) + " |"
    if name != "unchanged":
        return
    bounds = [printed({c: (rows[c].get("interval") or (None, None))[end] for c in COLUMNS}) for end in (0, 1)]
    spans = ["" if low == "-" else f"{low} to {high}" for low, high in zip(*bounds, strict=True)]
    yield "| its 95 % interval | " + " | ".join([*spans, "", ""]) + " |"
    for floor in ("real", *FLOORS):
        cells = printed({column: (rows[column].get("floors") or {}).get(floor) for column in COLUMNS})
        yield f"| floor: {floor} | " + " | ".join([*cells, "", ""]) + " |"


def measure(options: argparse.Namespace) -> Iterator[str]:
    """The table, and on the way the picture."""
    observers = Observers(bundles.load(options.bundle), torch.device("cpu"))
    failures, cache = Failures(), Cache(options.cache)
    looks = evaluation.looks(METRICS, ("effnet",), observers)

    def read(source: Path, looks: Sequence[Observer], most: int | None = None) -> imagesets.ImageSet:
        return imagesets.read([str(source)], SIZE_PX, failures, cache, looks, most)

    real, train = (evaluation.open_reference(observers.bundle, training) for training in (False, True))
    assert real is not None
    plain = read(options.data / "nih-val-000.tar", [], options.n)
    images = np.stack([plain.pixels(index) for index in range(len(plain))])
    metas = asked_for(plain, observers.bundle, options.seed)
    pairs = msssim.draw_pairs(len(images), PAIRS, options.seed)
    ids = [meta["id"] for meta in plain.meta]
    model = ids.index(options.show) if options.show else 0
    shown = {}

    yield f"{len(images)} images of nih-val against the {len(real)} of {real.name}. MS-SSIM is of {len(pairs)} pairs,"
    yield f"the same in every set. Noise of {NOISE:.0f} gray levels; window {WINDOW[0]} to {WINDOW[1]}; shift of"
    yield f"{SHIFT_PX} px down and right; {CROP_PX} px cut off at every side. Training floors are of as many.\n"
    yield "| change | " + " | ".join([*COLUMNS, "MS-SSIM", "alarms raised"]) + " |"
    yield "|---|" + "---:|" * (len(COLUMNS) + 1) + "---|"
    with tempfile.TemporaryDirectory() as folder:
        for name, changed, asked in sets(images, metas, observers, options.seed):
            print(name, file=sys.stderr)
            path = Path(folder) / f"{name.replace(' ', '-')}.tar"
            shard(path, changed, asked)
            ours = read(path, looks)
            score = evaluation.evaluate(Comparison(ours, real, train, observers, seed=options.seed), METRICS)
            places = {meta["id"]: place for place, meta in enumerate(ours.meta)}
            alike = msssim.of_pairs(ours.pixels, np.array([places[own] for own in ids])[pairs])
            yield from lines_of(name, score, float(alike.mean()))
            if name != SHUFFLED:
                shown[name] = changed[model]
    picture(shown, options.picture)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bundle", default="cxr-mini", help="embedded bundle, or folder of one")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the real shards")
    parser.add_argument("-n", type=int, default=164, help="images that are changed, of 164")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", default="", help="id of the image in the picture (default: the first)")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).with_suffix(".md"))
    parser.add_argument("--picture", type=Path, default=Path("docs/images/responses.jpg"))
    options = parser.parse_args()
    made_by = f"`python benchmarks/responses.py -n {options.n}`, bundle {options.bundle}."
    lines = ["# Responses of the metrics", "", made_by, ""]
    for line in measure(options):
        lines.append(line)
        print(line, file=sys.stderr)
    atomic.write_text(options.out, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
