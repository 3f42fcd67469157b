"""Pieces of tokenizer training against what they are defined to do."""

from __future__ import annotations

import numpy as np
import torch

from medsynth_cli.training.augment import jitter
from medsynth_cli.training.tokenizer import kmeans, rotate


def test_rotation_gives_the_codes_and_turns_the_gradient() -> None:
    torch.manual_seed(0)
    latents = torch.randn(1, 5, 2, 2, requires_grad=True)
    codes = torch.randn(1, 5, 2, 2)
    rotated = rotate(latents, codes)
    torch.testing.assert_close(rotated, codes, rtol=1e-4, atol=1e-5)
    # The map latent -> code is a rotation times |code| / |latent|: it keeps angles, so a gradient that
    # points along the code arrives pointing along the latent, scaled by that ratio.
    (gradient,) = torch.autograd.grad(rotated, latents, codes)
    ratio = codes.norm(dim=1, keepdim=True) / latents.norm(dim=1, keepdim=True)
    expected = latents.detach() * ratio**2
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-4)


def test_kmeans_finds_separate_clusters() -> None:
    torch.manual_seed(0)
    centres = torch.randn(12, 8) * 20
    vectors = (centres[:, None] + 0.1 * torch.randn(12, 50, 8)).flatten(0, 1)
    found = kmeans(vectors, 40, np.random.default_rng(0))
    assert torch.isfinite(found).all()
    assert torch.cdist(centres, found).min(dim=1).values.max() < 0.5


def test_jitter_moves_images_a_little_and_repeats_for_the_same_draws() -> None:
    torch.manual_seed(0)
    pixels = torch.rand(4, 1, 64, 64)
    one, two = (jitter(pixels, np.random.default_rng(5)) for _ in range(2))
    torch.testing.assert_close(one, two)
    assert not torch.allclose(one, pixels)
    assert one.min() >= 0
    assert one.max() <= 1.001
    still = jitter(pixels, np.random.default_rng(5), shift=0, zoom=0, tone=0)
    torch.testing.assert_close(still, pixels, rtol=0, atol=1e-4)
