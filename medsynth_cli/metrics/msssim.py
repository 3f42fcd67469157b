"""Sameness of a set: mean MS-SSIM of random pairs (Wang et al. 2003); 1 is one image over and over.

Computed by pyiqa's function: pyiqa is here for NIQE anyway, and this saves another dependency or our own copy
of a formula.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import intervals
from medsynth_cli.metrics.comparison import Comparison, Row, row, unavailable
from medsynth_cli.metrics.imagesets import ImageSet
from medsynth_cli.runtime.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SMALLEST_PX = 176
"""Five scales of halving and an 11-px window: 11 * 2^4."""
BATCH = 8
PAIRS = 500
LISTED = 1000
"""Up to so many images, all pairs are listed and some chosen."""
METHOD = f"bootstrap over patients or records, {intervals.ROUNDS} rounds"


def of_pairs(
    read: Callable[[int], NDArray[np.uint8]], pairs: NDArray[np.int64], title: str = "MS-SSIM"
) -> NDArray[np.float64]:
    """MS-SSIM of pairs of images.

    Args:
        read: number of an image -> uint8 ``(H, W)``.
        pairs: ``(P, 2)``.
        title: of the progress bar.

    Returns:
        ``(P,)``, at most 1.

    Raises:
        MedsynthError: the images are too small for five scales.
    """
    from pyiqa.archs.ssim_arch import ms_ssim

    found = []
    with torch.inference_mode(), Progress(title, len(pairs)) as progress:
        for part in np.array_split(pairs, -(-len(pairs) // BATCH)):
            x, y = (np.stack([read(index) for index in part[:, side]]) for side in (0, 1))
            if min(x.shape[1:]) < SMALLEST_PX:
                raise MedsynthError(f"needs images of at least {SMALLEST_PX} px")
            shown = (torch.from_numpy(side)[:, None].float() for side in (x, y))
            found.append(ms_ssim(*shown, data_range=255).numpy())
            progress.advance(len(part))
    return np.concatenate(found).astype(np.float64)


def draw_pairs(count: int, pairs: int = PAIRS, seed: int = 0) -> NDArray[np.int64]:
    """Different pairs of different images, ``(min(pairs, count (count - 1) / 2), 2)``.

    Raises:
        MedsynthError: there is no pair.
    """
    if count < 2:
        raise MedsynthError("needs at least two images")
    random = np.random.default_rng([seed, 9])
    if count <= LISTED:
        every = np.stack(np.triu_indices(count, 1), axis=1)
    else:
        drawn = np.sort(random.integers(0, count, (4 * pairs, 2)), axis=1)
        every = np.unique(drawn[drawn[:, 0] < drawn[:, 1]], axis=0)
    return random.permutation(every)[:pairs]


def score(comparison: Comparison) -> dict[str, Row]:
    """``MS-SSIM`` among the synthetic images, beside that among real ones if they are at hand."""
    ours = comparison.synthetic
    try:
        pairs = draw_pairs(len(ours), seed=comparison.seed)
        found = of_pairs(ours.pixels, pairs, f"{ours.name}: MS-SSIM")
    except MedsynthError as error:
        return {"MS-SSIM": unavailable(error)}
    floors = {"real": _mean(comparison.real, comparison.seed), "repeated": 1.0}
    if comparison.train is not None:
        floors["training"] = _mean(comparison.floor_images, comparison.seed)
    draws = intervals.weights(ours.groups, seed=comparison.seed)
    drawn = [float(np.average(found, weights=w[pairs].prod(axis=1))) for w in draws if w[pairs].prod(axis=1).any()]
    more = {"n": len(ours), "extractor": "pyiqa", "better": None, "interval_method": METHOD}
    return {"MS-SSIM": row(float(found.mean()), intervals.percentile(drawn), floors=floors, **more)}


def _mean(images: ImageSet, seed: int) -> float | None:
    try:
        return float(of_pairs(images.pixels, draw_pairs(len(images), seed=seed)).mean())
    except MedsynthError:
        return None
