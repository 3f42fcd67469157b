"""F1, calibration and sides: closed forms, and what they say of a judge that is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medsynth_cli.metrics import calibration, f1, side
from medsynth_cli.recognition.judges import Judge


def test_f1_counts():
    recognised, truth = np.array([True, True, True, False, False]), np.array([1, 1, 0, 1, 0])
    assert f1.f1(recognised, truth) == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert f1.f1(recognised, truth, np.array([1, 1, 3, 1, 1])) == pytest.approx(2 * 2 / (2 * 2 + 3 + 1))
    assert np.isnan(f1.f1(np.zeros(3, bool), np.zeros(3)))


@pytest.mark.parametrize("seed", range(5))
def test_no_other_threshold_is_better(seed):
    random = np.random.default_rng(seed)
    truth = (random.random(80) < 0.3).astype(int)
    scores = np.round(truth + random.normal(size=80), 1)
    best = f1.f1(scores >= f1.best_threshold(scores, truth), truth)
    assert best == max(f1.f1(scores >= threshold, truth) for threshold in scores)


def test_platts_curve_finds_the_one_that_made_the_data():
    random = np.random.default_rng(0)
    raw = random.uniform(0.02, 0.98, 40_000)
    logits = np.log(raw / (1 - raw))
    truth = random.random(40_000) < 1 / (1 + np.exp(-(0.7 * logits - 1.2)))
    assert calibration.platt(raw, truth) == pytest.approx((0.7, -1.2), abs=0.05)


def test_calibration_error_of_frequencies_is_small_and_of_a_shift_its_size():
    random = np.random.default_rng(0)
    probabilities = random.uniform(0.2, 0.7, 50_000)
    truth = random.random(50_000) < probabilities
    assert calibration.expected_error(probabilities, truth) < 0.01
    assert calibration.expected_error(probabilities + 0.2, truth) == pytest.approx(0.2, abs=0.01)
    assert calibration.expected_error(np.array([0.9, 0.1]), np.array([1, 0])) == pytest.approx(0.1)


class White(torch.nn.Module):
    """A judge of one label: how white an image is."""

    def forward(self, pixels):
        return pixels.mean(dim=(1, 2, 3))[:, None]


def test_the_side_of_a_finding_is_where_it_is():
    """An image's left is the patient's right."""
    images = np.zeros((3, 32, 32), np.uint8)
    images[0, :, :16], images[1, :, 16:], images[2, :, 20:] = 200, 200, 90
    judge = Judge(White(), ("Opacity",), 32, torch.device("cpu"), "white")
    said = side.observer(judge)(images)
    right, left = (np.full(3, side.SIDES.index(name)) for name in ("right", "left"))
    columns = np.zeros(3, int)
    assert side.wrong(said, columns, right).tolist() == [0, 1, 1]
    assert side.wrong(said, columns, left).tolist() == [1, 0, 0]
