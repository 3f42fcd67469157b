"""Small random changes of position, size and tone; never a mirror image, since sides matter."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def jitter(
    pixels: Tensor, random: np.random.Generator, shift: float = 0.04, zoom: float = 0.06, tone: float = 0.15
) -> Tensor:
    """Shift, zoom and change the tone of each image.

    Args:
        pixels: float32 ``(B, 1, H, W)``, [0, 1].
        random: source of the draws.
        shift: largest shift, as a fraction of the side.
        zoom: largest relative change of size.
        tone: largest change of log2 gamma.

    Returns:
        Pixels of the same shape; the border is repeated where the image does not reach.
    """
    batch = len(pixels)
    size = torch.as_tensor(1 + random.uniform(-zoom, zoom, batch), dtype=torch.float32)
    moves = torch.as_tensor(random.uniform(-2 * shift, 2 * shift, (batch, 2)), dtype=torch.float32)
    gamma = torch.as_tensor(2 ** random.uniform(-tone, tone, batch), dtype=torch.float32)
    theta = torch.zeros(batch, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = size
    theta[:, :, 2] = moves
    grid = F.affine_grid(theta.to(pixels.device), list(pixels.shape), align_corners=False)
    moved = F.grid_sample(pixels, grid, mode="bicubic", padding_mode="border", align_corners=False)
    return moved.clamp(1e-6, 1) ** gamma.to(pixels.device).view(-1, 1, 1, 1)
