"""Precision, recall, density and coverage on sets small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics.comparison import Comparison
from medsynth_cli.metrics.imagesets import ImageSet
from medsynth_cli.metrics.observers import Observers
from medsynth_cli.metrics.prdc import prdc, score
from medsynth_cli.recognition.features import EFFNET
from medsynth_cli.runtime import bundles

LINE = np.arange(6, dtype=float)[:, None]
"""Six points on a line, 1 apart: the ball to the first neighbour has radius 1 everywhere."""


def means(ours, real, neighbours):
    found = prdc(ours, real, neighbours)
    return tuple(float(getattr(found, name).mean()) for name in ("precision", "recall", "density", "coverage"))


def test_equal_sets_reach_everything():
    # Balls are open: only the two at the ends, of radius 2, hold a point besides their own.
    assert means(LINE, LINE, 2) == (1, 1, pytest.approx((6 + 2) / 2 / 6), 1)


def test_points_between_real_ones():
    ours = np.array([[0.5], [1.5]])
    # each lies in the open balls of exactly the two real points beside it; those three real points are covered.
    # ours are 1 apart: their balls, of radius 1, hold real points 0, 1 and 1, 2.
    assert means(ours, LINE, 1) == (1, 3 / 6, 2, 3 / 6)


def test_collapse_is_precise_but_covers_nothing():
    ours = np.repeat([[0.25]], 6, axis=0)
    precision, recall, density, coverage = means(ours, LINE, 1)
    assert (precision, recall, density, coverage) == (1, 0, 2, 2 / 6)


def test_sets_far_apart_share_nothing():
    assert means(LINE + 100, LINE, 2) == (0, 0, 0, 0)


def test_the_order_of_the_sets_does_not_matter():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(40, 5)), random.normal(size=(30, 5)) + 0.5
    assert means(a[::-1], b[::-1], 5) == pytest.approx(means(a, b, 5))


def test_too_few_images_are_refused():
    with pytest.raises(MedsynthError, match="more than 5"):
        prdc(LINE[:5], LINE, 5)


def test_a_row_says_how_many_images_it_is_of(monkeypatch):
    monkeypatch.setattr("medsynth_cli.metrics.prdc.MOST", 20)
    random = np.random.default_rng(0)
    features = {"ours": random.normal(size=(30, 3)), "real": random.normal(size=(12, 3))}
    sets = [ImageSet(name, [{"id": str(i)} for i in range(len(f))], {EFFNET: f}) for name, f in features.items()]
    observers = Observers(bundles.load("cxr-mini"), torch.device("cpu"))
    row = score(Comparison(*sets, None, observers))["precision-EffNet"]
    assert (row["n"], row["n_used"], row["n_real"], row["n_real_used"]) == (30, 20, 12, 12)
    assert row["value"] == prdc(features["ours"][:20], features["real"]).precision.mean()
