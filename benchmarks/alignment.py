"""How well a word-patch aligner finds what radiologists boxed, knows left from right, and finds a report's image.

    python benchmarks/alignment.py [--bundle cxr-mini] [--before FOLDER] [--aligner MODEL] [--data ../shared/data]

writes ``benchmarks/alignment.md`` from the images of nih-test; what is trained here is trained on nih-train alone.
Beside the aligner stand, in the same run, the mean box of each finding in nih-train (a heatmap that does not look at
the image), the image's centre and, with ``--before``, the aligner of another bundle.

Reports are written by the ``template`` provider from labels, boxes and view, since no real ones of these images
exist. A report's fit is the mean over its asserted pathologies of how well they match the image, each seen from its
mean over all test images, minus the same mean over the pathologies that it denies.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from medsynth_cli import modality
from medsynth_cli.alignment import aligners
from medsynth_cli.alignment.words import words
from medsynth_cli.files import atomic, datasets
from medsynth_cli.metrics import intervals
from medsynth_cli.runtime import bundles, devices
from medsynth_cli.runtime.conversion import to_pixels
from medsynth_cli.text import vocabulary as vocabularies
from medsynth_cli.training.corpus import ReportWriter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.files.datasets import Item
    from medsynth_cli.text.vocabulary import Vocabulary

DATA = Path(__file__).parents[2] / "shared" / "data"
BATCH = 16
SETS, DRAWS, RANKS = 60, 100, 5
Maps = Callable[["Boxed"], "NDArray[np.float32]"]


@dataclass(frozen=True)
class Boxed:
    """A finding that radiologists boxed in an image: its index, its label, and where it is, bool ``(H, W)``."""

    image: int
    label: str
    mask: NDArray[np.bool_]

    @property
    def side(self) -> str | None:
        """The patient's side that all of it lies in; None if it crosses the middle."""
        middle = self.mask.shape[1] // 2
        on_left, on_right = self.mask[:, middle:].any(), self.mask[:, :middle].any()
        return None if on_left and on_right else "left" if on_left else "right"


def boxed_in(items: Sequence[Item], size_px: int) -> list[Boxed]:
    """Every boxed finding of images, once for each label of an image."""
    found = []
    for index, item in enumerate(items):
        for label in sorted({box["label"] for box in item.meta.get("boxes", [])}):
            mask = np.zeros((size_px, size_px), bool)
            for box in item.meta["boxes"]:
                if box["label"] == label:
                    left, top, width, height = box["xywh"]
                    mask[round(top) : round(top + height), round(left) : round(left + width)] = True
            found.append(Boxed(index, label, mask))
    return found


