"""Kernel distance between two sets of features: MMD² with k(x, y) = (x·y / D + 1)³ (KID, arXiv 1801.01401).

Named after its extractor: ``KID`` only on Inception-v3, ``KID-EffNet`` on the bundled EfficientNet-Lite2.
Unlike the Fréchet distance it does not grow when there are few images; it may come out slightly negative.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from medsynth_cli.metrics.comparison import Comparison, Row, jackknife, over_extractors, row
from medsynth_cli.recognition.features import EFFNET, INCEPTION

if TYPE_CHECKING:
    from numpy.typing import NDArray


def distance(
    ours: NDArray[np.floating],
    real: NDArray[np.floating],
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> float:
    """Kernel distance of features ``(N, D)`` and ``(M, D)``, N, M >= 2, by clean-fid's function.

    clean-fid draws its subsets from numpy's global generator; it is seeded here and put back afterwards.
    """
    from cleanfid.fid import kernel_distance

    state = np.random.get_state()
    np.random.seed(seed)
    try:
        a, b = np.asarray(ours, np.float64), np.asarray(real, np.float64)
        return float(kernel_distance(a, b, num_subsets=subsets, max_subset_size=subset_size))
    finally:
        np.random.set_state(state)


def score(comparison: Comparison) -> dict[str, Row]:
    """``KID-EffNet`` and ``KID`` of synthetic against real images."""

    def compute(ours: NDArray[np.float32], real: NDArray[np.float32]) -> dict[str, Row]:
        value = distance(ours, real, seed=comparison.seed)
        quick = functools.partial(distance, subsets=10, seed=comparison.seed)
        return {"": row(value, jackknife(quick, ours, real, value, comparison.seed))}

    return over_extractors(comparison, {"KID-EffNet": EFFNET, "KID": INCEPTION}, compute)
