"""Probes: small classifiers on frozen features, trained within an evaluation.

A probe is logistic regression, one label beside another, on features that are scaled by what its own training images
show. It was chosen by trial on EfficientNet-Lite2 features of nih-train, by cross-validation over patients (mean AUROC
of ten findings): at 60, 250 and 1,000 training images it reaches 0.571, 0.661 and 0.703; a perceptron with 128 hidden
units, dropout and weight decay, the better of two lengths of training, reaches 0.573, 0.649 and 0.703. It has one
optimum, so that two trainings differ by their images alone, not by how they start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medsynth_cli.metrics import intervals
from medsynth_cli.metrics.auroc import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

PENALTY = 3.0
"""Weight of half the squared coefficients against the mean loss of an image: best or nearly so at 60, 250 and 1,000
images among 0.001, 0.01, 0.1, 1, 3 and 10, by the same cross-validation."""
FOLDS = 5
WIDER = (1 + FOLDS / (FOLDS - 1)) ** 0.5
"""Standard error of a cross-validated figure, against that of its tests with the probes fixed: folds share training
images (Nadeau and Bengio 2003, Machine Learning 52, eq. 9). On noise, 40 times 80 and 120 images, it is 1.6."""
TOLERANCE = 1e-3
"""Largest slope of the loss at which training ends: logits are then within about 0.01 of the optimum's."""
LONGEST = 300
"""Steps of training."""


@dataclass(frozen=True)
class Probe:
    """A trained probe of L labels on D features.

    Attributes:
        mean: of the training images' features, ``(D,)``.
        scale: their standard deviation, ``(D,)``; 1 where they do not vary.
        coefficients: ``(D, L)``, of scaled features.
        intercepts: ``(L,)``.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    intercepts: NDArray[np.float64]

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Logits ``(N, L)`` of features ``(N, D)``; all the same for a label that training showed one class of."""
        return (features - self.mean) / self.scale @ self.coefficients + self.intercepts


def train(
    features: NDArray[np.floating],
    truth: NDArray[np.generic],
    weights: NDArray[np.generic] | None = None,
    penalty: float = PENALTY,
) -> Probe:
    """Fit a probe: the mean logistic loss plus ``penalty / 2`` times the squared coefficients is smallest.

    Args:
        features: ``(N, D)``, finite.
        truth: ``(N, L)``, nonzero = positive.
        weights: ``(N,)``, how often each image counts; None: once.
        penalty: > 0.
    """
    counts = np.ones(len(features)) if weights is None else np.asarray(weights, np.float64)
    used = np.flatnonzero(counts)
    share = counts[used] / counts.sum()
    images, positive = np.asarray(features[used], np.float64), np.asarray(truth)[used] > 0
    mean = share @ images
    deviation = np.sqrt(share @ (images - mean) ** 2)
    scale = np.where(deviation > 1e-6 * (1 + np.abs(mean)), deviation, 1.0)
    both = positive.any(axis=0) & ~positive.all(axis=0)
    coefficients, intercepts = np.zeros((images.shape[1], positive.shape[1])), np.zeros(positive.shape[1])
    if both.any():
        coefficients[:, both], intercepts[both] = _fit((images - mean) / scale, positive[:, both], share, penalty)
    return Probe(mean, scale, coefficients, intercepts)


def draws(groups: NDArray[np.integer], seeds: int, seed: int = 0) -> Iterator[NDArray[np.int64]]:
    """How often each image trains a probe, ``(N,)`` a draw: groups with replacement, until there are N images."""
    random = np.random.default_rng([seed, 7])
    members = np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups))[:-1])
    for _ in range(seeds):
        # N groups hold N images or more, however few are in each.
        chosen = random.integers(0, len(members), len(groups))
        images = np.concatenate([members[group] for group in chosen])[: len(groups)]
        yield np.bincount(images, minlength=len(groups))


def folds(groups: NDArray[np.integer], seed: int = 0, count: int = FOLDS) -> NDArray[np.int64]:
    """A fold for each image, ``(N,)``, [0, count): groups stay together, and folds hold about as many groups."""
    random = np.random.default_rng([seed, 8])
    names, number = np.unique(groups, return_inverse=True)
    return random.permutation(np.arange(len(names)) % count)[number]


