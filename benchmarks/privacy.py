"""How many planted copies of training images ``medsynth evaluate`` finds, and how many others it takes for copies.

    medsynth vocab sample -n 350 | medsynth report | medsynth generate -o runs/synthetic
    python benchmarks/privacy.py runs/synthetic --data ../shared/data

writes ``benchmarks/privacy.md``. In every round other 5 % of the synthetic images are replaced by training images,
changed in one of several ways. Beside it stands the same search by features, with the same kind of bar.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from medsynth_cli.files import atomic
from medsynth_cli.files.cache import Cache
from medsynth_cli.files.records import Failures
from medsynth_cli.metrics import auroc, copies, imagesets, memory
from medsynth_cli.metrics.observers import Observers
from medsynth_cli.recognition.fingerprints import lengths_1
from medsynth_cli.recognition.observers import Observer
from medsynth_cli.runtime import bundles
from medsynth_cli.runtime.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHARE = 0.05
MOST_PX = 8
WANTED = {
    "as they are": "≥ 95 %",
    "shifted, brightened, compressed": "≥ 90 %",
    "through the tokenizer, shifted": "≥ 90 %",
}

Change = Callable[["NDArray[np.uint8]", np.random.Generator], "NDArray[np.uint8]"]


def shifted(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Displaced by up to 8 px down and across, the border repeated."""
    down, across = random.integers(-MOST_PX, MOST_PX + 1, 2)
    wide = np.pad(image, MOST_PX, mode="edge")
    return wide[MOST_PX + down :, MOST_PX + across :][: image.shape[0], : image.shape[1]]


