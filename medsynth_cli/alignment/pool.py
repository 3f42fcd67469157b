"""The pool: for each word the best candidates seen so far, in memory that does not grow with the images.

A candidate is the best window of an image for a word. Of all candidates X of a word the pool keeps T(X): no window
twice from the same image of a patient, at most Q of a patient, at most K in all, better ones first. Quality control
then chooses the patches of the codebook from T(X), which holds several times as many.

Why any order of reading, any batches, shards and interruptions give the same pool: "one of an image, Q of a patient,
K in all" are caps on nested sets, so that the sets of candidates that keep them are the independent sets of a laminar
matroid, and T(X), which takes candidates in their order unless a cap is reached, is its best basis. Whatever T
leaves out of a part A of X is spanned by better candidates of A, hence by better ones of X, hence is not in T(X).
So T(A ∪ B) = T(T(A) ∪ T(B)) for all A and B: nothing that is left out early is missed later. The order is total
(score, hash of the image, patient), so there is one best basis. The same holds for the filter in front of the pool:
a candidate that K kept ones are better than is in no T(X).

This is why near-duplicates, which are no such cap, are removed at the end, from the pool. Where an entry comes out
short because the pool was full, `quality.choose` says so.

A shard's pool and a checkpoint are the same kind of file: the columns of `row_type` and a JSON object ``about``. The
former has the codes of its images as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import atomic

if TYPE_CHECKING:
    from numpy.typing import NDArray

POOL = "pool.safetensors"
MARGIN, CELL = 1, 4
"""Pixels around a thumbnail, and pixels a code, in a thumbnail."""
WAITING = 4096
"""Candidates that wait to be sorted into the pool, at least."""
META = "pool"
"""The one key of the file's metadata."""
Rows = np.ndarray[Any, np.dtype[np.void]]


@dataclass(frozen=True)
class Caps:
    """The most candidates of a word, and those of one patient among them: K and Q."""

    word: int
    patient: int


def row_type(patch: int, embedding: int) -> np.dtype[np.void]:
    """A candidate: columns of the pool.

    word: its number. score: cosine. image: first 8 bytes of the SHA-256 of the pixels. patient: the same of the
    patient's name, or of the image where it is unknown. order: number of the image in the data. at: row and column of
    the upper left code. thumbnail: gray values of the window and `MARGIN` around it, `CELL` a code. vector: its
    embedding.
    """
    side = patch * CELL + 2 * MARGIN
    return np.dtype(
        [
            ("word", "<i4"),
            ("score", "<f4"),
            ("image", "<u8"),
            ("patient", "<u8"),
            ("order", "<i8"),
            ("at", "u1", (2,)),
            ("thumbnail", "u1", (side, side)),
            ("vector", "<f2", (embedding,)),
        ]
    )


