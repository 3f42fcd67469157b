"""Scores on images: MS-SSIM."""

from __future__ import annotations

import numpy as np
import pytest

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import msssim


def test_ms_ssim_of_one_image_over_and_over_is_one(chests):
    pairs = msssim.draw_pairs(3)
    np.testing.assert_allclose(msssim.of_pairs(lambda _: chests[0], pairs), 1, atol=1e-5)
    different = msssim.of_pairs(chests.__getitem__, pairs)
    assert different.shape == (3,)
    assert different.max() < 0.99


@pytest.mark.parametrize("count", [4, 50, 5000])
def test_pairs_are_different_drawn_by_seed_and_of_different_images(count):
    pairs = msssim.draw_pairs(count, 500, seed=1)
    assert len(pairs) == min(500, count * (count - 1) // 2) == len(np.unique(np.sort(pairs, axis=1), axis=0))
    assert (pairs[:, 0] != pairs[:, 1]).all()
    np.testing.assert_array_equal(pairs, msssim.draw_pairs(count, 500, seed=1))


def test_one_image_has_no_pair():
    with pytest.raises(MedsynthError, match="two images"):
        msssim.draw_pairs(1)
