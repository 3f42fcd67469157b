"""The cases of a reader study: synthetic images, and as many real ones that show the same.

If the sides differed in findings or views, a reader could tell them apart by these. So each synthetic image is
joined by the real one whose findings and view agree best with its own. No patient comes twice as long as there
are others: two images of one person would give themselves away as real.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics.comparison import Comparison
from medsynth_cli.metrics.imagesets import ImageSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

SYNTHETIC, REAL = "synthetic", "real"
UNKNOWN = 1.0
"""What findings that are not known count: as much as one that differs."""
OTHER_VIEW = 0.5
"""What another view counts: it decides between real images whose findings agree as well."""

REPEATED = 1000.0
"""What a patient shown before counts: more than anything else."""

Findings = Sequence["NDArray[np.float32] | None"]
"""Labels of each image, ``(L,)``, 0 or 1; None where they are not known."""


@dataclass(frozen=True)
class Case:
    """One image of a study.

    Attributes:
        truth: `SYNTHETIC` or `REAL`.
        image_id: its id in the set that it comes from.
        labels: findings asked for or known to be shown; None if nothing is known.
        pixels: uint8 ``(size_px, size_px)``.
    """

    truth: str
    image_id: str
    labels: list[str] | None
    pixels: NDArray[np.uint8]


def choose(comparison: Comparison, count: int) -> list[Case]:
    """Draw ``count`` cases, half of them synthetic, and shuffle them; all by the comparison's seed.

    Combinations of requested findings come in turn, and so do the records that images were made from.

    Raises:
        MedsynthError: an odd count, real images that are not at hand, or too few of either side.
    """
    if count % 2:
        raise MedsynthError(f"--cases {count}: half of them are real", f"--cases {count + 1}")
    if not comparison.real.at_hand:
        raise MedsynthError(f"{comparison.real.name} holds no images to show", "name real images with --real")
    fewest = min(len(comparison.synthetic), len(comparison.real))
    if 2 * fewest < count:
        there = f"{len(comparison.synthetic)} synthetic and {len(comparison.real)} real images"
        raise MedsynthError(f"{there} are too few for {count} cases", f"name more images, or --cases {2 * fewest}")
    random = np.random.default_rng([comparison.seed, 7])
    names, wanted, shown = _findings(comparison)
    drawn = _in_turn(random.permutation(len(comparison.synthetic)), comparison.synthetic.groups)
    drawn = _in_turn(drawn, [None if row is None else row.tobytes() for row in wanted])[: count // 2]
    matched = _match(comparison, drawn, wanted, shown, random.permutation(len(comparison.real)))
    cases = [
        *_cases(SYNTHETIC, comparison.synthetic, drawn, wanted, names),
        *_cases(REAL, comparison.real, matched, shown, names),
    ]
    return [cases[index] for index in random.permutation(count)]


def balance(cases: Sequence[Case]) -> dict[str, tuple[int, int]]:
    """Finding -> how many synthetic and how many real images show it; images of unknown findings are left out."""
    found: dict[str, tuple[int, int]] = {}
    for label in sorted({label for case in cases for label in case.labels or []}):
        shown = Counter(case.truth for case in cases if label in (case.labels or []))
        found[label] = shown[SYNTHETIC], shown[REAL]
    return found


def _findings(comparison: Comparison) -> tuple[Sequence[str], Findings, Findings]:
    """Names of the L labels, those asked for and those that real images show; none if the bundle knows no labels."""
    try:
        names = comparison.labels
    except MedsynthError:
        return (), [None] * len(comparison.synthetic), [None] * len(comparison.real)
    index, rows = comparison.requested
    asked = dict(zip(index.tolist(), rows, strict=True))
    known = [labels is not None for labels in comparison.real.field("labels")]
    shown = [row if there else None for row, there in zip(comparison.truth, known, strict=True)]
    return names, [asked.get(image) for image in range(len(comparison.synthetic))], shown


def _in_turn(order: Iterable[int], keys: Sequence[Hashable] | NDArray[np.int64]) -> list[int]:
    """The same order, but the first image of every key before the second of any."""
    seen = Counter[Hashable]()
    ranked = []
    for index in order:
        ranked.append((seen[keys[index]], int(index)))
        seen[keys[index]] += 1
    return [index for _, index in sorted(ranked, key=lambda entry: entry[0])]


def _match(
    comparison: Comparison, drawn: Sequence[int], wanted: Findings, shown: Findings, order: NDArray[np.int64]
) -> list[int]:
    """For each synthetic image the real one that agrees best, none twice; ``order`` decides between equals."""
    real, views = comparison.real, np.array([str(view or "") for view in comparison.real.field("view")])
    taken, patients = np.zeros(len(real), bool), np.zeros(len(real), bool)
    chosen: list[int] = []
    for index in drawn:
        asked, view = wanted[index], comparison.synthetic.meta[index].get("view")
        cost = np.array([_difference(asked, row) for row in shown])
        if view:
            cost += OTHER_VIEW * ((views != view) & (views != ""))
        cost[patients] += REPEATED
        cost[taken] = np.inf
        best = int(order[np.argmin(cost[order])])
        chosen.append(best)
        taken[best] = True
        patients |= real.groups == real.groups[best]
    return chosen


def _difference(one: NDArray[np.float32] | None, other: NDArray[np.float32] | None) -> float:
    """Share of the findings of either image that the other lacks, [0, 1] (Jaccard distance); 1 if one is unknown."""
    if one is None or other is None:
        return 1.0
    either = np.maximum(one, other).sum()
    return float(np.abs(one - other).sum() / either) if either else 0.0


def _cases(truth: str, images: ImageSet, chosen: Sequence[int], findings: Findings, names: Sequence[str]) -> list[Case]:
    found = []
    for index in chosen:
        row = findings[index]
        labels = None if row is None else [name for name, there in zip(names, row, strict=True) if there]
        found.append(Case(truth, str(images.meta[index]["id"]), labels, images.pixels(index)))
    return found
