"""Sameness of a set: mean MS-SSIM of random pairs (Wang et al. 2003); 1 is one image over and over.

Computed by pyiqa's function: pyiqa is here for NIQE anyway, and this saves another dependency or our own copy
of a formula.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics.comparison import Comparison, Row, mean_row, unavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALLEST_PX = 176
"""Five scales of halving and an 11-px window: 11 * 2^4."""
BATCH = 8


def of_pairs(images: NDArray[np.uint8], pairs: int = 500, seed: int = 0) -> NDArray[np.float64]:
    """MS-SSIM of random pairs of different images: uint8 ``(N, H, W)`` -> ``(min(pairs, N (N - 1) / 2),)``.

    Raises:
        MedsynthError: there is no pair, or the images are too small for five scales.
    """
    if len(images) < 2:
        raise MedsynthError("needs at least two images")
    if min(images.shape[1:]) < SMALLEST_PX:
        raise MedsynthError(f"needs images of at least {SMALLEST_PX} px")
    import torch
    from pyiqa.archs.ssim_arch import ms_ssim

    first, second = np.triu_indices(len(images), 1)
    chosen = np.random.default_rng([seed, 9]).permutation(len(first))[:pairs]
    found = []
    with torch.inference_mode():
        for part in np.array_split(chosen, -(-len(chosen) // BATCH)):
            x, y = (torch.from_numpy(images[index[part]])[:, None].float() for index in (first, second))
            found.append(ms_ssim(x, y, data_range=255).numpy())
    return np.concatenate(found)


def score(comparison: Comparison) -> dict[str, Row]:
    """``MS-SSIM`` among the synthetic images, beside that among the real ones if they are at hand."""
    try:
        found = of_pairs(comparison.images, seed=comparison.seed)
    except MedsynthError as error:
        return {"MS-SSIM": unavailable(error)}
    real = comparison.real.images
    more = {"real": float(of_pairs(real, seed=comparison.seed).mean())} if real is not None and len(real) > 1 else {}
    return {"MS-SSIM": mean_row(found, most=1, n=len(comparison.images), extractor="pyiqa", **more)}
