"""Agreement of readers beyond chance: Cohen's kappa of two, Fleiss' kappa of more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def cohen(one: NDArray[np.integer], other: NDArray[np.integer], weights: NDArray[np.generic] | None = None) -> float:
    """Cohen's kappa (Cohen 1960), unweighted.

    Args:
        one: answers of a reader, ``(N,)``, from 0.
        other: those of another reader.
        weights: how often each case counts, ``(N,)``; None: once.

    Returns:
        A number in [-1, 1]; NaN when chance alone would make the readers agree, as when both always say the same.
    """
    kinds = int(max(one.max(), other.max())) + 1
    table = np.bincount(one * kinds + other, weights, minlength=kinds**2).reshape(kinds, kinds)
    table = table / table.sum()
    return _beyond(float(np.trace(table)), float(table.sum(axis=0) @ table.sum(axis=1)))


def fleiss(counts: NDArray[np.integer]) -> float:
    """Fleiss' kappa (Fleiss 1971).

    Args:
        counts: ``(N, K)``, how many readers gave case n answer k; the same number of readers for each case.

    Returns:
        A number in [-1, 1]; NaN when all answers are the same.
    """
    readers = counts.sum(axis=1)[0]
    agreed = ((counts**2).sum(axis=1) - readers) / (readers * (readers - 1))
    shares = counts.sum(axis=0) / counts.sum()
    return _beyond(float(agreed.mean()), float((shares**2).sum()))


def _beyond(agreed: float, chance: float) -> float:
    return (agreed - chance) / (1 - chance) if chance < 1 else float("nan")
