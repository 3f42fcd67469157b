"""Maximum mean discrepancy between two sets of features (Gretton et al. 2012), squared.

With k(x, y) = (x·y / D + 1)³ it is the kernel distance (KID, arXiv 1801.01401), over all pairs of images where
others draw subsets: the same expectation, and no draw to depend on. Unlike the Fréchet distance it does not grow
when there are few images, and it may come out slightly negative. With a Gaussian kernel as wide as images of the
set differ it is plain MMD.

CMMD (Jayasumana et al. 2024, arXiv 2401.09603) is a thousand times MMD² on CLIP's embeddings with a Gaussian kernel
of width 10. Its authors' code counts each image with itself as well: that biased estimate is what is published.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medsynth_cli.metrics import intervals
from medsynth_cli.metrics.comparison import Comparison, Row, Sides, over_extractors, row

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kernel = Callable[["NDArray[np.float64]", "NDArray[np.float64]"], "NDArray[np.float64]"]

BLOCK = 5000
"""Pairs are formed within blocks of so many images, so that the work grows with n and not with its square."""
STRIP = 1000
"""Rows of a block that are in memory at a time."""
CMMD_WIDTH, CMMD_SCALE = 10.0, 1000.0
"""As in `cmmd/distance.py` of google-research."""
METHOD = f"bootstrap over patients, {intervals.ROUNDS} rounds"


def polynomial(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(x·y / D + 1)³ of all pairs: ``(N, D)``, ``(M, D)`` -> ``(N, M)``."""
    values = a @ b.T
    values /= a.shape[1]
    values += 1
    return np.multiply(values**2, values, out=values)


