"""AUROC against counting pairs."""

from __future__ import annotations

import numpy as np
import pytest

from medsynth_cli.metrics.auroc import auroc, interval, macro


def counted(scores, truth):
    wins = [(p > n) + 0.5 * (p == n) for p in scores[truth == 1] for n in scores[truth == 0]]
    return sum(wins) / len(wins)


@pytest.mark.parametrize("seed", range(5))
def test_it_counts_pairs_with_ties_half(seed):
    random = np.random.default_rng(seed)
    scores = random.integers(0, 8, 60) / 8
    truth = (random.random(60) < 0.3).astype(int)
    assert auroc(scores, truth) == pytest.approx(counted(scores, truth))
    assert auroc(scores[::-1], truth[::-1]) == pytest.approx(counted(scores, truth))


def test_one_class_alone_has_none():
    assert np.isnan(auroc(np.arange(3.0), np.ones(3)))
    assert interval(np.arange(3.0), np.ones(3)) is None


def test_macro_leaves_out_labels_with_one_class():
    scores = np.array([[0.1, 0.5], [0.9, 0.5], [0.2, 0.5]])
    truth = np.array([[0, 0], [1, 0], [0, 0]])
    assert macro(scores, truth) == 1.0


def test_the_interval_holds_the_value_and_shrinks_with_more_images():
    random = np.random.default_rng(0)
    truth = np.arange(800) % 2
    scores = truth + random.normal(size=800)
    low, high = interval(scores[:80], truth[:80], rounds=200)
    assert low < auroc(scores[:80], truth[:80]) < high
    narrow = interval(scores, truth, rounds=200)
    assert narrow[1] - narrow[0] < 0.6 * (high - low)


def test_images_of_one_patient_are_drawn_together():
    random = np.random.default_rng(0)
    truth = np.arange(40) % 2
    scores = truth + random.normal(size=40)
    many = [np.repeat(values, 20) for values in (scores, truth)]
    patients = np.repeat(np.arange(40), 20)
    alone = interval(scores, truth, rounds=300)
    grouped, ignored = interval(*many, patients, rounds=300), interval(*many, rounds=300)
    assert grouped[1] - grouped[0] == pytest.approx(alone[1] - alone[0], rel=0.3)
    assert ignored[1] - ignored[0] < 0.5 * (grouped[1] - grouped[0])
