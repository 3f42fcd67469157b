"""Authenticity (AuthPct, Alaa et al. 2022, arXiv 2102.08921): images that are no training image made anew.

A synthetic image is authentic if it is farther from its nearest training image than that one is from its own
nearest neighbour among the training images. The figure sees copies only where features do: its floor of
round-tripped training images, copies all of them, says how far that is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import intervals
from medsynth_cli.metrics.comparison import Comparison, Row, Sides, over_extractors, row, unavailable
from medsynth_cli.metrics.prdc import distances

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 1000
METHOD = f"bootstrap over patients or records, {intervals.ROUNDS} rounds"


def authentic(ours: NDArray[np.floating], train: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which of the images ``(N, D)`` are authentic beside training images ``(T, D)``, T >= 2: ``(N,)``."""
    known = np.asarray(train, np.float64)
    own, _ = _nearest(known, known, apart=True)
    reach, where = _nearest(np.asarray(ours, np.float64), known)
    return reach > own[where]


def score(comparison: Comparison) -> dict[str, Row]:
    """``AuthPct``: share of authentic images, on every extractor."""
    if comparison.train is None:
        return {"AuthPct": unavailable("no training images (name some with --train)")}

    def compute(sides: Sides) -> dict[str, Row]:
        train = sides.train
        if train is None or len(train) < 2:
            raise MedsynthError("no features of training images")
        found = authentic(sides.ours, train)
        floors = {name: float(authentic(other, train).mean()) for name, other in sides.others.items()}
        floors["real"] = float(authentic(sides.real, train).mean())
        bounds = intervals.of_mean(found.astype(float), sides.groups[0], comparison.seed)
        more = {"n_train": len(train), "better": "higher", "interval_method": METHOD}
        return {"AuthPct": row(float(found.mean()), bounds, floors=floors, **more)}

    return over_extractors(comparison, "AuthPct", compute)


def _nearest(
    a: NDArray[np.float64], b: NDArray[np.float64], apart: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distance and number of the nearest of ``b`` for each of ``a``; ``apart``: they are the same set."""
    reach, where = np.empty(len(a)), np.empty(len(a), np.int64)
    for start in range(0, len(a), CHUNK):
        part = distances(a[start : start + CHUNK], b)
        if apart:
            part[np.arange(len(part)), start + np.arange(len(part))] = np.inf
        where[start : start + CHUNK] = part.argmin(axis=1)
        reach[start : start + CHUNK] = part.min(axis=1)
    return reach, where