def pointing(heatmap: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """1 if the best place lies in the mask (Zhang et al. 2018, the pointing game), else 0."""
    return float(mask.flat[int(heatmap.argmax())])


def contrast_to_noise(heatmap: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """How far the mask stands out from the rest (Boecking et al. 2022): difference of means by root of variances."""
    inside, outside = heatmap[mask], heatmap[~mask]
    return float((inside.mean() - outside.mean()) / np.sqrt(inside.var() + outside.var() + 1e-12))


class Scores:
    """What an aligner says of the test images.

    Attributes:
        grids: cosines of every word and patch, float32 ``(N, W, g, g)``.
        of: (label, side or "") -> index of the word.
    """

    def __init__(self, aligner: aligners.WordPatchAligner, images: NDArray[np.uint8], vocabulary: Vocabulary) -> None:
        known = words(vocabulary)
        self.of = {(word.label, word.side): index for index, word in enumerate(known)}
        with torch.inference_mode():
            vectors = aligner.encode_words([word.phrase for word in known])
            parts = [
                aligner.match(aligner.encode_patches(to_pixels(images[start : start + BATCH], aligner.device)), vectors)
                for start in range(0, len(images), BATCH)
            ]
        self.grids = torch.cat(parts).cpu().numpy()
        self.best = self.grids.max(axis=(2, 3))

    def map(self, found: Boxed) -> NDArray[np.float32]:
        """The heatmap of a finding, at the size of its mask."""
        grid = torch.from_numpy(self.grids[found.image, self.of[found.label, ""]])[None, None]
        return F.interpolate(grid, found.mask.shape, mode="bilinear", align_corners=False)[0, 0].numpy()


def mean_boxes(items: Sequence[Item], size_px: int) -> Maps:
    """The mean box of each label as its heatmap."""
    found = boxed_in(items, size_px)
    means = {
        label: np.mean([box.mask for box in found if box.label == label], axis=0, dtype=np.float32)
        for label in {box.label for box in found}
    }
    return lambda wanted: means[wanted.label]


def centre(found: Boxed) -> NDArray[np.float32]:
    """Nearness to the middle of the image."""
    rows, columns = np.indices(found.mask.shape)
    middle = (found.mask.shape[0] - 1) / 2
    return -np.hypot(rows - middle, columns - middle).astype(np.float32)


def sides(scores: Scores, found: Sequence[Boxed]) -> NDArray[np.float64]:
    """For each finding of one side, 1 where the phrase with its side scores above the one with the other side."""
    other = {"left": "right", "right": "left"}
    return np.array(
        [
            scores.best[box.image, scores.of[box.label, box.side]]
            > scores.best[box.image, scores.of[box.label, other[box.side]]]
            for box in found
            if box.side is not None
        ],
        float,
    )


def report_words(items: Sequence[Item], scores: Scores, vocabulary: Vocabulary, folder: Path) -> NDArray[np.float64]:
    """Weights of the words in each image's report, ``(N, W)``: see the top of this file."""
    writer, random = ReportWriter(folder, vocabulary, 0), np.random.default_rng(0)
    weights = np.zeros((len(items), len(scores.of)))
    for row, item in zip(weights, items, strict=True):
        said: dict[bool, set[int]] = {True: set(), False: set()}
        for keyword in writer.aligned(item.meta, random)["keywords"]:
            label = vocabulary.terms[keyword["term"]].label
            side = keyword["side"] if (label, keyword["side"]) in scores.of and not keyword["negated"] else ""
            if (label, side) in scores.of and not keyword["uncertain"]:
                said[not keyword["negated"]].add(scores.of[label, side])
        for asserted, indices in said.items():
            row[list(indices)] = (1 if asserted else -1) / max(1, len(indices))
    return weights


def retrieval(items: Sequence[Item], fits: NDArray[np.float64]) -> tuple[float, int]:
    """R@5 of report to image among `SETS` images with different labels, mean of `DRAWS` draws; and how many sets.

    Args:
        items: the images.
        fits: of each report (row) and image (column), ``(N, N)``.
    """
    by_labels: dict[tuple[str, ...], list[int]] = {}
    for index, item in enumerate(items):
        by_labels.setdefault(tuple(sorted(item.meta["labels"])), []).append(index)
    random, hits = np.random.default_rng(0), []
    for _ in range(DRAWS):
        chosen = random.permutation(len(by_labels))[:SETS]
        images = [random.choice(list(by_labels.values())[number]) for number in chosen]
        table = fits[np.ix_(images, images)]
        # Half of the images that fit as well count as better.
        better = (table > np.diag(table)[:, None]).sum(1) + ((table == np.diag(table)[:, None]).sum(1) - 1) / 2
        hits.append(float((better < RANKS).mean()))
    return float(np.mean(hits)), min(SETS, len(by_labels))


def bracketed(values: NDArray[np.float64], groups: NDArray[np.int64], digits: int = 2) -> str:
    """A mean with its interval."""
    low, high = intervals.of_mean(values, groups) or (float("nan"),) * 2
    return f"{values.mean():.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def report(options: argparse.Namespace) -> str:
    """Measure everything: the Markdown page."""
    bundle = bundles.load(options.bundle)
    chosen = modality.load(bundle.modality)
    vocabulary, size_px, device = (
        vocabularies.load(chosen.folder),
        chosen.resolution_px,
        devices.resolve(options.device),
    )
    items, train = (list(datasets.read(sorted(options.data.glob(f"nih-{part}-*.tar")))) for part in ("test", "train"))
    images, found = datasets.stack(items, size_px), boxed_in(items, size_px)
    patients = {name: number for number, name in enumerate(dict.fromkeys(item.meta["patient"] for item in items))}
    groups = np.array([patients[items[box.image].meta["patient"]] for box in found])
    sided = np.array([group for group, box in zip(groups, found, strict=True) if box.side is not None])

    scored = {
        options.aligner or bundle.name: Scores(aligners.load(bundle, options.aligner, device), images, vocabulary)
    }
    if options.before:
        scored["before"] = Scores(aligners.load(bundle, str(options.before), device), images, vocabulary)
    maps: dict[str, Maps] = {name: scores.map for name, scores in scored.items()}
    maps |= {"mean box of nih-train": mean_boxes(train, size_px), "image centre": centre}
    measured = {
        name: np.array([[pointing(h := draw(box), box.mask), contrast_to_noise(h, box.mask)] for box in found])
        for name, draw in maps.items()
    }
    ours, prior = next(iter(measured.values())), measured["mean box of nih-train"]

    lines = [
        "# Alignment", "",
        f"Aligner of `{next(iter(scored))}` on {len(items)} images of nih-test, {len(found)} boxed findings of "
        f"{len(set(groups))} patients; brackets are intervals of 95 % (bootstrap over patients). "
        "Written by `benchmarks/alignment.py`, which says what is measured and how.", "",
        "| heatmap | pointing game | contrast-to-noise |", "|---|---|---|",
        *(
            f"| {name} | {bracketed(values[:, 0], groups)} | {bracketed(values[:, 1], groups)} |"
            for name, values in measured.items()
        ),
        f"| difference to the mean box, paired | {bracketed(ours[:, 0] - prior[:, 0], groups)} | "
        f"{bracketed(ours[:, 1] - prior[:, 1], groups)} |", "",
        "| finding | n | pointing game | mean box | contrast-to-noise | mean box |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for label in sorted({box.label for box in found}):
        own = np.array([box.label == label for box in found])
        cells = [bracketed(values[own, column], groups[own]) for column in (0, 1) for values in (ours, prior)]
        lines.append(f"| {label} | {own.sum()} | {' | '.join(cells)} |")
    lines += [
        "",
        "| aligner | right side preferred | n | report to image, R@5 | times chance |",
        "|---|---|---|---|---|",
    ]
    for name, scores in scored.items():
        deviations = (scores.best - scores.best.mean(0)) / scores.best.std(0)
        fits = report_words(items, scores, vocabulary, chosen.folder) @ deviations.T
        recall, sets = retrieval(items, fits)
        sided_right = sides(scores, found)
        lines.append(
            f"| {name} | {bracketed(sided_right, sided)} | {len(sided_right)} | {recall:.3f} of {sets} | "
            f"{recall * sets / RANKS:.2f} |"
        )
    return "\n".join([*lines, ""])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="cxr-mini")
    parser.add_argument("--before", type=Path, help="a bundle whose aligner is measured beside it")
    parser.add_argument("--aligner", help="another aligner than the bundle's own, as in medsynth align --aligner")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args(argv)
    page = report(options)
    atomic.write_text(options.out, page)
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
