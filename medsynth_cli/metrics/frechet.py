"""Fréchet distance between two sets of features, each taken as Gaussian (Heusel et al. 2017, arXiv 1706.08500).

Named after its extractor: ``FID`` only on Inception-v3, ``FD-EffNet`` on the bundled EfficientNet-Lite2.
With no more images than feature dimensions the distance is biased upwards; compare it at equal counts only.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from typing import TYPE_CHECKING

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics.comparison import Comparison, Row, jackknife, over_extractors, row
from medsynth_cli.recognition.features import EFFNET, INCEPTION

if TYPE_CHECKING:
    from numpy.typing import NDArray


def distance(ours: NDArray[np.floating], real: NDArray[np.floating]) -> float:
    """Fréchet distance of features ``(N, D)`` and ``(M, D)``, N, M >= 2, by clean-fid's function.

    Raises:
        MedsynthError: the matrix root did not come out real.
    """
    from cleanfid.fid import frechet_distance

    a, b = np.asarray(ours, np.float64), np.asarray(real, np.float64)
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        try:
            found = frechet_distance(a.mean(0), np.cov(a, rowvar=False), b.mean(0), np.cov(b, rowvar=False))
        except ValueError as error:
            raise MedsynthError(f"clean-fid found no real matrix root ({error})", "more images help") from error
    return float(found)


def distance_by_spectrum(ours: NDArray[np.floating], real: NDArray[np.floating]) -> float:
    """The same distance from the singular values of the N x M matrix of inner products.

    With centred features A, B divided by sqrt(N - 1), sqrt(M - 1): tr (A'A B'B)^(1/2) is the sum of the
    singular values of A B'. Much faster than a matrix root when N, M < D, so that intervals are affordable.
    """
    a, b = np.asarray(ours, np.float64), np.asarray(real, np.float64)
    mean_a, mean_b = a.mean(0), b.mean(0)
    a, b = (a - mean_a) / np.sqrt(len(a) - 1), (b - mean_b) / np.sqrt(len(b) - 1)
    if min(len(a), len(b)) <= a.shape[1]:
        root = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    else:
        root = np.linalg.svd(_root(a) @ _root(b), compute_uv=False).sum()
    return float(((mean_a - mean_b) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * root)


def score(comparison: Comparison) -> dict[str, Row]:
    """``FD-EffNet`` and ``FID`` of synthetic against real images."""

    def compute(ours: NDArray[np.float32], real: NDArray[np.float32]) -> dict[str, Row]:
        value = distance(ours, real)
        result = row(value, jackknife(distance_by_spectrum, ours, real, value, comparison.seed))
        few = min(len(ours), len(real))
        if few <= ours.shape[1]:
            result["note"] = f"biased: {few} images for {ours.shape[1]} dimensions; compare at equal n only"
        return {"": result}

    return over_extractors(comparison, {"FD-EffNet": EFFNET, "FID": INCEPTION}, compute)


def _root(a: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric root of A'A."""
    _, values, vectors = np.linalg.svd(a, full_matrices=False)
    return (vectors.T * values) @ vectors
