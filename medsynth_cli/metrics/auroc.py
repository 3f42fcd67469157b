"""Area under the ROC curve, with a bootstrap interval over patients or images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics.comparison import Comparison, Row, row, unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def auroc(scores: NDArray[np.floating], truth: NDArray[np.generic]) -> float:
    """Probability that a positive scores above a negative, ties counted half (Hanley & McNeil 1982).

    Args:
        scores: ``(N,)``, any scale.
        truth: ``(N,)``, nonzero = positive.

    Returns:
        A number in [0, 1]; NaN when one of the two classes is missing.
    """
    positive = np.asarray(truth) > 0
    count, others = int(positive.sum()), int((~positive).sum())
    if not count or not others:
        return float("nan")
    ranks = _mid_ranks(np.asarray(scores, dtype=np.float64))
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * others))


def macro(scores_NL: NDArray[np.floating], truth_NL: NDArray[np.generic]) -> float:
    """Mean of `auroc` over the labels that have both classes; NaN if none has."""
    found = [auroc(scores_NL[:, label], truth_NL[:, label]) for label in range(truth_NL.shape[1])]
    known = [value for value in found if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def interval(
    scores: NDArray[np.floating],
    truth: NDArray[np.generic],
    groups: Sequence[object] | None = None,
    *,
    rounds: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of `auroc`.

    Args:
        scores: ``(N,)``.
        truth: ``(N,)``, nonzero = positive.
        groups: what is drawn together, such as the patient or the pair of an image; None draws images.
        rounds: number of bootstrap draws.
        seed: of the draws.
        level: of confidence.

    Returns:
        Lower and upper bound; None when a class is missing.
    """
    if np.isnan(auroc(scores, truth)):
        return None
    random = np.random.default_rng([seed, 5])
    names = np.arange(len(scores)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    members = np.split(np.argsort(names, kind="stable"), np.cumsum(np.bincount(names))[:-1])
    found = []
    for _ in range(rounds):
        drawn = np.concatenate([members[group] for group in random.integers(0, len(members), len(members))])
        found.append(auroc(scores[drawn], truth[drawn]))
    low, high = np.nanquantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _mid_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[index]


def score(comparison: Comparison) -> dict[str, Row]:
    """Whether the judge finds the requested findings: ``AUROC <label>`` each, and their mean ``AUROC macro``.

    Positive are the images whose record asks for the label, negative all others. ``real`` is the judge's
    figure on the real images: a ceiling for what the generator can be seen to do.
    """
    try:
        probabilities = comparison.probabilities
        index, wanted = comparison.requested
    except MedsynthError as error:
        return {"AUROC macro": unavailable(error)}
    if not len(index):
        return {"AUROC macro": unavailable("no record says which findings were asked for")}
    records = [comparison.records[i] for i in index]
    groups = [str(record.get("patient") or record.get("source_id") or record["id"]) for record in records]
    scores, rows = probabilities[index], dict[str, Row]()
    for column, label in enumerate(comparison.judge.labels):
        positives = int(wanted[:, column].sum())
        if not positives:
            continue
        if positives == len(index):
            rows[f"AUROC {label}"] = unavailable(f"every image was asked to show {label}: nothing to tell it from")
            continue
        value = auroc(scores[:, column], wanted[:, column])
        bounds = interval(scores[:, column], wanted[:, column], groups, seed=comparison.seed)
        rows[f"AUROC {label}"] = row(value, bounds, n=len(index), positives=positives, **_ceiling(comparison, column))
    found = [result["value"] for result in rows.values() if result["value"] is not None]
    mean = (
        row(float(np.mean(found)), n=len(index))
        if found
        else unavailable("no finding was asked for in some images only")
    )
    return rows | {"AUROC macro": mean}


def _ceiling(comparison: Comparison, column: int) -> dict[str, float]:
    """The judge's figure for a label on the real images, where both classes are there."""
    real = comparison.real
    if real.probabilities is None:
        return {}
    value = auroc(real.probabilities[:, column], real.truth[:, column])
    return {} if np.isnan(value) else {"real": value}
