"""Images as arrays (uint8, in files and records) and as pixels (float32, in networks)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray


def filled(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A batch of ``size`` images: uint8 ``(N, H, W)``, N <= ``size``, and black ones behind them.

    Sums of floating-point numbers depend on the shape of a batch. Where every batch has the same, what is said of an
    image does not depend on how many others there are.
    """
    batch = np.zeros((size, *images.shape[1:]), np.uint8)
    batch[: len(images)] = images
    return batch


def to_pixels(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Images uint8 ``(N, H, W)`` as pixels float32 ``(N, 1, H, W)``, [0, 1], on ``device``."""
    return torch.from_numpy(np.ascontiguousarray(images)).to(device)[:, None].float() / 255


def to_images(pixels: Tensor) -> NDArray[np.uint8]:
    """Pixels ``(N, 1, H, W)``, [0, 1], as images uint8 ``(N, H, W)``, rounded to the nearest value."""
    return (pixels[:, 0] * 255).round().to(torch.uint8).cpu().numpy()
