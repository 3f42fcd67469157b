"""Intervals of 95 % for figures of images that come in groups, such as the images of a patient.

Two ways of drawing again. The bootstrap draws groups with replacement; it is right for means and for figures
that are nearly means. Figures that read a repeated image as collapse, such as the Fréchet distance, take half
of the groups without replacement instead: for them the bootstrap is not only too wide but beside the value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.95
ROUNDS = 1000
Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


def weights(groups: NDArray[np.integer], rounds: int = ROUNDS, seed: int = 0) -> Iterator[NDArray[np.int64]]:
    """How often each image is drawn when groups are drawn with replacement: ``(N,)`` a round."""
    random = np.random.default_rng([seed, 5])
    count = int(groups.max()) + 1
    for _ in range(rounds):
        yield np.bincount(random.integers(0, count, count), minlength=count)[groups]


def halves(groups: NDArray[np.integer], rounds: int, seed: int = 0) -> Iterator[NDArray[np.int64]]:
    """Indices of the images of half of the groups, drawn without replacement, a round."""
    random = np.random.default_rng([seed, 6])
    count = int(groups.max()) + 1
    for _ in range(rounds):
        chosen = np.zeros(count, bool)
        chosen[random.permutation(count)[: count // 2]] = True
        yield np.flatnonzero(chosen[groups])


def percentile(drawn: Sequence[float] | NDArray[np.floating]) -> tuple[float, float] | None:
    """The interval that holds the middle 95 % of what was drawn; None if it is no number throughout."""
    known = np.asarray(drawn, float)
    known = known[np.isfinite(known)]
    if not len(known):
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def of_mean(
    values: NDArray[np.floating], groups: NDArray[np.integer] | None = None, seed: int = 0
) -> tuple[float, float] | None:
    """Bootstrap interval of a mean over groups; None for fewer than two groups.

    Args:
        values: ``(N,)``.
        groups: ``(N,)``, numbers from 0; None: every value is a group.
        seed: of the draws.
    """
    groups = np.arange(len(values)) if groups is None else np.unique(groups, return_inverse=True)[1]
    sums, sizes = np.bincount(groups, values), np.bincount(groups)
    if len(sums) < 2:
        return None
    drawn = [float(w @ sums / (w @ sizes)) for w in weights(np.arange(len(sums)), seed=seed)]
    return percentile(drawn)


def by_halves(
    statistic: Callable[[NDArray[np.int64], NDArray[np.int64]], float],
    groups: tuple[NDArray[np.integer], NDArray[np.integer]],
    rounds: int,
    seed: int = 0,
) -> tuple[float, float]:
    """Mean of a statistic on halves of two samples, and the standard error that this implies for the whole ones.

    Half of a sample without replacement varies as much around the whole as the whole varies around the truth
    (Politis, Romano and Wolf 1999, ch. 2): V/(n/2) times the finite-population factor 1 - 1/2 is V/n.

    Args:
        statistic: indices of the images taken from either sample -> value.
        groups: of either sample, numbers from 0.
        rounds: pairs of halves.
        seed: of the draws.
    """
    ours, real = (halves(group, rounds, seed + side) for side, group in enumerate(groups))
    drawn = np.array([statistic(a, b) for a, b in zip(ours, real, strict=True)])
    return float(drawn.mean()), float(drawn.std(ddof=1))


def normal(value: float, error: float) -> tuple[float, float] | None:
    """Interval of a value with a standard error."""
    return (value - Z * error, value + Z * error) if math.isfinite(value) and math.isfinite(error) else None
