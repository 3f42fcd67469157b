"""Scores on images: NIQE and MS-SSIM."""

from __future__ import annotations

import numpy as np
import pytest

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import msssim, niqe


def test_niqe_tells_a_picture_from_noise_and_does_not_depend_on_the_batch(chests):
    noise = np.random.default_rng(0).integers(0, 256, (1, 256, 256), dtype=np.uint8)
    both = np.concatenate([chests[:2], noise])
    found = niqe.observer()(both)[:, 0]
    assert found.shape == (3,)
    assert found[2] > found[:2].max()
    np.testing.assert_allclose(niqe.observer()(both[2:])[:, 0], found[2:], rtol=1e-9)


def test_niqe_sees_only_whole_blocks(chests):
    changed = chests[:1].copy()
    changed[:, 192:], changed[:, :, 192:] = 0, 0
    np.testing.assert_allclose(niqe.observer()(changed), niqe.observer()(chests[:1]), rtol=0.05)
    with pytest.raises(MedsynthError, match="blocks"):
        niqe.observer()(chests[:1, :128, :128])


def test_niqe_is_pyiqas_value(chests):
    import pyiqa
    import torch

    from medsynth_cli.runtime import bundles

    theirs = pyiqa.create_metric(
        "niqe", device="cpu", pretrained_model_path=str(bundles.assets() / "niqe" / "niqe_params.mat")
    )
    expected = [float(theirs(torch.from_numpy(chest)[None, None].double() / 255)) for chest in chests[:2]]
    np.testing.assert_allclose(niqe.observer()(chests[:2])[:, 0], expected, rtol=1e-6)


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