@dataclass
class Pool:
    """The best candidates so far.

    Attributes:
        caps: how many are kept.
        rows: those that were sorted in, by word, best first; see `row_type`.
        floors: float32 ``(words,)``: candidates with a lower score need not be added.
    """

    caps: Caps
    rows: Rows
    floors: NDArray[np.float32]
    _waiting: list[Rows] = field(default_factory=list)

    @classmethod
    def empty(cls, words: int, caps: Caps, dtype: np.dtype[np.void]) -> Pool:
        """A pool without candidates."""
        return cls(caps, np.empty(0, dtype), np.full(words, -np.inf, np.float32))

    def add(self, rows: Rows) -> None:
        """Add candidates; now and then those that are too many are dropped."""
        if len(rows):
            self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= max(WAITING, len(self.rows) // 2):
            self.settle()

    def settle(self) -> None:
        """Sort in what waits."""
        self.rows = best_of(np.concatenate([self.rows, *self._waiting]), self.caps)
        self._waiting = []
        counts = np.bincount(self.rows["word"], minlength=len(self.floors))
        full = counts >= self.caps.word
        self.floors[full] = self.rows["score"][np.cumsum(counts)[full] - 1]

    def of_word(self, number: int) -> Rows:
        """The candidates of a word, best first."""
        start, end = np.searchsorted(self.rows["word"], [number, number + 1])
        return self.rows[start:end]


def best_of(rows: Rows, caps: Caps) -> Rows:
    """T: the candidates that are kept, by word, best first. Its own output is unchanged by it."""
    names = ("order", "patient", "image", "score", "word")
    rows = rows[np.lexsort([-rows[name] if name == "score" else rows[name] for name in names])]
    same = np.ones(len(rows), bool)
    for name in ("word", "score", "image", "patient"):
        same[1:] &= rows[name][1:] == rows[name][:-1]
    same[:1] = False
    rows = rows[~same]
    rows = rows[_rank(rows["word"], rows["patient"]) < caps.patient]
    return rows[_rank(rows["word"]) < caps.word]


def _rank(*keys: NDArray[Any]) -> NDArray[np.int64]:
    """How many rows before each have the same keys."""
    order = np.lexsort(keys[::-1])
    begins = np.ones(len(order), bool)
    begins[1:] = np.any([key[order][1:] != key[order][:-1] for key in keys], axis=0)
    place = np.arange(len(order))
    first = np.maximum.accumulate(np.where(begins, place, 0))
    rank = np.empty(len(order), np.int64)
    rank[order] = place - first
    return rank


def save(path: Path, pool: Pool, about: dict[str, Any], codes: dict[int, NDArray[np.uint16]] | None = None) -> None:
    """Write a pool; the file appears only when complete.

    Args:
        path: the file.
        pool: settled.
        about: JSON values.
        codes: image -> its codes ``(g, g)``, for all images of the pool; None for a checkpoint.
    """
    from safetensors.numpy import save as to_bytes

    columns = {name: np.ascontiguousarray(pool.rows[name]) for name in pool.rows.dtype.names or ()}
    if codes:
        columns["images"] = np.array(sorted(codes), np.uint64)
        columns["codes"] = np.stack([codes[image] for image in sorted(codes)])
    meta = {"about": about, "caps": [pool.caps.word, pool.caps.patient], "words": len(pool.floors)}
    atomic.write_bytes(path, to_bytes(columns, metadata={META: json.dumps(meta, sort_keys=True)}))


def load(path: Path) -> tuple[Pool, dict[str, Any], dict[int, NDArray[np.uint16]]]:
    """Read what `save` wrote: the pool, ``about`` and the codes, none of a checkpoint.

    Raises:
        MedsynthError: there is no such file, or it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise MedsynthError(f"{path}: no such pool", "medsynth codebook build DATA -o DIR --shard i/n writes one")
    try:
        with safe_open(path, framework="numpy") as handle:
            meta, column = json.loads(handle.metadata()[META]), handle.get_tensor
            side, embedding = column("thumbnail").shape[-1], column("vector").shape[-1]
            rows = np.empty(len(column("word")), row_type((side - 2 * MARGIN) // CELL, embedding))
            for name in rows.dtype.names or ():
                rows[name] = column(name)
            codes = {}
            if "images" in handle.keys():  # noqa: SIM118 (no mapping)
                codes = dict(zip(column("images").tolist(), column("codes"), strict=True))
            pool = Pool(Caps(*meta["caps"]), rows, np.full(meta["words"], -np.inf, np.float32))
            pool.settle()
            return pool, meta["about"], codes
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise MedsynthError(f"{path}: not a pool of candidates ({error})", "build it again") from error


def merged(pools: Iterable[tuple[Pool, dict[int, NDArray[np.uint16]]]]) -> tuple[Pool, dict[int, NDArray[np.uint16]]]:
    """The pool and codes of all candidates of several pools with the same words and caps; one at least."""
    whole: Pool | None = None
    kept: dict[int, NDArray[np.uint16]] = {}
    for pool, codes in pools:
        if whole is None:
            whole, kept = pool, codes
            continue
        whole.add(pool.rows)
        whole.settle()
        alive = set(whole.rows["image"].tolist())
        kept = {image: own for image, own in (kept | codes).items() if image in alive}
    assert whole is not None
    return whole, kept
