"""Calibration: whether findings are as often recognised as they were requested.

The judge ranks images, but its probabilities are not frequencies. A logistic curve fitted on the real images
makes them so there (Platt 1999); what is left on the synthetic ones is theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize, special

from medsynth_cli.metrics import intervals
from medsynth_cli.metrics.comparison import Comparison, Row, over_labels, row

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 10
METHOD = f"bootstrap over patients or records, {intervals.ROUNDS} rounds"


def platt(scores: NDArray[np.floating], truth: NDArray[np.generic]) -> tuple[float, float]:
    """Slope and offset of the logistic curve that turns probabilities ``(N,)`` into frequencies of ``truth``.

    Platt's smoothed targets keep the fit finite where scores separate the classes.
    """
    logits, positive = _logits(scores), np.asarray(truth) > 0
    count, others = positive.sum(), (~positive).sum()
    target = np.where(positive, (count + 1) / (count + 2), 1 / (others + 2))

    def loss(curve: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = curve[0] * logits + curve[1]
        residual = special.expit(z) - target
        return float((np.logaddexp(0, z) - target * z).sum()), np.array([residual @ logits, residual.sum()])

    found = optimize.minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS")
    return float(found.x[0]), float(found.x[1])


def expected_error(
    probabilities: NDArray[np.floating], truth: NDArray[np.generic], weights: NDArray[np.generic] | None = None
) -> float:
    """Expected calibration error: mean of \\|frequency - probability\\| over `BINS` bins that hold equally many images.

    Args:
        probabilities: ``(N,)``, [0, 1].
        truth: ``(N,)``, nonzero = positive.
        weights: ``(N,)``, how often each image counts; None: once.
    """
    counts = np.ones(len(truth)) if weights is None else np.asarray(weights, float)
    ranks = np.argsort(np.argsort(probabilities, kind="stable"), kind="stable")
    bins = ranks * min(BINS, len(truth)) // len(truth)
    gaps = np.bincount(bins, counts * ((np.asarray(truth) > 0) - probabilities))
    return float(np.abs(gaps).sum() / counts.sum())


def score(comparison: Comparison) -> dict[str, Row]:
    """``ECE <label>``: expected calibration error of recognised against requested findings."""

    def compute(column: int, scores: NDArray[np.float32], wanted: NDArray[np.float32]) -> Row:
        real = comparison.real.of(comparison.observers.judge.observer)[:, column]
        slope, offset = platt(real, comparison.truth[:, column])

        def calibrated(raw: NDArray[np.floating]) -> NDArray[np.float64]:
            return special.expit(slope * _logits(raw) + offset)

        ours, groups = calibrated(scores), comparison.requested_groups
        drawn = [expected_error(ours, wanted, w) for w in intervals.weights(groups, seed=comparison.seed)]
        floors = comparison.judged(lambda p, t: expected_error(calibrated(p[:, column]), t[:, column]))
        bounds = intervals.percentile(drawn)
        return row(expected_error(ours, wanted), bounds, better="lower", floors=floors, interval_method=METHOD)

    return over_labels(comparison, "ECE", compute)


def _logits(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    return special.logit(np.asarray(probabilities, np.float64).clip(1e-6, 1 - 1e-6))
