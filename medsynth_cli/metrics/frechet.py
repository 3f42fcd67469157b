"""Fréchet distance between two sets of features, each taken as Gaussian (Heusel et al. 2017, arXiv 1706.08500).

Named after its extractor: ``FID`` only on Inception-v3, ``FD-EffNet`` on the bundled EfficientNet-Lite2. The
distance of n images is biased upwards, about as 1/n; ``FD∞`` takes the bias out (Chong and Forsyth 2020,
arXiv 1911.07023), from half the images here. With no more images than dimensions neither means much but
beside its floors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg

from medsynth_cli.metrics import intervals
from medsynth_cli.metrics.comparison import Comparison, Row, Sides, over_extractors, row

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDS = 40
CHUNK = 4096
FEWEST_GROUPS = 8
"""Patients or records that either set needs for an interval."""


@dataclass(frozen=True)
class Gaussian:
    """Mean ``(D,)`` and a root ``(R, D)`` of the covariance: ``root' root``, float64."""

    mean: NDArray[np.float64]
    root: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[np.floating]) -> Gaussian:
        """Mean and unbiased covariance of features ``(N, D)``, N >= 2."""
        mean = features.mean(axis=0, dtype=np.float64)
        count, dimensions = features.shape
        if count <= dimensions:
            return cls(mean, (features - mean) / np.sqrt(count - 1))
        covariance = np.zeros((dimensions, dimensions))
        for start in range(0, count, CHUNK):
            part = features[start : start + CHUNK] - mean
            covariance += part.T @ part
        return cls(mean, _root(covariance / (count - 1)))

    def distance(self, other: Gaussian) -> float:
        """Squared Fréchet distance: |m - n|² + tr S + tr T - 2 tr (S T)^(1/2).

        For roots A'A = S and B'B = T the last trace is the sum of the singular values of A B'. It equals what
        clean-fid finds through a matrix root, in a hundredth of the time when there are few images.
        """
        shared = linalg.svdvals(self.root @ other.root.T, check_finite=False).sum()
        traces = (self.root**2).sum() + (other.root**2).sum()
        return float(((self.mean - other.mean) ** 2).sum() + traces - 2 * shared)


def distance(ours: NDArray[np.floating], real: NDArray[np.floating]) -> float:
    """Fréchet distance of features ``(N, D)`` and ``(M, D)``, N, M >= 2."""
    return Gaussian.of(ours).distance(Gaussian.of(real))


def unbiased(
    ours: NDArray[np.floating],
    real: NDArray[np.floating],
    groups: tuple[NDArray[np.integer], NDArray[np.integer]],
    seed: int = 0,
    rounds: int = ROUNDS,
) -> tuple[float, float, float]:
    """Fréchet distance, its value for infinitely many images, and the standard error of both.

    The bias of n images is b/n to first order; half as many have twice that.

    Args:
        ours: features ``(N, D)``.
        real: features ``(M, D)``.
        groups: of either set, numbers from 0, at least four groups each.
        seed: of the draws.
        rounds: pairs of halves.
    """
    whole = distance(ours, real)
    half, error = intervals.by_halves(lambda a, b: distance(ours[a], real[b]), groups, rounds, seed)
    return whole, 2 * whole - half, error


def score(comparison: Comparison) -> dict[str, Row]:
    """``FD`` and ``FD∞`` of synthetic against real images, on every extractor."""

    def compute(sides: Sides) -> dict[str, Row]:
        few, dimensions = min(len(sides.ours), len(sides.real)), sides.ours.shape[1]
        note = f"biased: {few} images for {dimensions} dimensions; compare at equal n only" if few <= dimensions else ""
        more: Row = {"better": "lower"} | ({"note": note} if note else {})
        rough = {"note": "rough: the bias is no multiple of 1/n with so few images"} if note else {}
        if sides.fewest_groups < FEWEST_GROUPS:
            return {"FD": row(distance(sides.ours, sides.real), floors=sides.floors(distance), **more)}
        whole, limit, error = unbiased(sides.ours, sides.real, sides.groups, comparison.seed)
        more["interval_method"] = f"half of the patients without replacement, {ROUNDS} rounds"
        return {
            "FD": row(whole, intervals.normal(whole, error), floors=sides.floors(distance), **more),
            "FD∞": row(limit, intervals.normal(limit, error), floors=sides.floors(_limit), **more | rough),
        }

    return over_extractors(comparison, "FD", compute)


def _limit(ours: NDArray[np.floating], real: NDArray[np.floating]) -> float:
    """The unbiased distance from one pair of halves, which is enough for a floor."""
    return 2 * distance(ours, real) - distance(ours[::2], real[::2])


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """A root ``(R, D)`` of a covariance ``(D, D)`` of rank R: Cholesky with pivots, much faster than eigenvectors."""
    factor, pivots, rank, _ = linalg.lapack.dpstrf(covariance)
    root = np.empty((rank, len(covariance)))
    root[:, pivots - 1] = np.triu(factor)[:rank]
    return root
