"""Probes: the optimum, its closed form on normal distributions, and what is drawn to train and test them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from medsynth_cli.metrics import probe
from medsynth_cli.metrics.auroc import auroc


def normal(count, dimension, distance, seed=0):
    """Features of two classes, half each, whose means lie ``distance`` standard deviations apart; truth ``(N, 1)``."""
    random = np.random.default_rng(seed)
    truth = np.arange(count) % 2
    features = random.normal(size=(count, dimension))
    features[:, 0] += distance * truth
    return features, truth[:, None]


def slope(trained, features, truth, share, penalty):
    """Gradient of the loss at a probe's coefficients, by autograd."""
    scaled = torch.from_numpy((features - trained.mean) / trained.scale)
    own = [torch.tensor(part, requires_grad=True) for part in (trained.coefficients, trained.intercepts)]
    losses = torch.nn.functional.binary_cross_entropy_with_logits(
        scaled @ own[0] + own[1], torch.from_numpy(truth).double(), reduction="none"
    )
    loss = (torch.from_numpy(share)[:, None] * losses).sum() + penalty / 2 * (own[0] ** 2).sum()
    return np.concatenate([part.ravel() for part in torch.autograd.grad(loss, own)])


@pytest.mark.parametrize("shape", [(200, 10), (30, 80)], ids=["more images", "more features"])
def test_training_ends_at_the_optimum(shape):
    random = np.random.default_rng(1)
    features, truth = random.normal(3, 7, shape), random.integers(0, 2, (shape[0], 3))
    weights = random.integers(0, 4, shape[0])
    trained = probe.train(features, truth, weights, penalty=0.1)
    assert np.abs(slope(trained, features, truth, weights / weights.sum(), 0.1)).max() < 2 * probe.TOLERANCE
    assert np.abs(trained.coefficients).max() > 0.05, "not where training starts"


def test_a_weight_counts_like_so_many_images():
    features, truth = normal(60, 5, 1.0)
    weights = np.random.default_rng(0).integers(0, 3, 60)
    times = np.repeat(np.arange(60), weights)
    expected = probe.train(features[times], truth[times])(features)
    np.testing.assert_allclose(probe.train(features, truth, weights)(features), expected, atol=0.01)


def test_the_area_is_that_of_two_normal_distributions():
    features, truth = normal(4000, 5, 1.5)
    test, answers = normal(4000, 5, 1.5, seed=1)
    found = auroc(probe.train(features, truth, penalty=1e-4)(test)[:, 0], answers[:, 0])
    assert found == pytest.approx(norm.cdf(1.5 / 2**0.5), abs=0.015)


def test_features_are_scaled_by_the_training_images_alone():
    features, truth = normal(50, 3, 1.0)
    trained = probe.train(features * [1, 1000, 0] + [5, 0, 9], truth)
    np.testing.assert_allclose(trained.mean, (features * [1, 1000, 0] + [5, 0, 9]).mean(axis=0))
    np.testing.assert_allclose(trained.scale[:2], (features * [1, 1000, 0]).std(axis=0)[:2])
    shifted = features * [1, 1000, 0] + [6, 0, 9]
    difference = trained(shifted) - trained(shifted - [1, 0, 0])
    np.testing.assert_allclose(difference, np.full((50, 1), trained.coefficients[0, 0] / trained.scale[0]))


def test_a_label_with_one_class_and_one_image_over_and_over_teach_nothing():
    features, truth = normal(40, 4, 2.0)
    both = np.column_stack([truth[:, 0], np.zeros(40)])
    assert np.ptp(probe.train(features, both)(features), axis=0).tolist()[1] == 0
    same = probe.train(np.repeat(features[:1], 40, axis=0), truth)(features)
    assert np.ptp(same) == 0


def test_draws_hold_whole_groups_and_as_many_images():
    groups = np.random.default_rng(0).integers(0, 40, 200)
    groups = np.unique(groups, return_inverse=True)[1]
    drawn = list(probe.draws(groups, 20))
    for weights in drawn:
        assert weights.sum() == 200
        cut = sum(np.ptp(weights[groups == group]) > 0 for group in np.unique(groups))
        assert cut <= 1, "the last group alone may be cut"
        assert 0.4 < (weights > 0).mean() < 0.85
    assert len({weights.tobytes() for weights in drawn}) == 20


def test_folds_keep_groups_together_and_hold_as_many():
    groups = np.repeat(np.arange(50), 3)
    fold = probe.folds(groups, seed=3)
    assert np.bincount(fold).tolist() == [30] * probe.FOLDS
    assert all(len({*fold[groups == group]}) == 1 for group in range(50))


def test_scores_are_compared_within_folds_only():
    random = np.random.default_rng(0)
    scores, truth, fold = random.normal(size=90), random.integers(0, 2, 90), np.arange(90) % 3
    weights = random.integers(0, 3, 200)
    images = random.permutation(200)[:90]
    ranking = probe.FoldedRanking(scores + 100 * fold, truth, fold, images)
    same = np.equal.outer(fold, fold) & np.greater.outer(truth, truth)
    pairs = same * np.outer(weights[images], weights[images])
    expected = (pairs * np.greater.outer(scores, scores)).sum() / pairs.sum()
    assert ranking.auroc(weights) == pytest.approx(expected)


def test_no_fold_is_tested_by_a_probe_that_saw_it():
    """Labels that are chance are told by chance, though 300 features could hold all of them."""
    random = np.random.default_rng(0)
    found = []
    for seed in range(10):
        features, truth = random.normal(size=(100, 300)), random.integers(0, 2, (100, 1))
        fold = probe.folds(np.arange(100), seed)
        found.append(probe.FoldedRanking(probe.out_of_fold(features, truth, fold)[:, 0], truth[:, 0], fold).auroc())
    assert np.mean(found) == pytest.approx(0.5, abs=0.07)
