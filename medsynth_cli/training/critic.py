"""Perceptual distance and adversary on the features of a frozen ImageNet trunk.

Both look at the same features of EfficientNet-Lite0: their distance is a perceptual loss (Zhang et al.
2018, arXiv 1801.03924), and small trainable heads on them tell real from reconstructed crops (projected
GANs, Sauer et al. 2021, arXiv 2111.01007). Evaluation uses another trunk.
"""

from __future__ import annotations

from types import EllipsisType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from medsynth_cli.recognition import trunks

LEVELS = (0, 1, 2, 3, 4)
CHANNELS = (16, 24, 40, 112, 320)


class Trunk(nn.Module):
    """Frozen EfficientNet-Lite0 features at strides 2, 4, 8, 16 and 32, divided by their spread on real images."""

    def __init__(self) -> None:
        super().__init__()
        self.network = trunks.imagenet_features("lite0", LEVELS).eval().requires_grad_(False)
        self.network.to(memory_format=torch.channels_last)
        for level, channels in enumerate(CHANNELS):
            self.register_buffer(f"spread{level}", torch.ones(1, channels, 1, 1))

    @torch.no_grad()
    def calibrate(self, pixels: Tensor) -> None:
        """Measure the spread of every channel on real pixels ``(B, 1, H, W)``."""
        for level, feature in enumerate(self.network(trunks.normalise(pixels))):
            spread = feature.float().std(dim=(0, 2, 3), keepdim=True)
            getattr(self, f"spread{level}").copy_(spread.clamp_min(1e-2))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Features of pixels ``(B, 1, H, W)``, [0, 1], one ``(B, C, h, w)`` a level."""
        features = self.network(trunks.normalise(pixels))
        return [feature.float() / getattr(self, f"spread{level}") for level, feature in enumerate(features)]


def pixel_loss(ours: Tensor, real: Tensor) -> Tensor:
    """Absolute and squared differences of pixels; the squares are what PSNR counts."""
    return F.l1_loss(ours, real) + 4 * F.mse_loss(ours, real)


def window(side: int, crop_px: int, random: np.random.Generator) -> tuple[EllipsisType, slice, slice]:
    """A random square of at most ``crop_px`` in images of ``side`` pixels; features of it cost less."""
    crop = min(crop_px, side)
    top, left = random.integers(0, side - crop + 1, 2)
    return ..., slice(top, top + crop), slice(left, left + crop)


def distance(ours: list[Tensor], real: list[Tensor]) -> Tensor:
    """Mean absolute difference of features, averaged over levels."""
    return torch.stack([F.l1_loss(a, b) for a, b in zip(ours, real, strict=True)]).mean()


def pooled_distance(ours: list[Tensor], real: list[Tensor]) -> Tensor:
    """Mean squared difference of features' means over the image, averaged over the levels from stride 8 on."""
    pairs = list(zip(ours, real, strict=True))[2:]
    return torch.stack([F.mse_loss(a.mean(dim=(2, 3)), b.mean(dim=(2, 3))) for a, b in pairs]).mean()


class Heads(nn.Module):
    """One small patch discriminator a level."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                spectral_norm(nn.Conv2d(channels, width, 1)),
                nn.LeakyReLU(0.2),
                spectral_norm(nn.Conv2d(width, width, 3, padding=1)),
                nn.LeakyReLU(0.2),
                spectral_norm(nn.Conv2d(width, 1, 3, padding=1)),
            )
            for channels in CHANNELS
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Realness maps, one ``(B, 1, h, w)`` a level."""
        return [head(feature) for head, feature in zip(self.heads, features, strict=True)]


def discriminator_loss(real: list[Tensor], ours: list[Tensor]) -> Tensor:
    """Hinge loss of the heads."""
    terms = [F.relu(1 - r).mean() + F.relu(1 + o).mean() for r, o in zip(real, ours, strict=True)]
    return torch.stack(terms).mean()


def generator_loss(ours: list[Tensor]) -> Tensor:
    """What the decoder minimises: the negative realness of its output."""
    return -torch.stack([o.mean() for o in ours]).mean()
