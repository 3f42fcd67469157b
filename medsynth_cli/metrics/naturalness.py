"""Statistics of natural scenes: what NIQE measures of an image, and what it compares that with.

An image is cut into blocks of 96 px, each described by 36 numbers: shapes and widths of the generalised Gaussians
that its locally normalised pixels, and products of neighbours, follow at two sizes. NIQE is the distance of an
image's blocks from a Gaussian that was fitted to the blocks of good images (Mittal, Soundararajan and Bovik, IEEE
Signal Processing Letters 20(3), 2013). The steps are pyiqa's.
"""

from __future__ import annotations

import functools
import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from medsynth_cli.errors import MedsynthError

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_PX = 96
DIMENSIONS = 36
SHARP = 0.75
"""Blocks that a fit takes are sharper than this part of the sharpest one of their image, as in the paper."""
REMEMBERED = 64


@dataclass(frozen=True, eq=False)
class Gaussian:
    """What blocks of good images look like.

    Attributes:
        mean: float64 ``(36,)``.
        covariance: float64 ``(36, 36)``.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of the numbers."""
        return hashlib.sha256(self.mean.tobytes() + self.covariance.tobytes()).hexdigest()

    def distance(self, image: NDArray[np.uint8]) -> float:
        """NIQE of one image, uint8 ``(H, W)``: eq. 10 of the paper; NaN where it has no structure at all.

        Raises:
            MedsynthError: the image holds fewer than two blocks.
        """
        found = _remembered(image.tobytes(), *image.shape)[:, :DIMENSIONS]
        whole = found[found.isfinite().all(dim=1)]
        if len(whole) < 2:
            return math.nan
        both = (torch.from_numpy(self.covariance) + torch.cov(whole.T)) / 2
        away = torch.from_numpy(self.mean) - found.nanmean(dim=0)
        return float((away @ torch.linalg.pinv(both) @ away).sqrt())


def blocks(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The blocks of an image uint8 ``(H, W)``: their 36 numbers, and how sharp they are, float64 ``(K, 37)``.

    What lies beyond the last whole block, to the right and below, is left out. The numbers of a block without any
    structure are NaN. Sharpness is the mean of the local standard deviation, of pixels in [0, 255].

    Raises:
        MedsynthError: the image holds fewer than two blocks.
    """
    return _remembered(image.tobytes(), *image.shape).numpy()


def fit(found: NDArray[np.float64]) -> tuple[Gaussian, int]:
    """The Gaussian of the sharp blocks of N images, and how many there were.

    Args:
        found: what `blocks` says of each image, ``(N, K, 37)``.

    Raises:
        MedsynthError: there are not more blocks than a covariance has rows.
    """
    sharpness = found[..., DIMENSIONS]
    sharp = found[sharpness > SHARP * sharpness.max(axis=1, keepdims=True)][:, :DIMENSIONS]
    sharp = sharp[np.isfinite(sharp).all(axis=1)]
    if len(sharp) <= DIMENSIONS:
        raise MedsynthError(f"{len(sharp)} sharp blocks: a fit needs more than {DIMENSIONS}", "name more images")
    return Gaussian(sharp.mean(axis=0), np.cov(sharp, rowvar=False)), len(sharp)


@functools.lru_cache(maxsize=REMEMBERED)
def _remembered(pixels: bytes, height: int, width: int) -> Tensor:
    """Blocks of an image, kept for the others who ask for them next: they cost a hundred times their distance."""
    from pyiqa.archs.func_util import normalize_img_with_gauss
    from pyiqa.archs.niqe_arch import compute_feature
    from pyiqa.matlab_utils import blockproc, imresize

    rows, columns = height // BLOCK_PX, width // BLOCK_PX
    if rows * columns < 2:
        raise MedsynthError(f"images of {height}x{width} px hold fewer than two {BLOCK_PX}-px blocks")
    whole = np.frombuffer(pixels, np.uint8).reshape(height, width)[: rows * BLOCK_PX, : columns * BLOCK_PX]
    image = torch.from_numpy(whole.astype(np.float64))[None, None]
    sharpness = blockproc(_spread(image), [BLOCK_PX, BLOCK_PX], fun=lambda block, _: block.mean(dim=(2, 3)))
    sizes = []
    for side in (BLOCK_PX, BLOCK_PX // 2):
        sizes.append(blockproc(normalize_img_with_gauss(image, padding="replicate"), [side, side], fun=compute_feature))
        image = imresize(image / 255, scale=0.5, antialiasing=True) * 255
    return torch.cat([*sizes, sharpness], dim=-1)[0]


def _spread(image: Tensor) -> Tensor:
    """Standard deviation around each pixel, under the window that NIQE normalises with: ``(1, 1, H, W)``."""
    from pyiqa.matlab_utils import fspecial, imfilter

    window = fspecial(7, 7 / 6, 1).to(image)
    mean, square = (imfilter(values, window, padding="replicate") for values in (image, image**2))
    return (square - mean**2).abs().sqrt()
