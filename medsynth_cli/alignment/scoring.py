"""Images to candidates: the work on the device.

Batches have one shape (`conversion.filled`): what is said of an image depends on no other image. Shapes: B images,
W words, E embedding, g grid, p window, v = g - p + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medsynth_cli.alignment import aligner as aligners
from medsynth_cli.alignment import markers, windows
from medsynth_cli.alignment.pool import CELL, MARGIN, row_type
from medsynth_cli.alignment.windows import PATCH
from medsynth_cli.recognition import trunks
from medsynth_cli.runtime.conversion import filled, to_pixels
from medsynth_cli.tokens import tokenizer as tokenizers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.alignment.aligner import Aligner
    from medsynth_cli.alignment.pool import Rows
    from medsynth_cli.alignment.words import Word
    from medsynth_cli.runtime.bundles import Bundle
    from medsynth_cli.tokens.vqgan import Vqgan

ROWS = {"cpu": 8, "mps": 32, "cuda": 128}
"""Images of a batch, by kind of device."""


class Scorer:
    """Scores images for words.

    Args:
        aligner: scores patches.
        words: what for.
        keep_clear: whether windows with markers and text are kept out.
        device: where it computes.
    """

    def __init__(self, aligner: Aligner, words: Sequence[Word], keep_clear: bool, device: torch.device) -> None:
        self.rows = ROWS[device.type]
        self._aligner, self._keep_clear, self._device = aligner, keep_clear, device
        with torch.inference_mode():
            self._words_WE = aligner.encode_words([word.phrase for word in words])
        places = aligner.config.grid - PATCH + 1
        columns = np.stack([windows.columns(places, word.side) for word in words])
        self._columns_Wv = torch.from_numpy(columns).to(device)
        self.row_type = row_type(PATCH, self._words_WE.shape[1])

    @torch.inference_mode()
    def __call__(
        self, images: NDArray[np.uint8], wanted: NDArray[np.bool_], floors: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], Rows]:
        """Candidates of images.

        Args:
            images: ``(n, H, H)``, n <= ``rows``.
            wanted: ``(n, W)``, the words that each counts for.
            floors: ``(W,)``, the least score of a candidate.

        Returns:
            For each candidate the number of its image, [0, n), and the candidate, without ``image``, ``patient`` and
            ``order``.
        """
        batch = filled(images, self.rows)
        pixels = to_pixels(batch, self._device)
        patches = self._aligner.encode_patches(pixels)
        scores = windows.window_scores(self._aligner, patches, self._words_WE)
        values, places = windows.best_windows(scores, self._columns_Wv, self._clear(batch))
        least = torch.from_numpy(floors).to(self._device)
        allowed = torch.from_numpy(wanted).to(self._device)
        good = allowed & (values >= least)[: len(images)] & values.isfinite()[: len(images)]
        image, word = good.nonzero(as_tuple=True)
        place, side = places[image, word], scores.shape[-1]
        row, column = place // side, place % side
        found = np.zeros(len(image), self.row_type)
        found["word"] = word.cpu().numpy()
        found["score"] = values[image, word].cpu().numpy()
        found["at"] = torch.stack([row, column], 1).cpu().numpy()
        found["vector"] = patches[image, :, row + PATCH // 2, column + PATCH // 2].cpu().numpy()
        found["thumbnail"] = self._thumbnails(pixels)[image, row, column].cpu().numpy()
        return image.cpu().numpy(), found

    def _clear(self, images: NDArray[np.uint8]) -> Tensor | None:
        if not self._keep_clear:
            return None
        return markers.clear(torch.from_numpy(images).to(self._device), self._aligner.config.grid, PATCH)

    def _thumbnails(self, pixels: Tensor) -> Tensor:
        """Reduced images around every window: uint8 ``(B, v, v, s, s)``, a view."""
        reduced = F.adaptive_avg_pool2d(pixels, self._aligner.config.grid * CELL)
        padded = F.pad(reduced, (MARGIN,) * 4, mode="replicate")[:, 0]
        side = PATCH * CELL + 2 * MARGIN
        return (padded * 255).round().to(torch.uint8).unfold(1, side, CELL).unfold(2, side, CELL)


class Encoder:
    """Writes the codes of images.

    Args:
        tokenizer: the tokenizer.
        device: where it computes.
    """

    def __init__(self, tokenizer: Vqgan, device: torch.device) -> None:
        self.rows = ROWS[device.type]
        self._tokenizer, self._device = tokenizer, device

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.uint16]:
        """Codes ``(n, g, g)`` of images ``(n, H, H)``, n <= ``rows``."""
        codes = self._tokenizer.encode(to_pixels(filled(images, self.rows), self._device))
        return codes[: len(images)].cpu().numpy().astype(np.uint16)


def load(bundle: Bundle, words: Sequence[Word], keep_clear: bool, device: torch.device) -> tuple[Scorer, Encoder]:
    """Scorer and encoder of a bundle."""
    aligner = aligners.load(bundle, device)
    trunks.fold_norms(aligner)
    return Scorer(aligner, words, keep_clear, device), Encoder(tokenizers.load(bundle, device), device)
