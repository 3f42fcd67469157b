"""Scores on images: NIQE and MS-SSIM."""

from __future__ import annotations

import numpy as np
import pytest

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import msssim, niqe


def test_niqe_tells_a_picture_from_noise_and_does_not_depend_on_the_batch(chests):
    noise = np.random.default_rng(0).integers(0, 256, (1, 256, 256), dtype=np.uint8)
    both = np.concatenate([chests[:2], noise])
    found = niqe.values(both)
    assert found.shape == (3,)
    assert found[2] > found[:2].max()
    np.testing.assert_allclose(niqe.values(both[2:]), found[2:], rtol=1e-9)


def test_niqe_sees_only_whole_blocks(chests):
    changed = chests[:1].copy()
    changed[:, 192:], changed[:, :, 192:] = 0, 0
    np.testing.assert_allclose(niqe.values(changed), niqe.values(chests[:1]), rtol=0.05)
    with pytest.raises(MedsynthError, match="blocks"):
        niqe.values(chests[:1, :128, :128])


def test_ms_ssim_of_one_image_over_and_over_is_one(chests):
    same = np.repeat(chests[:1], 3, axis=0)
    np.testing.assert_allclose(msssim.of_pairs(same), 1, atol=1e-5)
    different = msssim.of_pairs(chests[:3])
    assert different.shape == (3,)
    assert different.max() < 0.99


def test_ms_ssim_draws_pairs_by_seed(chests):
    first = msssim.of_pairs(chests[:4], pairs=2, seed=1)
    np.testing.assert_array_equal(first, msssim.of_pairs(chests[:4], pairs=2, seed=1))
    assert len(first) == 2
    with pytest.raises(MedsynthError, match="two images"):
        msssim.of_pairs(chests[:1])
