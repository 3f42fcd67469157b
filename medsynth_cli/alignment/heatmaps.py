"""Heatmaps: where in an image the words of its report are found."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from medsynth_cli.files import atomic, pixels
from medsynth_cli.runtime.conversion import to_pixels
from medsynth_cli.text.vocabulary import PATHOLOGY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from medsynth_cli.alignment.aligners import WordPatchAligner
    from medsynth_cli.files.records import Record
    from medsynth_cli.text.vocabulary import Vocabulary

HOT = (255, 96, 0)
"""Colour of the best place."""
OPACITY = 0.6
"""How much of the image the best place covers."""
PLAIN = 0.75
"""Share of the image that is left plain: the quarter that matches best is tinted."""


@torch.inference_mode()
def draw(aligner: WordPatchAligner, image: NDArray[np.uint8], phrases: Sequence[str]) -> NDArray[np.float32]:
    """How well each place of an image matches each phrase.

    Args:
        aligner: scores the patches of its grid; the scores between them are interpolated.
        image: uint8 ``(H, W)``.
        phrases: such as "left pleural effusion", W >= 1.

    Returns:
        Cosines, float32 ``(W, H, W)``, [-1, 1].
    """
    patches = aligner.encode_patches(to_pixels(image[None].copy(), aligner.device))
    scores = aligner.match(patches, aligner.encode_words(phrases))
    return F.interpolate(scores, image.shape, mode="bilinear", align_corners=False)[0].cpu().numpy()


def overlay(image: NDArray[np.uint8], heatmap: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A radiograph with the places tinted that match best: uint8 ``(H, W, 3)``."""
    low, high = float(np.quantile(heatmap, PLAIN)), float(heatmap.max())
    tint = OPACITY * np.clip((heatmap - low) / max(high - low, 1e-6), 0, 1)[..., None]
    return (image[..., None] * (1 - tint) + np.array(HOT) * tint).round().astype(np.uint8)


@dataclass(frozen=True)
class HeatmapWriter:
    """Writes the heatmaps of records that have an image.

    Attributes:
        aligner: scores the patches.
        vocabulary: names the terms.
        folder: where the files go: ``<id>.<word>.png`` a word, and ``<id>.npz`` with all of them.
        size_px: the centre square of every image is resized to this side.
        arrays: whether to write the ``.npz`` too: one float32 array ``(size_px, size_px)`` a word.
    """

    aligner: WordPatchAligner
    vocabulary: Vocabulary
    folder: Path
    size_px: int
    arrays: bool = False

    def write(self, record: Record, image: Path) -> None:
        """Draw the pathologies that an aligned record asserts or doubts; one that denies all has no heatmap.

        Raises:
            MedsynthError: the image cannot be read.
        """
        shown = pixels.read(image, self.size_px)
        words = self._words(record)
        if not words:
            return
        heatmaps = dict(zip(words, draw(self.aligner, shown, list(words.values())), strict=True))
        for word, heatmap in heatmaps.items():
            picture = pixels.encode_png(overlay(shown, heatmap))
            atomic.write_bytes(self.folder / f"{record['id']}.{word}.png", picture)
        if self.arrays:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, allow_pickle=False, **heatmaps)
            atomic.write_bytes(self.folder / f"{record['id']}.npz", buffer.getvalue())

    def _words(self, record: Record) -> dict[str, str]:
        """Name in files -> phrase, of each pathology and side that is not denied."""
        words = {}
        for keyword in record["keywords"]:
            term = self.vocabulary.terms[keyword["term"]]
            side = "" if keyword["side"] == "bilateral" else keyword["side"] or ""
            if term.kind == PATHOLOGY and not keyword["negated"]:
                words["-".join(filter(None, (side, term.key)))] = f"{side} {term.name}".strip()
        return words
