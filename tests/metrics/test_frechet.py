"""Closed forms of the Fréchet distance."""

from __future__ import annotations

import numpy as np
import pytest

from medsynth_cli.metrics import frechet


def gaussian(count, dimension, seed, scale=1.0, shift=0.0):
    return (np.random.default_rng(seed).normal(size=(count, dimension)) * scale + shift).astype(np.float32)


@pytest.mark.parametrize("distance", [frechet.distance, frechet.distance_by_spectrum])
def test_identical_sets_are_at_distance_zero(distance):
    a = gaussian(200, 16, 0)
    assert distance(a, a) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("distance", [frechet.distance, frechet.distance_by_spectrum])
def test_a_shift_adds_its_squared_length(distance):
    a = gaussian(200, 16, 0)
    assert distance(a, a + 0.5) == pytest.approx(16 * 0.25, rel=1e-3)


@pytest.mark.parametrize("distance", [frechet.distance, frechet.distance_by_spectrum])
def test_a_scale_adds_the_squared_difference_of_the_spreads(distance):
    a = gaussian(200, 16, 0)
    a -= a.mean(0)
    expected = np.cov(a, rowvar=False).trace() * (3 - 1) ** 2
    assert distance(a, 3 * a) == pytest.approx(expected, rel=1e-3)


def test_it_is_symmetric_and_does_not_depend_on_the_order():
    a, b = gaussian(60, 16, 0), gaussian(80, 16, 1, scale=2, shift=0.3)
    assert frechet.distance(a, b) == pytest.approx(frechet.distance(b, a), rel=1e-6)
    assert frechet.distance(a[::-1], b) == pytest.approx(frechet.distance(a, b), rel=1e-6)


@pytest.mark.parametrize(("n", "m"), [(20, 30), (200, 20), (200, 300)])
def test_the_quick_form_for_intervals_equals_clean_fid(n, m):
    a, b = gaussian(n, 48, 0), gaussian(m, 48, 1, scale=1.5, shift=0.1)
    assert frechet.distance_by_spectrum(a, b) == pytest.approx(frechet.distance(a, b), rel=1e-3)


def test_collapse_to_one_image_has_a_distance():
    a, b = np.repeat(gaussian(1, 48, 0), 40, axis=0), gaussian(40, 48, 1)
    expected = ((a[0] - b.mean(0)) ** 2).sum() + np.cov(b, rowvar=False).trace()
    assert frechet.distance(a, b) == pytest.approx(expected, rel=1e-3)
