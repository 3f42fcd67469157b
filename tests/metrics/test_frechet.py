"""The Fréchet distance against clean-fid's function and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from cleanfid.fid import frechet_distance

from medsynth_cli.metrics import frechet, intervals


def gaussian(count, dimension, seed, scale=1.0, shift=0.0):
    return (np.random.default_rng(seed).normal(size=(count, dimension)) * scale + shift).astype(np.float32)


def by_clean_fid(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return frechet_distance(a.mean(0), np.cov(a, rowvar=False), b.mean(0), np.cov(b, rowvar=False))


@pytest.mark.parametrize(("n", "m"), [(60, 80), (200, 300), (200, 60), (5000, 200)])
def test_it_is_what_clean_fid_finds(n, m):
    a, b = gaussian(n, 48, 0), gaussian(m, 48, 1, scale=1.5, shift=0.1)
    assert frechet.distance(a, b) == pytest.approx(by_clean_fid(a, b), rel=1e-5)


def test_with_fewer_images_than_dimensions_too_where_clean_fid_is_less_exact():
    a, b = gaussian(20, 48, 0), gaussian(30, 48, 1, scale=1.5, shift=0.1)
    assert frechet.distance(a, b) == pytest.approx(by_clean_fid(a, b), rel=1e-4)


def test_identical_sets_are_at_distance_zero():
    for count in (10, 200):
        a = gaussian(count, 16, 0)
        assert frechet.distance(a, a) == pytest.approx(0, abs=1e-9)


def test_a_shift_adds_its_squared_length():
    a = gaussian(200, 16, 0).astype(np.float64)
    assert frechet.distance(a, a + 0.5) == pytest.approx(16 * 0.25, rel=1e-9)


def test_a_scale_adds_the_squared_difference_of_the_spreads():
    a = gaussian(200, 16, 0).astype(np.float64)
    a -= a.mean(0)
    expected = np.cov(a, rowvar=False).trace() * (3 - 1) ** 2
    assert frechet.distance(a, 3 * a) == pytest.approx(expected, rel=1e-9)


def test_it_is_symmetric_and_does_not_depend_on_the_order():
    a, b = gaussian(60, 16, 0), gaussian(80, 16, 1, scale=2, shift=0.3)
    assert frechet.distance(a, b) == pytest.approx(frechet.distance(b, a), rel=1e-9)
    assert frechet.distance(a[::-1], b) == pytest.approx(frechet.distance(a, b), rel=1e-6)


def test_collapse_to_one_image_has_a_distance():
    a, b = np.repeat(gaussian(1, 48, 0), 40, axis=0), gaussian(40, 48, 1)
    expected = ((a[0] - b.mean(0)) ** 2).sum() + np.cov(b, rowvar=False).trace()
    assert frechet.distance(a, b) == pytest.approx(expected, rel=1e-5)


def test_the_unbiased_form_takes_out_what_few_images_add():
    truth, n = 8 * (1.3 - 1) ** 2, 400
    found = []
    for seed in range(20):
        a, b = gaussian(n, 8, 2 * seed), gaussian(n, 8, 2 * seed + 1, scale=1.3)
        found.append(frechet.unbiased(a, b, (np.arange(n), np.arange(n)), seed, rounds=20))
    whole, limit, error = np.array(found).T
    spread = limit.std(ddof=1) / np.sqrt(len(found))
    assert whole.mean() > truth + 5 * spread, "the plain distance is biased upwards"
    assert abs(limit.mean() - truth) < 3 * spread
    low, high = np.transpose([intervals.normal(*pair) for pair in zip(limit, error, strict=True)])
    assert ((low < truth) & (truth < high)).mean() >= 0.8
