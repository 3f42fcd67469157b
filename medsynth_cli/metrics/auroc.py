"""Area under the ROC curve, with a bootstrap interval over patients or records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medsynth_cli.metrics import intervals
from medsynth_cli.metrics.comparison import Comparison, Floors, Row, over_labels, row, unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

FEWEST_POSITIVES = 5
"""Images of either class that an interval needs: with fewer it is often a single point."""
FEWEST_MACRO = 20
"""Images that an interval of the mean over labels needs."""
METHOD = f"bootstrap over patients or records, {intervals.ROUNDS} rounds"


def auroc(
    scores: NDArray[np.floating], truth: NDArray[np.generic], weights: NDArray[np.generic] | None = None
) -> float:
    """Probability that a positive scores above a negative, ties counted half (Hanley & McNeil 1982).

    Args:
        scores: ``(N,)``, any scale.
        truth: ``(N,)``, nonzero = positive.
        weights: ``(N,)``, how often each image counts; None: once.

    Returns:
        A number in [0, 1]; NaN when one of the two classes is missing.
    """
    return Ranking(scores, truth).auroc(weights)


class Ranking:
    """Scores in order, so that the area under many weightings takes one sort.

    Args:
        scores: ``(N,)``, any scale.
        truth: ``(N,)``, nonzero = positive.
    """

    def __init__(self, scores: NDArray[np.floating], truth: NDArray[np.generic]) -> None:
        self._positive = np.asarray(truth) > 0
        _, self._level = np.unique(np.asarray(scores, np.float64), return_inverse=True)

    def auroc(self, weights: NDArray[np.generic] | None = None) -> float:
        """Area with images weighted ``(N,)``; NaN when one of the two classes is missing."""
        counts = np.ones(len(self._level)) if weights is None else np.asarray(weights, np.float64)
        positives = np.bincount(self._level, counts * self._positive)
        negatives = np.bincount(self._level, counts * ~self._positive)
        pairs = positives.sum() * negatives.sum()
        below = np.cumsum(negatives) - negatives / 2
        return float(positives @ below / pairs) if pairs else float("nan")


def macro(scores_NL: NDArray[np.floating], truth_NL: NDArray[np.generic]) -> float:
    """Mean of `auroc` over the labels that have both classes; NaN if none has."""
    found = [auroc(scores_NL[:, label], truth_NL[:, label]) for label in range(truth_NL.shape[1])]
    known = [value for value in found if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def interval(
    scores: NDArray[np.floating],
    truth: NDArray[np.generic],
    groups: Sequence[object] | NDArray[np.integer] | None = None,
    *,
    rounds: int = intervals.ROUNDS,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Bootstrap interval of `auroc`.

    Args:
        scores: ``(N,)``.
        truth: ``(N,)``, nonzero = positive.
        groups: what is drawn together, such as the patient or the pair of an image; None draws images.
        rounds: number of bootstrap draws.
        seed: of the draws.

    Returns:
        Lower and upper bound; None when a class has fewer than `FEWEST_POSITIVES` images.
    """
    positives = int((np.asarray(truth) > 0).sum())
    if min(positives, len(truth) - positives) < FEWEST_POSITIVES:
        return None
    names = np.arange(len(scores)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    ranking = Ranking(scores, truth)
    return intervals.percentile([ranking.auroc(w) for w in intervals.weights(names, rounds, seed)])


def score(comparison: Comparison) -> dict[str, Row]:
    """Whether the judge finds the requested findings: ``AUROC <label>`` each, and their mean ``AUROC macro``.

    Positive are the images whose record asks for the label, negative all others. Among the floors are the
    judge's figure on the real images, which no generator can be seen to pass, and on training images after the
    tokenizer.
    """

    def compute(column: int, scores: NDArray[np.float32], wanted: NDArray[np.float32]) -> Row:
        bounds = interval(scores, wanted, comparison.requested_groups, seed=comparison.seed)
        floors = comparison.judged(lambda p, t: auroc(p[:, column], t[:, column]))
        return _row(auroc(scores, wanted), bounds, floors)

    rows = over_labels(comparison, "AUROC", compute)
    known = {name.removeprefix("AUROC "): result for name, result in rows.items() if result["value"] is not None}
    if not known:
        reason = next(iter(rows.values()))["reason"]
        return {name: result for name, result in rows.items() if name != "AUROC"} | {"AUROC macro": unavailable(reason)}
    return rows | {"AUROC macro": _macro(comparison, known)}


def _macro(comparison: Comparison, rows: Mapping[str, Row]) -> Row:
    """Mean over labels, its interval from the same draws for all of them."""
    index, wanted = comparison.requested
    columns = [comparison.labels.index(label) for label in rows]
    rankings = [Ranking(comparison.probabilities[index, column], wanted[:, column]) for column in columns]
    draws = intervals.weights(comparison.requested_groups, seed=comparison.seed)
    drawn = [float(np.nanmean([ranking.auroc(w) for ranking in rankings])) for w in draws]
    value = float(np.mean([result["value"] for result in rows.values()]))
    floors = comparison.judged(lambda p, t: macro(p[:, columns], t[:, columns]))
    return _row(value, intervals.percentile(drawn) if len(index) >= FEWEST_MACRO else None, floors) | {
        "n": len(index),
        "extractor": "judge",
    }


def _row(value: float, bounds: tuple[float, float] | None, floors: Floors) -> Row:
    return row(value, bounds, better="higher", floors=floors | {"repeated": 0.5}, interval_method=METHOD)
