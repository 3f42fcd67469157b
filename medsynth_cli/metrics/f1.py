"""F1: whether requested and recognised findings are the same, at the thresholds that serve best on real images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medsynth_cli.metrics import intervals
from medsynth_cli.metrics.comparison import Comparison, Row, over_labels, row

if TYPE_CHECKING:
    from numpy.typing import NDArray

METHOD = f"bootstrap over patients or records, {intervals.ROUNDS} rounds"


def f1(recognised: NDArray[np.bool_], truth: NDArray[np.generic], weights: NDArray[np.generic] | None = None) -> float:
    """2 TP / (2 TP + FP + FN) of ``(N,)`` against ``(N,)``, images weighted ``(N,)``; NaN without any positive."""
    counts = np.ones(len(truth)) if weights is None else np.asarray(weights, float)
    wanted = np.asarray(truth) > 0
    both = counts @ (recognised & wanted)
    either = counts @ recognised + counts @ wanted
    return float(2 * both / either) if either else float("nan")


def best_threshold(scores: NDArray[np.floating], truth: NDArray[np.generic]) -> float:
    """The score at and above which calling images positive gives the highest F1; the lowest such on ties."""
    order = np.argsort(scores, kind="stable")[::-1]
    hits = np.cumsum(np.asarray(truth)[order] > 0)
    values = 2 * hits / (np.arange(1, len(order) + 1) + hits[-1])
    last_of_level = np.append(np.diff(scores[order]) != 0, True)
    return float(scores[order][np.flatnonzero(last_of_level)[np.argmax(values[last_of_level])]])


def threshold(comparison: Comparison, column: int) -> float:
    """The `best_threshold` of a label on the real images: at and above it, the judge sees the finding."""
    real = comparison.real.of(comparison.observers.judge.observer)[:, column]
    return best_threshold(real, comparison.truth[:, column])


def score(comparison: Comparison) -> dict[str, Row]:
    """``F1 <label>`` of requested against recognised findings, each at the threshold that is best on the real images.

    One image over and over is recognised everywhere or nowhere: its floor is the better of both.
    """

    def compute(column: int, scores: NDArray[np.float32], wanted: NDArray[np.float32]) -> Row:
        bar = threshold(comparison, column)
        recognised = scores >= bar
        value, share = f1(recognised, wanted), float(wanted.mean())
        groups = comparison.requested_groups
        drawn = [f1(recognised, wanted, w) for w in intervals.weights(groups, seed=comparison.seed)]
        floors = comparison.judged(lambda p, t: f1(p[:, column] >= bar, t[:, column]))
        floors |= {"repeated": 2 * share / (1 + share)}
        bounds = intervals.percentile(drawn)
        more = {"threshold": bar, "interval_method": METHOD}
        return row(value, bounds, better="higher", floors=floors, **more)

    return over_labels(comparison, "F1", compute)