def out_of_fold(
    features: NDArray[np.floating], truth: NDArray[np.generic], fold: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Logits ``(N, L)`` of probes that saw the other folds only; comparable within a fold, not between folds."""
    logits = np.empty(np.shape(truth))
    for number in np.unique(fold):
        inside = fold == number
        logits[inside] = train(features[~inside], truth[~inside])(features[inside])
    return logits


class FoldedRanking:
    """The AUROC of scores that can be compared within folds only: the mean over the pairs of each fold.

    Args:
        scores: ``(N,)``.
        truth: ``(N,)``, nonzero = positive.
        fold: ``(N,)``.
        images: ``(N,)``, indices of the images in the set that weights are of; None: they are the set.
    """

    def __init__(
        self,
        scores: NDArray[np.floating],
        truth: NDArray[np.generic],
        fold: NDArray[np.integer],
        images: NDArray[np.integer] | None = None,
    ) -> None:
        positive, images = np.asarray(truth) > 0, np.arange(len(scores)) if images is None else images
        parts = [np.flatnonzero(fold == number) for number in np.unique(fold)]
        self._parts = [(images[part], positive[part], Ranking(scores[part], positive[part])) for part in parts]

    def auroc(self, weights: NDArray[np.generic] | None = None) -> float:
        """Area with the images of the set weighted; NaN when no fold has both classes."""
        total, pairs = 0.0, 0.0
        for images, positive, ranking in self._parts:
            counts = np.ones(len(images)) if weights is None else np.asarray(weights[images], np.float64)
            there = float(counts[positive].sum() * counts[~positive].sum())
            if there:
                total, pairs = total + there * ranking.auroc(counts), pairs + there
        return total / pairs if pairs else float("nan")


def drawn(
    rankings: Sequence[Ranking | FoldedRanking], groups: NDArray[np.integer], seed: int = 0
) -> NDArray[np.float64]:
    """The AUROC again in rounds of a bootstrap, ``(R,)``: a round takes one ranking and draws groups with replacement.

    The spread then covers both the images that are tested and those that a probe was trained on.

    Args:
        rankings: of probes that were trained on different draws.
        groups: of the set that the rankings' weights are of.
        seed: of the draws.
    """
    which = np.random.default_rng([seed, 12]).integers(0, len(rankings), intervals.ROUNDS)
    rounds = zip(which, intervals.weights(groups, seed=seed), strict=True)
    return np.array([rankings[number].auroc(weights) for number, weights in rounds])


def cross_validated(value: float, drawn: NDArray[np.floating]) -> tuple[float, float] | None:
    """Interval of a cross-validated AUROC from the rounds in `drawn`."""
    found = intervals.normal(value, WIDER * float(np.nanstd(drawn, ddof=1)))
    return None if found is None else (max(found[0], 0.0), min(found[1], 1.0))


def _fit(
    images: NDArray[np.float64], positive: NDArray[np.bool_], share: NDArray[np.float64], penalty: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients ``(D, L)`` and intercepts ``(L,)`` for scaled images ``(N, D)`` that count ``share`` each.

    With fewer images than features, the optimum is a combination of the images (the representer theorem), so that
    it is sought among N coordinates instead of D.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    basis = None
    if len(images) < images.shape[1]:
        squares, vectors = np.linalg.eigh(images @ images.T)
        kept = squares > squares.max() * 1e-10
        lengths = np.sqrt(squares[kept])
        basis, images = images.T @ (vectors[:, kept] / lengths), vectors[:, kept] * lengths
    size, labels = images.shape[1], positive.shape[1]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        own = flat.reshape(size + 1, labels)
        logits = images @ own[:-1] + own[-1]
        value = share @ (np.logaddexp(0, logits) - positive * logits).sum(axis=1) + penalty / 2 * (own[:-1] ** 2).sum()
        residual = (expit(logits) - positive) * share[:, None]
        slope = np.vstack([images.T @ residual + penalty * own[:-1], residual.sum(axis=0)])
        return float(value), slope.ravel()

    rates = share @ positive
    start = np.vstack([np.zeros((size, labels)), np.log(rates / (1 - rates))])
    options = {"maxiter": LONGEST, "gtol": TOLERANCE, "ftol": 0}
    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options).x.reshape(size + 1, labels)
    return (found[:-1] if basis is None else basis @ found[:-1]), found[-1]
