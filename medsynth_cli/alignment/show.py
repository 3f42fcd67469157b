"""Contact sheets of a codebook: the best patches of words, where they sit in their source images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from medsynth_cli.alignment.codebook import spoken
from medsynth_cli.errors import MedsynthError
from medsynth_cli.files.sheets import contact_sheet, titled_rows
from medsynth_cli.runtime.conversion import to_images
from medsynth_cli.text import termsets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.alignment.codebook import Codebook
    from medsynth_cli.text.vocabulary import Vocabulary
    from medsynth_cli.tokens.vqgan import Vqgan

BATCH = 16
TILE_PX = 128


def choose(codebook: Codebook, phrases: list[str], vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """Words (term, side) of the codebook that phrases such as "left effusion" name; all if there are none.

    Raises:
        MedsynthError: the codebook lacks a word.
    """
    if not phrases:
        return list(codebook.words)
    found = []
    for finding in termsets.parse(", ".join(phrases), vocabulary):
        word = (finding["term"], finding["side"] or "")
        if word not in codebook.words:
            known = ", ".join(" ".join(filter(None, (side, term))) for term, side in codebook.words)
            raise MedsynthError(
                f"the codebook has no patches of {' '.join(reversed(word)).strip()}", f"it has: {known}"
            )
        found.append(word)
    return found


def draw(codebook: Codebook, words: list[tuple[str, str]], count: int, tokenizer: Vqgan) -> NDArray[np.uint8]:
    """A sheet with one row a word, its best ``count`` patches framed, with their scores: uint8 ``(H, W)``."""
    rows = []
    for term, side in words:
        entries = codebook.entries(term, side)
        shown = entries[:count]
        images = _decode(codebook, [int(codebook.image[entry]) for entry in shown], tokenizer)
        tiles = [_framed(image, codebook, entry) for entry, image in zip(shown, images, strict=True)]
        captions = [f"{codebook.score[entry]:.2f}" for entry in shown]
        rows.append((_title(codebook, term, side), contact_sheet(tiles, captions, len(shown))))
    return titled_rows(rows)


def _title(codebook: Codebook, term: str, side: str) -> str:
    """The word, and how many patches of how many patients it has, with their scores."""
    entries = codebook.entries(term, side)
    best, least = (codebook.score[entries[which]] for which in (0, -1))
    patients = codebook.patients(entries)
    whose = "" if patients is None else f" of {patients} patients"
    return f"{spoken(term, side)}: {len(entries)} patches{whose}, cosine {best:.2f} to {least:.2f}"


def _decode(codebook: Codebook, images: list[int], tokenizer: Vqgan) -> NDArray[np.uint8]:
    device = next(tokenizer.parameters()).device
    parts = [
        to_images(tokenizer.decode(torch.from_numpy(codebook.codes[images[start : start + BATCH]]).to(device)))
        for start in range(0, len(images), BATCH)
    ]
    return np.concatenate(parts)


def _framed(image: NDArray[np.uint8], codebook: Codebook, entry: int) -> NDArray[np.uint8]:
    """An image with a white frame around a patch, at half size."""
    cell = image.shape[0] // codebook.codes.shape[1]
    top, left = (int(v) * cell for v in codebook.at[entry])
    bottom, right = top + codebook.patch * cell - 1, left + codebook.patch * cell - 1
    framed = image.copy()
    for inset in range(2):
        framed[top + inset, left:right] = framed[bottom - inset, left:right] = 255
        framed[top:bottom, left + inset] = framed[top:bottom, right - inset] = 255
    step = max(1, image.shape[0] // TILE_PX)
    blocks = framed.reshape(image.shape[0] // step, step, image.shape[1] // step, step)
    return blocks.mean(axis=(1, 3)).round().astype(np.uint8)
