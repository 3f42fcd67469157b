"""Vendi score: how many different images a set seems to hold (Friedman and Dieng 2023, arXiv 2210.02410).

The exponential of the entropy of the eigenvalues of K / n, where K holds the cosines between features; 1 when
all images are the same, n when none has anything in common with another. Features are taken from the mean of
the real images, since all radiographs have much in common.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg

from medsynth_cli.metrics.comparison import Comparison, Row, Sides, over_extractors, row

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 4096


def vendi(features: NDArray[np.floating], centre: NDArray[np.floating] | float = 0.0) -> float:
    """Vendi score of features ``(N, D)``, N >= 1, seen from ``centre`` ``(D,)``; a number in [1, N]."""
    count, dimensions = features.shape
    if count > dimensions:
        shared = np.zeros((dimensions, dimensions))
        for start in range(0, count, CHUNK):
            part = _units(features[start : start + CHUNK], centre)
            shared += part.T @ part
    else:
        units = _units(features, centre)
        shared = units @ units.T
    values = linalg.eigvalsh(shared / count, check_finite=False)
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def score(comparison: Comparison) -> dict[str, Row]:
    """``Vendi`` of the synthetic images, on every extractor, with that of the real ones among the floors."""

    def compute(sides: Sides) -> dict[str, Row]:
        centre = sides.real.mean(axis=0, dtype=np.float64)
        floors = sides.floors(lambda ours, _: vendi(ours, centre)) | {"real": vendi(sides.real, centre)}
        return {"Vendi": row(vendi(sides.ours, centre), better="higher", floors=floors, note="grows with n")}

    return over_extractors(comparison, "Vendi", compute)


def _units(features: NDArray[np.floating], centre: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """Features seen from ``centre``, each of length 1."""
    units = np.asarray(features, np.float64) - centre
    units /= np.linalg.norm(units, axis=1, keepdims=True).clip(1e-12)
    return units
