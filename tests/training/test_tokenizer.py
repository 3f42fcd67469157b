"""Pieces of tokenizer training against what they are defined to do."""

from __future__ import annotations

import numpy as np
import torch

from medsynth_cli.training import critic
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


def test_pooled_distance_compares_images_and_not_places() -> None:
    random = torch.Generator().manual_seed(0)
    features = [torch.randn(2, 3, size, size, generator=random) for size in (16, 8, 4, 2)]
    moved = [level.flip(-1) for level in features]
    assert critic.pooled_distance(features, moved) < 1e-12
    assert critic.distance(features, moved) > 0.5
    brighter = [level + 2 for level in features]
    torch.testing.assert_close(critic.pooled_distance(features, brighter), torch.tensor(4.0))


def test_windows_lie_in_the_image() -> None:
    random = np.random.default_rng(0)
    pixels = torch.arange(64.0).view(1, 1, 8, 8)
    seen = [pixels[critic.window(8, 5, random)] for _ in range(50)]
    assert {tuple(part.shape) for part in seen} == {(1, 1, 5, 5)}
    assert len({float(part[0, 0, 0, 0]) for part in seen}) > 8
    assert pixels[critic.window(8, 99, random)].shape == (1, 1, 8, 8)
