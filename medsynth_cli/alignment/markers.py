"""Markers and burned-in text: "L", "PORTABLE", names. No window with them is taken.

What is written on a radiograph is thin, bright and sharp, as nothing in a chest is but metal: it stands out of the
white top-hat, which is an image less its opening by a square that is wider than a stroke (Serra 1982). Wires and
clips stand out as well, and are kept out too. benchmarks/codebook.md says how much of either is found.

Shapes: B images, H pixels a side, g grid, p side of a window, v = g - p + 1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

STROKE = 5 / 256
"""Side of the square as a part of the image's side: strokes thinner than this stand out."""
CONTRAST = 51
"""By how much, of 255, a pixel must stand out; ribs and vessels reach half of it."""
PIXELS = 8 / 256**2
"""Area of what stands out, as a part of the image's, from which a window is kept out."""


def clear(images_BHH: Tensor, grid: int, patch: int) -> Tensor:
    """Windows without markers or text.

    Args:
        images_BHH: uint8.
        grid: cells along a side; it divides H.
        patch: side of a window, in cells.

    Returns:
        bool ``(B, v, v)``.
    """
    side = images_BHH.shape[-1]
    out = images_BHH - opened(images_BHH, max(3, round(side * STROKE) // 2 * 2 + 1)) >= CONTRAST
    cells = out.unflatten(2, (grid, -1)).unflatten(1, (grid, -1)).sum(dim=(2, 4))
    windows = cells.unfold(1, patch, 1).unfold(2, patch, 1).sum(dim=(3, 4))
    return windows < PIXELS * side**2


def opened(images_BHH: Tensor, width: int) -> Tensor:
    """Morphological opening by a square of odd ``width``: uint8, nowhere brighter than the images."""
    shrunk = images_BHH
    for dim in (1, 2):
        shrunk = _slide(shrunk, width, dim, torch.minimum, 255)
    for dim in (1, 2):
        shrunk = _slide(shrunk, width, dim, torch.maximum, 0)
    return shrunk


def _slide(images: Tensor, width: int, dim: int, pick: Callable[[Tensor, Tensor], Tensor], outside: int) -> Tensor:
    """The least or greatest value of every ``width`` pixels along a dimension, ``outside`` beyond the border.

    Windows double in width: twice as wide a one is picked from two that overlap or touch.
    """
    half = width // 2
    found = F.pad(images, (half, half) if dim == 2 else (0, 0, half, half), value=outside)
    wide = 1
    while wide < width:
        step = min(wide, width - wide)
        count = found.shape[dim] - step
        found = pick(found.narrow(dim, 0, count), found.narrow(dim, step, count))
        wide += step
    return found