def brightened(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Gamma 0.75 to 1.33, gain 0.85 to 1.15, offset up to 8 % of the range."""
    x = (image / 255) ** random.uniform(0.75, 1.33) * random.uniform(0.85, 1.15) + random.uniform(-0.08, 0.08)
    return (np.clip(x, 0, 1) * 255).round().astype(np.uint8)


def compressed(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """JPEG of quality 40."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=40)
    return np.asarray(Image.open(buffer))


def turned(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Turned by up to 3 degrees."""
    return np.asarray(Image.fromarray(image).rotate(random.uniform(-3, 3), Image.Resampling.BILINEAR))


def enlarged(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Cropped by 4 to 12 px on every side and enlarged again, by 3 to 10 %."""
    cut = int(random.integers(4, 13))
    centre = Image.fromarray(image[cut:-cut, cut:-cut])
    return np.asarray(centre.resize(image.shape[::-1], Image.Resampling.BICUBIC))


def mirrored(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Left and right exchanged."""
    return np.ascontiguousarray(image[:, ::-1])


CHANGES: dict[str, tuple[bool, Sequence[Change]]] = {
    "as they are": (False, ()),
    "shifted, brightened, compressed": (False, (shifted, brightened, compressed)),
    "through the tokenizer, shifted": (True, (shifted,)),
    "through the tokenizer, shifted, brightened, compressed": (True, (shifted, brightened, compressed)),
    "turned by up to 3°": (False, (turned,)),
    "enlarged by 3 to 10 %": (False, (enlarged,)),
    "mirrored": (False, (mirrored,)),
}
"""How training images are changed -> whether the tokenizer comes first, and what follows."""


class Search:
    """One way to look for copies: what says the descriptions, and those of the training images.

    Args:
        name: for the table.
        look: describes synthetic and real images, one or several descriptions an image.
        training: descriptions of the training images, ``(M, D)``.
        real: descriptions of real images of other patients.
    """

    def __init__(self, name: str, look: Observer, training: NDArray, real: NDArray) -> None:
        self.name, self.look, self.training = name, look, training
        self.bar = copies.bar(copies.nearest(real, training).likeness)

    def __call__(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which images are taken for copies, and of which training image."""
        found = copies.nearest(self.look(images), self.training)
        return found.likeness > self.bar, found.training


def measure(options: argparse.Namespace) -> Iterator[str]:
    observers = Observers(bundles.load(options.bundle), torch.device("cpu"))
    cache, failures = Cache(options.cache), Failures()

    def read(sources: Sequence[object], looks: Sequence[Observer]) -> imagesets.ImageSet:
        return imagesets.read([str(source) for source in sources], 256, failures, cache, looks)

    prints, effnet = observers.fingerprints, observers.extractor("effnet")
    train = read(sorted(options.data.glob("nih-train-*.tar")), [prints.observer, effnet])
    real = read(sorted(options.data.glob("nih-test-*.tar")), [prints.shifted, effnet])
    synthetic = read([options.synthetic], [])
    everything = memory.of(None, observers)
    mean = train.of(effnet).mean(axis=0)
    centred = Observer("centred", "", lambda images: effnet.forward(images) - torch.from_numpy(mean), effnet.device)
    searches = [
        Search("fingerprints", prints.shifted, everything.fingerprints, real.of(prints.shifted)),
        Search("features (EffNet)", centred, train.of(effnet) - mean, real.of(effnet) - mean),
    ]
    names = {searches[0].name: {name: i for i, name in enumerate(everything.ids)}}
    names[searches[1].name] = {str(meta["id"]): i for i, meta in enumerate(train.meta)}
    ours = np.stack([synthetic.pixels(index) for index in range(len(synthetic))])
    again = observers.round_trip(Observer("pixels", "", lambda images: images, torch.device("cpu")))

    yield f"{len(ours)} synthetic images, {len(everything.ids):,} training images (features: {len(train)} of them);"
    yield f"bar read off {len(real)} real images of other patients. {options.rounds} rounds, in each of which"
    yield f"{round(SHARE * len(ours))} synthetic images ({SHARE:.0%}) are replaced by training images.\n"
    yield "| planted | must reach | " + " | ".join(f"found by {search.name}" for search in searches) + " |"
    yield "|---|---|" + "---|" * len(searches)
    with Progress("planting", len(CHANGES) * options.rounds) as progress:
        for place, (what, (coded, changes)) in enumerate(CHANGES.items()):
            hits = np.zeros(len(searches))
            planted = 0
            for turn in range(options.rounds):
                random = np.random.default_rng([options.seed, place, turn])
                chosen = random.choice(len(train), round(SHARE * len(ours)), replace=False)
                images = np.stack([train.pixels(int(index)) for index in chosen])
                images = again(images) if coded else images
                for change in changes:
                    images = np.stack([change(image, random) for image in images])
                planted += len(chosen)
                for number, search in enumerate(searches):
                    flagged, which = search(images)
                    right = [names[search.name][str(train.meta[int(index)]["id"])] for index in chosen]
                    hits[number] += int((flagged & (which == right)).sum())
                progress.advance()
            yield f"| {what} | {WANTED.get(what, '')} | " + " | ".join(f"{h / planted:.1%}" for h in hits) + " |"
    honest = {
        "synthetic images": ours,
        "real images of other patients": np.stack([real.pixels(index) for index in range(len(real))]),
    }
    honest["the same after the tokenizer"] = again(honest["real images of other patients"])
    yield "\n| not planted | must reach | " + " | ".join(f"taken for copies by {s.name}" for s in searches) + " |"
    yield "|---|---|" + "---|" * len(searches)
    for what, images in honest.items():
        shares = [f"{search(images)[0].mean():.2%}" for search in searches]
        yield f"| {what} ({len(images)}) | ≤ 1 % | " + " | ".join(shares) + " |"


def patients(options: argparse.Namespace) -> Iterator[str]:
    """How well descriptions tell pairs of images of one patient of nih-test from others; every patient counts alike."""
    observers = Observers(bundles.load(options.bundle), torch.device("cpu"))
    own, effnet = observers.identities.observer, observers.extractor("effnet")
    coded = observers.round_trip(effnet)
    sources = [str(path) for path in sorted(options.data.glob("nih-test-*.tar"))]
    images = imagesets.read(sources, 256, Failures(), Cache(options.cache), [own, effnet, coded])
    one, other = np.triu_indices(len(images), 1)
    same = images.groups[one] == images.groups[other]
    counts = np.bincount(images.groups[one][same], minlength=images.groups.max() + 1)
    weights = np.where(same, 1 / np.maximum(counts[images.groups[one]], 1), 1.0)
    yield "\n## Re-identification\n"
    yield f"{same.sum():,} pairs of images of one patient, of {(counts > 0).sum()} patients of nih-test, against"
    yield f"{(~same).sum():,} others; every patient counts alike.\n"
    yield "| description | AUROC | same-patient pairs found, where 1 % of the others are |"
    yield "|---|---|---|"
    plain, after = (images.of(observer) - images.of(observer).mean(axis=0) for observer in (effnet, coded))
    described = {
        "identities": images.of(own),
        "features (EffNet)": plain,
        "features (EffNet) after the tokenizer": after,
    }
    for name, found in described.items():
        x = lengths_1(found)
        alike = (x @ x.T)[one, other]
        caught = np.average(alike[same] > np.quantile(alike[~same], 0.99), weights=weights[same])
        yield f"| {name} | {auroc.auroc(alike, same, weights):.3f} | {caught:.0%} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("synthetic", type=Path, help="folder of synthetic images")
    parser.add_argument("--bundle", default="cxr-mini", help="embedded bundle, or folder of one")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the real shards")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    lines = ["# Planted copies", "", f"`python benchmarks/privacy.py`, bundle {options.bundle}.", ""]
    lines += [*measure(options), *patients(options)]
    atomic.write_text(options.out, "\n".join(lines) + "\n")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
