"""Precision, recall (arXiv 1904.06991), density and coverage (Naeem et al. 2020, arXiv 2002.09797).

The manifold of a set is the union of balls around its features, each reaching to the k-th neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics.comparison import Comparison, Row, mean_row, over_extractors
from medsynth_cli.recognition.features import EFFNET

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEIGHBOURS = 5


@dataclass(frozen=True)
class Prdc:
    """What each image adds; the scores are the means.

    Attributes:
        precision: ``(N,)``: the synthetic image lies in the real manifold.
        recall: ``(M,)``: the real image lies in the synthetic manifold.
        density: ``(N,)``: number of real balls around the synthetic image, divided by k.
        coverage: ``(M,)``: the real image's ball holds a synthetic image.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    density: NDArray[np.float64]
    coverage: NDArray[np.float64]


def prdc(ours: NDArray[np.floating], real: NDArray[np.floating], neighbours: int = NEIGHBOURS) -> Prdc:
    """Compare features ``(N, D)`` of synthetic with ``(M, D)`` of real images.

    Raises:
        MedsynthError: one of the sets has no more than ``neighbours`` images.
    """
    if min(len(ours), len(real)) <= neighbours:
        raise MedsynthError(f"needs more than {neighbours} synthetic and {neighbours} real images")
    a, b = np.asarray(ours, np.float64), np.asarray(real, np.float64)
    reach_ours = np.partition(_distances(a, a), neighbours, axis=1)[:, neighbours]
    reach_real = np.partition(_distances(b, b), neighbours, axis=1)[:, neighbours]
    between = _distances(b, a)
    inside_real = between < reach_real[:, None]
    return Prdc(
        precision=inside_real.any(axis=0).astype(float),
        recall=(between < reach_ours[None, :]).any(axis=1).astype(float),
        density=inside_real.sum(axis=0) / neighbours,
        coverage=(between.min(axis=1) < reach_real).astype(float),
    )


def score(comparison: Comparison) -> dict[str, Row]:
    """``precision``, ``recall``, ``density`` and ``coverage`` on the bundled features.

    The intervals hold the manifolds fixed and count only the spread of the means.
    """

    def compute(ours: NDArray[np.float32], real: NDArray[np.float32]) -> dict[str, Row]:
        found = prdc(ours, real)
        return {
            "precision": mean_row(found.precision, most=1),
            "recall": mean_row(found.recall, most=1),
            "density": mean_row(found.density),
            "coverage": mean_row(found.coverage, most=1),
        }

    return over_extractors(comparison, {"coverage": EFFNET}, compute)


def _distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distances ``(N, M)``; exactly 0 from an array to itself on the diagonal."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T
    if a is b:
        np.fill_diagonal(squares, 0)
    return np.sqrt(np.maximum(squares, 0))
