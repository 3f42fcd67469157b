"""Scores of more images than are looked at together are those of all at once."""

from __future__ import annotations

import numpy as np
import pytest

from medsynth_cli.metrics import frechet, thumbnails, vendi


def test_vendi(monkeypatch):
    monkeypatch.setattr(vendi, "CHUNK", 7)
    features = np.random.default_rng(0).normal(size=(60, 8))
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(units @ units.T / 60)
    values = values[values > 1e-12]
    assert vendi.vendi(features) == pytest.approx(np.exp(-(values * np.log(values)).sum()), rel=1e-9)


def test_likeness_of_thumbnails(monkeypatch):
    monkeypatch.setattr(thumbnails, "CHUNK", 7)
    random = np.random.default_rng(0)
    pictures, mean = random.integers(0, 256, (20, 64), dtype=np.uint8), random.normal(size=64)
    pictures[9] = 5
    expected = [0 if i == 9 else np.corrcoef(picture, mean)[0, 1] for i, picture in enumerate(pictures)]
    np.testing.assert_allclose(thumbnails.likeness(pictures, mean), expected, atol=1e-12)


def test_frechet_of_more_copies_than_dimensions_is_that_of_the_originals(monkeypatch):
    monkeypatch.setattr(frechet, "CHUNK", 7)
    random = np.random.default_rng(0)
    few, other = random.normal(size=(6, 16)), random.normal(size=(40, 16)) + 0.5
    many = np.repeat(few, 10, axis=0)
    plain = frechet.Gaussian.of(few)
    scaled = frechet.Gaussian(plain.mean, plain.root * np.sqrt(50 / 59))
    assert frechet.distance(many, other) == pytest.approx(scaled.distance(frechet.Gaussian.of(other)), rel=1e-6)
