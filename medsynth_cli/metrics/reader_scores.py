"""The figures of a reader study: how well readers told real from synthetic images, and how well they agreed.

A share of one reader has a Wilson interval. What is pooled over readers has one from drawing cases again, the same for
all readers: it speaks of these readers on other cases, not of other readers.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from medsynth_cli.metrics import agreement, auroc, intervals
from medsynth_cli.metrics.auroc import Ranking
from medsynth_cli.metrics.comparison import Row, row, unavailable
from medsynth_cli.metrics.reader_answers import Answers
from medsynth_cli.runtime import provenance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.files.records import Record

KIND = "reader-study"
LEVEL, POWER = 0.05, 0.8
"""Of the test against guessing: its level, and the chance to find what `detectable` says."""
FEWEST_CASES = 10
"""Cases that drawing again needs: with fewer, intervals come out too narrow."""
WILSON = "Wilson"
AGAIN = f"bootstrap over cases, {intervals.ROUNDS} rounds"
CAVEAT = (
    "An accuracy near 0.5 does not show that the images cannot be told apart: it bounds how well these readers can, "
    "by its interval."
)


def score(answers: Answers, seed: int = 0) -> Record:
    """All figures, as a record of kind ``reader-study``.

    Args:
        answers: of one reader or more.
        seed: of the draws of cases.
    """
    right = np.where(np.isnan(answers.signs), np.nan, (answers.signs > 0) == answers.synthetic)
    rated = answers.signs * answers.confidence
    groups = _groups(answers)
    several = len(answers.readers) > 1
    return {
        "kind": KIND,
        "study": {"name": answers.study, "key_sha256": answers.key_sha256},
        "seed": seed,
        "counts": {
            "cases": len(answers.cases),
            "synthetic": int(answers.synthetic.sum()),
            "real": int((~answers.synthetic).sum()),
            "readers": len(answers.readers),
        },
        "versions": provenance.versions(),
        "readers": {
            name: {
                "answered": int((~np.isnan(right[reader])).sum()),
                "missing": _named(answers, np.isnan(right[reader])),
                "unrated": _named(answers, np.isnan(rated[reader]) & ~np.isnan(right[reader])),
                "metrics": {key: _share(right[reader, mask]) for key, mask in groups.items()}
                | {"accuracy": _accuracy(right[reader])}
                | {"AUROC": _auroc(rated[reader], answers.synthetic, seed)},
            }
            for reader, name in enumerate(answers.readers)
        },
        "pooled": {key: _pooled_share(right[:, mask], seed) for key, mask in groups.items()}
        | {"AUROC": _pooled_auroc(rated, answers.synthetic, seed)}
        if several
        else None,
        "agreement": _agreement(answers, seed) if several else {},
        "note": CAVEAT,
    }


def detectable(n: int) -> float | None:
    """The smallest true accuracy that the exact test against guessing finds with a chance of `POWER`.

    The test rejects from k right answers on; the chance of so many, I_p(k, n - k + 1), is solved for p.

    Args:
        n: number of answers.

    Returns:
        A number in (0.5, 1); None when not even n right answers of n are significant.
    """
    from scipy import stats

    # Two-sided at p = 0.5: the upper tail alone must stay below half the level.
    k = int(stats.binom.isf(LEVEL / 2, n, 0.5)) + 1
    return None if k > n else float(stats.beta.ppf(POWER, k, n - k + 1))


def _groups(answers: Answers) -> dict[str, NDArray[np.bool_]]:
    """Name of a share of right answers -> the cases that it is of, bool ``(C,)``."""
    named = sorted({label for labels in answers.labels for label in labels or []})
    found = {
        "accuracy": np.ones(len(answers.cases), bool),
        "sensitivity": answers.synthetic,
        "specificity": ~answers.synthetic,
    }
    found |= {f"accuracy {name}": np.array([name in (own or []) for own in answers.labels]) for name in named}
    none = np.array([own == [] for own in answers.labels])
    return found | ({"accuracy no finding": none} if none.any() else {})


def _named(answers: Answers, mask: NDArray[np.bool_]) -> list[str]:
    return [name for name, there in zip(answers.cases, mask, strict=True) if there]


def _share(right: NDArray[np.float64]) -> Row:
    """Share of right answers, with its Wilson interval (Wilson 1927)."""
    from scipy import stats

    known = right[~np.isnan(right)]
    if not len(known):
        return unavailable("no such case was answered") | {"n": 0}
    test = stats.binomtest(int(known.sum()), len(known))
    return row(known.mean(), test.proportion_ci(method="wilson"), n=len(known), interval_method=WILSON)


def _accuracy(right: NDArray[np.float64]) -> Row:
    """Share of right answers, beside guessing.

    With as many real cases as synthetic ones, the test is exact for coin flips, and conservative for a reader who
    guesses one answer more often than the other.
    """
    from scipy import stats

    known = right[~np.isnan(right)]
    p = float(stats.binomtest(int(known.sum()), len(known), 0.5).pvalue)
    return _share(right) | {"p": p, "floors": {"guessing": 0.5}, "detectable": detectable(len(known))}


def _auroc(rated: NDArray[np.float64], synthetic: NDArray[np.bool_], seed: int) -> Row:
    """Area under the ROC curve of signed confidence: 5 is surely synthetic, -5 surely real."""
    known = ~np.isnan(rated)
    if len({*synthetic[known].tolist()}) < 2:
        return unavailable("needs answers with a confidence to both real and synthetic cases") | {"n": int(known.sum())}
    bounds = auroc.interval(rated[known], synthetic[known], seed=seed)
    value = auroc.auroc(rated[known], synthetic[known])
    return row(value, bounds, n=int(known.sum()), floors={"guessing": 0.5}, interval_method=AGAIN)


def _pooled_share(right: NDArray[np.float64], seed: int) -> Row:
    """Share of right answers of all readers to some cases, ``(R, C)``."""
    known = ~np.isnan(right)
    if not known.any():
        return unavailable("no such case was answered") | {"n": 0}
    cases = np.broadcast_to(np.arange(right.shape[1]), right.shape)
    bounds = intervals.of_mean(right[known], cases[known], seed) if known.any(axis=0).sum() >= FEWEST_CASES else None
    return row(right[known].mean(), _wide(bounds), n=int(known.sum()), interval_method=AGAIN)


def _pooled_auroc(rated: NDArray[np.float64], synthetic: NDArray[np.bool_], seed: int) -> Row:
    """Mean over readers of the area under their ROC curves."""
    known = ~np.isnan(rated)
    rankings = [(Ranking(one[k], synthetic[k]), k) for one, k in zip(rated, known, strict=True)]

    def mean(weights: NDArray[np.generic]) -> float:
        return float(np.mean([ranking.auroc(weights[k]) for ranking, k in rankings]))

    value = mean(np.ones(rated.shape[1]))
    if np.isnan(value):
        reason = "needs answers of every reader with a confidence to both real and synthetic cases"
        return unavailable(reason) | {"n": int(known.sum())}
    fewest = min(int(min(synthetic[k].sum(), (~synthetic[k]).sum())) for k in known)
    drawn = intervals.weights(np.arange(rated.shape[1]), seed=seed)
    bounds = intervals.percentile([mean(w) for w in drawn]) if fewest >= auroc.FEWEST_POSITIVES else None
    return row(value, _wide(bounds), n=int(known.sum()), interval_method=AGAIN, floors={"guessing": 0.5})


def _agreement(answers: Answers, seed: int) -> dict[str, Row]:
    """Kappa of each two readers, and of all if there are more than two."""
    said, known = (answers.signs > 0).astype(np.int64), ~np.isnan(answers.signs)
    rows = {}
    for (a, one), (b, other) in itertools.combinations(enumerate(answers.readers), 2):
        both = known[a] & known[b]
        cohen = functools.partial(agreement.cohen, said[a, both], said[b, both])
        rows[f"kappa {one}, {other}"] = _kappa(cohen, int(both.sum()), seed)
    if len(answers.readers) > 2:
        every = known.all(axis=0)
        counts = np.stack([(said == kind)[:, every].sum(axis=0) for kind in (0, 1)], axis=1)
        rows["kappa of all (Fleiss)"] = _kappa(
            lambda w: agreement.fleiss(np.repeat(counts, w, axis=0)), int(every.sum()), seed
        )
    return rows


def _kappa(figure: Callable[[NDArray[np.int64]], float], n: int, seed: int) -> Row:
    """A kappa on n cases, by how often each counts."""
    if not n:
        return unavailable("no case that they all answered") | {"n": 0}
    value = figure(np.ones(n, np.int64))
    if np.isnan(value):
        return unavailable("all answers are the same") | {"n": n}
    drawn = [figure(w) for w in intervals.weights(np.arange(n), seed=seed)] if n >= FEWEST_CASES else []
    return row(value, _wide(intervals.percentile(drawn)), n=n, interval_method=AGAIN)


def _wide(bounds: tuple[float, float] | None) -> tuple[float, float] | None:
    """None in place of an interval of one point: drawing again says nothing where all cases are alike."""
    return bounds if bounds and bounds[0] < bounds[1] else None


def rows_of(record: Mapping[str, Any]) -> dict[str, Mapping[str, Row]]:
    """Rows of each reader, and of all as ``pooled`` if there are several."""
    found = {name: reader["metrics"] for name, reader in record["readers"].items()}
    return found | ({"pooled": record["pooled"]} if record["pooled"] else {})
