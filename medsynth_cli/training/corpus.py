"""Training text: reports written from the metadata of real images, and the words in them.

Paired real reports of the images do not exist, so the ``template`` provider writes them from labels, boxes,
view, sex and age; they are synthetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medsynth_cli.alignment.words import Word
from medsynth_cli.text import entities, providers, termsets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from medsynth_cli.files.datasets import Item
    from medsynth_cli.files.records import Record
    from medsynth_cli.text.vocabulary import Vocabulary


class ReportWriter:
    """Writes reports from metadata.

    Args:
        folder: folder of the modality.
        vocabulary: its vocabulary.
        seed: seed of the reports.
    """

    def __init__(self, folder: Path, vocabulary: Vocabulary, seed: int) -> None:
        self._provider = providers.load("template", folder, seed)
        self._vocabulary = vocabulary

    def aligned(self, meta: dict[str, Any], random: np.random.Generator) -> Record:
        """An aligned record of an image, without key patches; another report for every draw."""
        terms = termsets.from_metadata(meta, self._vocabulary, random)
        draft = self._provider.write(terms | {"id": f"{terms['id']}.{random.integers(2**31)}"}, 0)
        report = {"findings": draft.findings, "impression": draft.impression}
        keywords = entities.keywords(report, self._vocabulary)
        return terms | {"kind": "aligned", "report": report, "keywords": keywords, "key_patches": []}

    def texts(self, metas: list[dict[str, Any]]) -> Iterator[str]:
        """One report of each image, as the text tokenizer sees it."""
        random = np.random.default_rng(0)
        for meta in metas:
            report = self.aligned(meta, random)["report"]
            yield f"{report['impression']} {report['findings']}"


def text_tokenizer(texts: Iterable[str], size: int = 1024) -> Tokenizer:
    """Train a byte-level byte-pair tokenizer; it can write any text, its own corpus shortest."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@dataclass(frozen=True)
class Mentions:
    """What the reports of N images say of P words, on a g×g grid: see `aligner.AlignerData`."""

    targets: NDArray[np.float32]
    boxes: NDArray[np.float16]


def mentions(items: list[Item], words: list[Word], grid: int, size_px: int) -> Mentions:
    """Targets and boxes of each word from the images' labels and boxes.

    A word with a side is unknown for an image whose label has no box: labels alone have no side.
    """
    targets = np.zeros((len(items), len(words)), dtype=np.float32)
    boxes = np.zeros((len(items), len(words), grid, grid), dtype=np.float16)
    for i, item in enumerate(items):
        labels = item.meta.get("labels", [])
        for j, word in enumerate(words):
            if word.label not in labels:
                continue
            own = [box_cells(b["xywh"], grid, size_px) for b in item.meta.get("boxes", []) if b["label"] == word.label]
            own = [cells for cells in own if on_side(cells, word.side)]
            if own:
                boxes[i, j] = np.clip(np.sum(own, axis=0), 0, 1)
            boxed = any(b["label"] == word.label for b in item.meta.get("boxes", []))
            targets[i, j] = 1.0 if own or not word.side else (0.0 if boxed else np.nan)
    return Mentions(targets, boxes)


def box_cells(xywh: list[float], grid: int, size_px: int) -> NDArray[np.float32]:
    """Fraction of each patch that a box covers: float32 ``(g, g)``."""
    x, y, w, h = (value * grid / size_px for value in xywh)
    cells = np.arange(grid)
    across = np.clip(np.minimum(cells + 1, x + w) - np.maximum(cells, x), 0, 1)
    down = np.clip(np.minimum(cells + 1, y + h) - np.maximum(cells, y), 0, 1)
    return np.outer(down, across).astype(np.float32)


def on_side(cells: NDArray[np.float32], side: str) -> bool:
    """Whether a box lies mostly on a side of the patient (whose left is on the image's right)."""
    if not side:
        return True
    half = cells.shape[1] // 2
    right_of_image = cells[:, half:].sum() > cells[:, :half].sum()
    return bool(right_of_image == (side == "left"))