def gaussian(a: NDArray[np.float64], b: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """exp(-|x - y|² / 2 width²) of all pairs: ``(N, D)``, ``(M, D)`` -> ``(N, M)``."""
    squares = a @ b.T
    squares *= -2
    squares += (a**2).sum(1)[:, None]
    squares += (b**2).sum(1)[None, :]
    np.maximum(squares, 0, out=squares)
    squares /= -2 * width**2
    return np.exp(squares, out=squares)


@dataclass(frozen=True)
class Similarities:
    """Mean kernel values of every image with all others of its own set and with those of the other set.

    The discrepancy is the mean of ``ours`` plus that of ``real``: both hold the values within a set minus those
    to the other one.

    Attributes:
        ours: ``(N,)``.
        real: ``(M,)``.
    """

    ours: NDArray[np.float64]
    real: NDArray[np.float64]

    @property
    def distance(self) -> float:
        """The unbiased estimate of MMD²."""
        return float(self.ours.mean() + self.real.mean())

    def interval(
        self, groups: tuple[NDArray[np.integer], NDArray[np.integer]], seed: int = 0
    ) -> tuple[float, float] | None:
        """Bootstrap interval over groups, of the linear part of the estimate.

        To first order MMD² moves by twice the mean of either side (Hoeffding's projection): an image counts
        once for itself and once as the others' partner. An image never meets its own copy, as it would in a
        plain bootstrap.
        """
        drawn = np.full(intervals.ROUNDS, self.distance)
        for side, (values, names) in enumerate(zip((self.ours, self.real), groups, strict=True)):
            centred = values - values.mean()
            for round, w in enumerate(intervals.weights(names, seed=seed + side)):
                drawn[round] += 2 * float(w @ centred) / float(w.sum())
        return intervals.percentile(drawn)


def compare(
    ours: NDArray[np.floating], real: NDArray[np.floating], kernel: Kernel = polynomial, block: int = BLOCK
) -> Similarities:
    """Compare features ``(N, D)`` and ``(M, D)``, N, M >= 2."""
    within_ours, within_real = _within(ours, kernel, block), _within(real, kernel, block)
    across, back = np.zeros(len(ours)), np.zeros(len(real))
    for rows in _blocks(len(ours), STRIP):
        for columns in _blocks(len(real), block):
            values = kernel(ours[rows].astype(np.float64), real[columns].astype(np.float64))
            across[rows] += values.sum(axis=1)
            back[columns] += values.sum(axis=0)
    return Similarities(within_ours - across / len(real), within_real - back / len(ours))


def distance(ours: NDArray[np.floating], real: NDArray[np.floating], kernel: Kernel = polynomial) -> float:
    """Unbiased MMD² of features ``(N, D)`` and ``(M, D)``, N, M >= 2."""
    return compare(ours, real, kernel).distance


def cmmd(ours: NDArray[np.floating], real: NDArray[np.floating]) -> float:
    """CMMD of embeddings of length 1, ``(N, D)`` and ``(M, D)``, over all pairs: Gretton et al. 2012, eq. 5."""
    within = _mean(ours, ours) + _mean(real, real)
    return CMMD_SCALE * (within - 2 * _mean(ours, real))


def median_width(features: NDArray[np.floating], most: int = 1000) -> float:
    """Median distance between two of the first ``most`` features: the usual width of a Gaussian kernel."""
    from scipy.spatial.distance import pdist

    return float(np.median(pdist(features[:most].astype(np.float64))))


def score(comparison: Comparison) -> dict[str, Row]:
    """``KID`` of synthetic against real images, on every extractor."""
    return over_extractors(comparison, "KID", lambda sides: {"KID": _row(sides, polynomial, comparison.seed)})


def score_gaussian(comparison: Comparison) -> dict[str, Row]:
    """``MMD`` with a Gaussian kernel as wide as the median distance between real images, on every extractor.

    On ``clip`` it is ``CMMD``, with the published kernel and estimate.
    """

    def compute(sides: Sides) -> dict[str, Row]:
        if sides.extractor.partition(":")[0] == "clip":
            return {"MMD": _cmmd_row(sides, comparison.seed)}
        width = median_width(sides.real)
        kernel = functools.partial(gaussian, width=width)
        note = f"Gaussian kernel of width {width:.4g}, the median distance between real images"
        return {"MMD": _row(sides, kernel, comparison.seed) | {"note": note}}

    return over_extractors(comparison, "MMD", compute)


def _row(sides: Sides, kernel: Kernel, seed: int) -> Row:
    found = compare(sides.ours, sides.real, kernel)
    floors = sides.floors(lambda a, b: distance(a, b, kernel))
    bounds = found.interval(sides.groups, seed)
    return row(found.distance, bounds, better="lower", interval_method=METHOD, floors=floors)


def _cmmd_row(sides: Sides, seed: int) -> Row:
    kernel = functools.partial(gaussian, width=CMMD_WIDTH)
    value = cmmd(sides.ours, sides.real)
    found = compare(sides.ours, sides.real, kernel)
    bounds = found.interval(sides.groups, seed)
    # The biased estimate lies above the unbiased one by what images add that meet themselves; so do its bounds.
    shifted = None if bounds is None else [value + CMMD_SCALE * (bound - found.distance) for bound in bounds]
    note = "biased: the published estimate pairs each image with itself too; compare at equal n only"
    return row(value, shifted, better="lower", interval_method=METHOD, floors=sides.floors(cmmd), note=note)


def _mean(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Mean of CMMD's kernel over all pairs of ``(N, D)`` and ``(M, D)``, formed a block at a time."""
    total = 0.0
    for rows, columns in itertools.product(_blocks(len(a), BLOCK), [*_blocks(len(b), BLOCK)]):
        total += gaussian(a[rows].astype(np.float64), b[columns].astype(np.float64), CMMD_WIDTH).sum()
    return total / (len(a) * len(b))


def _within(features: NDArray[np.floating], kernel: Kernel, block: int) -> NDArray[np.float64]:
    """Mean kernel value of each feature with the others of its block."""
    means = np.empty(len(features))
    for rows in _blocks(len(features), block):
        part = features[rows].astype(np.float64)
        for strip in _blocks(len(part), STRIP):
            values = kernel(part[strip], part)
            own = values[:, strip].diagonal()
            means[rows][strip] = (values.sum(axis=1) - own) / (len(part) - 1)
    return means


def _blocks(count: int, block: int) -> Iterator[slice]:
    """Slices of nearly equal length, at most ``block``."""
    edges = np.linspace(0, count, -(-count // block) + 1).round().astype(int)
    return (slice(start, end) for start, end in itertools.pairwise(edges))
