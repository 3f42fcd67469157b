"""Windows: squares of patches, the size of a key patch, scored for every word at every place of an image.

Shapes: B images, W words, g grid, p side of a window, v = g - p + 1 places along a side, E embedding.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.alignment.aligner import Aligner

PATCH = 3
"""Side of a window, in codes."""


def window_scores(aligner: Aligner, patches_BEgg: Tensor, words_WE: Tensor) -> Tensor:
    """Mean cosine of each window, by its upper left patch: float32 ``(B, W, v, v)``."""
    scores = aligner.match(patches_BEgg, words_WE).float()
    places = scores.shape[-1] - PATCH + 1
    # Sums of shifted views take a fraction of the time of `avg_pool2d` on a processor.
    across = functools.reduce(torch.add, (scores.narrow(3, shift, places) for shift in range(PATCH)))
    return functools.reduce(torch.add, (across.narrow(2, shift, places) for shift in range(PATCH))) / PATCH**2


def scores_of(aligner: Aligner, patches_BEgg: Tensor, words_WE: Tensor) -> NDArray[np.float32]:
    """`window_scores` as an array."""
    return window_scores(aligner, patches_BEgg, words_WE).cpu().numpy()


def columns(places: int, side: str) -> NDArray[np.bool_]:
    """Which columns of windows lie on a side of the patient, whose left is on the image's right: bool ``(v,)``."""
    centres, middle = np.arange(places) + PATCH / 2, (places + PATCH - 1) / 2
    return centres >= middle if side == "left" else centres <= middle if side == "right" else centres > 0


def best(scores_vv: NDArray[np.float32], side: str) -> tuple[int, int, float]:
    """Upper left code and score of the best window, on one side of the patient if ``side`` is given."""
    allowed = np.where(columns(scores_vv.shape[1], side), scores_vv, -np.inf)
    row, column = np.unravel_index(int(allowed.argmax()), allowed.shape)
    return int(row), int(column), float(allowed[row, column])


def best_windows(scores_BWvv: Tensor, columns_Wv: Tensor, clear_Bvv: Tensor | None) -> tuple[Tensor, Tensor]:
    """The best window of every image and word.

    Args:
        scores_BWvv: scores.
        columns_Wv: bool, the columns that each word may take; see `columns`.
        clear_Bvv: bool, the windows that may be taken; None is all.

    Returns:
        Scores ``(B, W)``, -inf where no window may be taken, and places in [0, v²), row by row.
    """
    allowed = columns_Wv[None, :, None, :]
    if clear_Bvv is not None:
        allowed = allowed & clear_Bvv[:, None]
    values, places = torch.where(allowed, scores_BWvv, -torch.inf).flatten(2).max(dim=2)
    return values, places
