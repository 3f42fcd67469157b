"""Precision, recall (arXiv 1904.06991), density and coverage (Naeem et al. 2020, arXiv 2002.09797).

The manifold of a set is the union of balls around its features, each reaching to the k-th neighbour. The balls
are open for all four scores, as in the code of density's authors (the package ``prdc``); the paper of precision
and torch-fidelity have them closed. That differs only where distances are equal, as among copies of an image:
k + 1 copies span an empty ball, so that a set that collapsed to one real image recalls nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import intervals
from medsynth_cli.metrics.comparison import Comparison, Row, Sides, over_extractors, row

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEIGHBOURS = 5
MOST = 10_000
"""Images of either set that are compared: distances between all pairs take time and room."""
CHUNK = 1000
METHOD = f"bootstrap over patients with the manifolds fixed, {intervals.ROUNDS} rounds"


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
    reach_ours, reach_real = _reach(a, neighbours), _reach(b, neighbours)
    balls, recall, coverage = np.zeros(len(a)), np.zeros(len(b)), np.zeros(len(b))
    for start in range(0, len(b), CHUNK):
        part = slice(start, start + CHUNK)
        between = distances(b[part], a)
        balls += (between < reach_real[part, None]).sum(axis=0)
        recall[part] = (between < reach_ours[None, :]).any(axis=1)
        coverage[part] = between.min(axis=1) < reach_real[part]
    return Prdc((balls > 0).astype(float), recall, balls / neighbours, coverage)


def distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distances ``(N, M)`` between all pairs of ``(N, D)`` and ``(M, D)``."""
    squares = a @ b.T
    squares *= -2
    squares += (a**2).sum(1)[:, None]
    squares += (b**2).sum(1)[None, :]
    np.maximum(squares, 0, out=squares)
    return np.sqrt(squares, out=squares)


def score(comparison: Comparison) -> dict[str, Row]:
    """``precision``, ``recall``, ``density`` and ``coverage`` on every extractor.

    The intervals hold the manifolds fixed and count only the spread of the means.
    """
    names = ("precision", "recall", "density", "coverage")

    def compute(sides: Sides) -> dict[str, Row]:
        found = prdc(sides.ours[:MOST], sides.real[:MOST])
        more: Row = {}
        if max(len(sides.ours), len(sides.real)) > MOST:
            used = {"n_used": min(len(sides.ours), MOST), "n_real_used": min(len(sides.real), MOST)}
            more = used | {"note": f"of {MOST:,} images of a set at most"}
        floors = sides.floors_of(lambda a, b: _means(a[:MOST], b[:MOST]), names)
        ours, real = sides.groups
        whose = {"precision": ours[:MOST], "density": ours[:MOST], "recall": real[:MOST], "coverage": real[:MOST]}
        rows = {}
        for name in names:
            values = getattr(found, name)
            bounds = intervals.of_mean(values, whose[name], comparison.seed)
            rows[name] = row(
                float(values.mean()), bounds, better="higher", interval_method=METHOD, floors=floors[name], **more
            )
        return rows

    return over_extractors(comparison, "coverage", compute)


def _means(ours: NDArray[np.floating], real: NDArray[np.floating]) -> dict[str, float]:
    found = prdc(ours, real)
    return {name: float(values.mean()) for name, values in vars(found).items()}


def _reach(features: NDArray[np.float64], neighbours: int) -> NDArray[np.float64]:
    """Distance of every feature to its k-th neighbour, itself not counted."""
    found = np.empty(len(features))
    for start in range(0, len(features), CHUNK):
        part = distances(features[start : start + CHUNK], features)
        part[np.arange(len(part)), start + np.arange(len(part))] = 0
        found[start : start + CHUNK] = np.partition(part, neighbours, axis=1)[:, neighbours]
    return found
