"""Building a visual codebook: one pass over the images, the best κ1 patches of each word kept."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from medsynth_cli.alignment.aligner import Aligner
from medsynth_cli.alignment.codebook import Codebook
from medsynth_cli.errors import MedsynthError
from medsynth_cli.runtime.conversion import to_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.files.datasets import Item
    from medsynth_cli.files.records import Failures
    from medsynth_cli.text.vocabulary import Vocabulary
    from medsynth_cli.tokens.vqgan import Vqgan

BATCH = 16
PATCH = 3


@dataclass(frozen=True)
class Word:
    """A word of the codebook: images count for it when their labels hold ``label``."""

    term: str
    side: str
    label: str
    phrase: str


@dataclass(order=True)
class Candidate:
    """A patch that may enter the codebook; the order makes results independent of reading order."""

    score: float
    source: str
    row: int = field(compare=False)
    column: int = field(compare=False)
    codes: NDArray[np.int64] = field(compare=False)
    embedding: NDArray[np.float32] = field(compare=False)


def words(vocabulary: Vocabulary) -> list[Word]:
    """One word a labelled pathology term that names its label best, and one for each of its sides."""
    found = []
    for label, term in vocabulary.primary_terms.items():
        sides = ("", "left", "right") if term.sided else ("",)
        found += [Word(term.key, side, label, f"{side} {term.name}".strip()) for side in sides]
    return found


def build(
    items: Iterable[Item],
    tokenizer: Vqgan,
    aligner: Aligner,
    vocabulary: Vocabulary,
    *,
    k1: int,
    tokenizer_sha256: str,
    failures: Failures,
    advance: Callable[[int], None],
) -> Codebook:
    """Score every patch of every image whose labels fit a word, and keep each word's best ``k1``.

    An image gives a word at most one patch. A word with a side takes patches from that side of the
    patient alone: the patient's left is on the image's right.

    Args:
        items: images with ``labels``.
        tokenizer: writes the codes.
        aligner: scores patches; its grid must be the tokenizer's.
        vocabulary: the words.
        k1: patches a word.
        tokenizer_sha256: stored in the codebook.
        failures: told of unreadable images.
        advance: told of every image read.

    Raises:
        MedsynthError: no image has a label of any word.
    """
    wanted = words(vocabulary)
    device = next(tokenizer.parameters()).device
    heaps: list[list[Candidate]] = [[] for _ in wanted]
    with torch.inference_mode():
        vectors = aligner.encode_words([word.phrase for word in wanted])
        readable = _readable(items, tokenizer.config.resolution_px, failures, advance)
        while batch := list(islice(readable, BATCH)):
            chosen = [(item, image) for item, image in batch if item.meta.get("labels")]
            if not chosen:
                continue
            pixels = to_pixels(np.stack([image for _, image in chosen]), device)
            codes = tokenizer.encode(pixels).cpu().numpy()
            patches = aligner.encode_patches(pixels)
            scores = scores_of(aligner, patches, vectors)
            embeddings = patches.cpu().numpy()
            for i, (item, image) in enumerate(chosen):
                source = hashlib.sha256(image.tobytes()).hexdigest()[:16]
                for number, word in enumerate(wanted):
                    if word.label in item.meta["labels"]:
                        row, column, score = best(scores[i, number], word.side)
                        vector = embeddings[i, :, row + PATCH // 2, column + PATCH // 2]
                        _keep(heaps[number], Candidate(score, source, row, column, codes[i], vector), k1)
    return _assemble(wanted, heaps, tokenizer_sha256)


def scores_of(aligner: Aligner, patches: torch.Tensor, words_WE: torch.Tensor) -> NDArray[np.float32]:
    """Mean score of each patch-sized window: float32 ``(B, W, g - p + 1, g - p + 1)``, by its upper left code."""
    scores = aligner.match(patches, words_WE).float()
    return torch.nn.functional.avg_pool2d(scores, PATCH, stride=1).cpu().numpy()


def best(scores_gg: NDArray[np.float32], side: str) -> tuple[int, int, float]:
    """Upper left code and score of the best patch, on one side of the patient if ``side`` is given."""
    allowed = scores_gg.copy()
    middle = allowed.shape[1] / 2
    centres = np.arange(allowed.shape[1]) + PATCH / 2
    if side == "left":
        allowed[:, centres < middle] = -np.inf
    elif side == "right":
        allowed[:, centres > middle] = -np.inf
    row, column = np.unravel_index(int(allowed.argmax()), allowed.shape)
    return int(row), int(column), float(allowed[row, column])


def _readable(
    items: Iterable[Item], size_px: int, failures: Failures, advance: Callable[[int], None]
) -> Iterator[tuple[Item, NDArray[np.uint8]]]:
    for item in items:
        try:
            yield item, item.pixels(size_px)
        except MedsynthError as error:
            failures.add(error.message, file=item.origin, id=item.id)
        advance(1)


def _keep(heap: list[Candidate], candidate: Candidate, count: int) -> None:
    if len(heap) < count:
        heapq.heappush(heap, candidate)
    elif heap[0] < candidate:
        heapq.heapreplace(heap, candidate)


def _assemble(wanted: list[Word], heaps: list[list[Candidate]], tokenizer_sha256: str) -> Codebook:
    kept = [(word, sorted(heap, reverse=True)) for word, heap in zip(wanted, heaps, strict=True) if heap]
    if not kept:
        raise MedsynthError("no image has a label that the vocabulary knows", "the metadata needs a field labels")
    patches = [candidate for _, candidates in kept for candidate in candidates]
    images = {candidate.source: candidate.codes for candidate in patches}
    number = {source: i for i, source in enumerate(images)}
    return Codebook(
        words=tuple((word.term, word.side) for word, _ in kept),
        starts=np.cumsum([0, *(len(candidates) for _, candidates in kept)]),
        at=np.array([(c.row, c.column) for c in patches]),
        score=np.array([c.score for c in patches], dtype=np.float32),
        image=np.array([number[c.source] for c in patches]),
        codes=np.stack(list(images.values())),
        embedding=np.stack([c.embedding for c in patches]),
        source=tuple(images),
        patch=PATCH,
        sha256="",
        tokenizer_sha256=tokenizer_sha256,
    )
