"""Building a visual codebook: one pass over the images into a pool, then the codes of what was chosen.

The pool is written now and then with the place in the data, so that a killed build goes on from there. The images
of chosen patches are read a second time for their codes: the tokenizer is the slower network, and few images are
chosen. A shard's pool gets the codes of all its images, since merging has no images.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medsynth_cli.alignment import assembly, codebook, pool, scoring, words
from medsynth_cli.alignment.pool import POOL, Pool
from medsynth_cli.alignment.request import refuse_other, settings_of
from medsynth_cli.alignment.sources import Source, chained
from medsynth_cli.errors import MedsynthError
from medsynth_cli.tokens import tokenizer

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from medsynth_cli.alignment.codebook import Codebook
    from medsynth_cli.alignment.request import Request
    from medsynth_cli.files.reading import Looked
    from medsynth_cli.files.records import Failures
    from medsynth_cli.runtime.bundles import Bundle
    from medsynth_cli.runtime.progress import Progress
    from medsynth_cli.text.vocabulary import Vocabulary

CHECKPOINT = "checkpoint.safetensors"
SHARE, EVERY_S = 0.05, 0.5
"""Checkpoints take this share of the time at most, and are this far apart at least."""


@dataclass
class Place:
    """How far a pass has come; what a checkpoint holds beside the pool.

    Attributes:
        position: images of the shard that are done with.
        chain: hash of their ids; see `sources.chained`.
        counts: images that were read, that could not be, and those of excluded patients.
        unreadable: arguments of `Failures.add`.
    """

    position: int = 0
    chain: str = ""
    counts: dict[str, int] = field(default_factory=lambda: {"images": 0, "unreadable": 0, "excluded": 0})
    unreadable: list[dict[str, Any]] = field(default_factory=list)


class Build:
    """A build in a folder.

    Args:
        request: what to build.
        bundle: its tokenizer, aligner and vocabulary are used.
        vocabulary: the words.
        folder: where the codebook, or the pool of a shard, is written.
        device: where the networks compute.
        failures: told of images that cannot be read.
    """

    def __init__(
        self,
        request: Request,
        bundle: Bundle,
        vocabulary: Vocabulary,
        folder: Path,
        device: torch.device,
        failures: Failures,
    ) -> None:
        shape = tokenizer.config(bundle.config(tokenizer.PART))
        self.request, self.folder, self._failures = request, folder, failures
        self.source = Source(request.data, request.shard or (1, 1), shape.resolution_px)
        self._words = words.all_words(vocabulary, request.anatomy)
        self.evidence = words.Evidence(self._words, vocabulary)
        self._settings = settings_of(request, bundle, self._words, device)
        self._bundle, self._device = bundle, device
        self.place = Place()
        self._pool: Pool | None = None

    @property
    def result(self) -> Path:
        """The file that is there when the build is done."""
        return self.folder / (POOL if self.request.shard else codebook.TENSORS)

    def prepare(self, resume: bool, overwrite: bool) -> bool:
        """Look at what is in the folder; False if all is done.

        Raises:
            MedsynthError: the folder holds a codebook, or a build of other settings or data.
        """
        if resume and overwrite:
            raise MedsynthError("--resume and --overwrite exclude each other", "give one of them")
        checkpoint = self.folder / CHECKPOINT
        here = [path for path in (checkpoint, self.result) if path.exists()]
        if not here or overwrite:
            checkpoint.unlink(missing_ok=True)
            return True
        if not resume:
            what = "an unfinished build" if checkpoint.exists() else "a codebook or pool"
            raise MedsynthError(f"{self.folder}: holds {what}", "--resume goes on, --overwrite replaces it")
        if checkpoint in here:
            self._resume(checkpoint)
            return True
        done = pool.load(self.result)[1] if self.request.shard else codebook.load(self.folder).about
        refuse_other(done.get("settings", {}), self._settings, self.result)
        return False

    def run(self, progress: Progress) -> Codebook | Pool:
        """Read the images from where the last checkpoint was, and write the codebook or the shard's pool."""
        scorer, encoder = scoring.load(self._bundle, self._words, not self.request.markers, self._device)
        if self._pool is None:
            self._pool = Pool.empty(len(self._words), self.request.rules.caps, scorer.row_type)
        self._scan(scorer, self._pool, progress)
        self._pool.settle()
        result = self._finish(encoder, self._pool, progress)
        (self.folder / CHECKPOINT).unlink(missing_ok=True)
        return result

    def _resume(self, path: Path) -> None:
        self._pool, about, _ = pool.load(path)
        refuse_other(about["settings"], self._settings, path)
        refuse_other({"shard": about["shard"]}, {"shard": list(self.source.shard)}, path)
        self.place = Place(**about["place"])
        if self.source.prefix(self.place.position) != self.place.chain:
            raise MedsynthError(f"{path}: DATA is not what this build began with", "--overwrite begins again")
        for failure in self.place.unreadable:
            self._failures.add(**failure)

    def _scan(self, scorer: scoring.Scorer, candidates: Pool, progress: Progress) -> None:
        """Score all images that are left."""
        size = min(self.request.batch_size, scorer.rows)
        batch: list[tuple[int, Looked, list[int]]] = []
        saved = time.monotonic()
        looked = self.source.looked(self.place.position, lambda error: self._failures.add(error.message))
        for number, one in looked:
            shown = self._count(one)
            if shown:
                batch.append((number, one, shown))
            if len(batch) == size:
                candidates.add(_candidates(scorer, batch, candidates.floors))
                batch = []
            # A checkpoint lies between batches: all images up to its place are in the pool.
            if not batch and time.monotonic() >= saved + EVERY_S:
                began = time.monotonic()
                self._save(candidates)
                saved = time.monotonic() + (time.monotonic() - began) * (1 / SHARE - 1)
            progress.advance()
        if batch:
            candidates.add(_candidates(scorer, batch, candidates.floors))
        self._save(candidates)

    def _count(self, one: Looked) -> list[int]:
        """Note an image; the words that it counts for."""
        place, item = self.place, one.item
        place.position, place.chain = place.position + 1, chained(place.chain, item)
        if one.image is None:
            place.counts["unreadable"] += 1
            place.unreadable.append({"reason": one.error, "file": item.origin, "id": item.id})
            self._failures.add(**place.unreadable[-1])
            return []
        if str(one.meta.get("patient")) in self.request.excluded:
            place.counts["excluded"] += 1
            return []
        place.counts["images"] += 1
        return self.evidence.of(one.meta)

    def _save(self, candidates: Pool) -> None:
        candidates.settle()
        about = {"settings": self._settings, "shard": list(self.source.shard), "place": asdict(self.place)}
        pool.save(self.folder / CHECKPOINT, candidates, about)

    def _finish(self, encoder: scoring.Encoder, candidates: Pool, progress: Progress) -> Codebook | Pool:
        rules, counts = self.request.rules, self.place.counts
        if self.request.shard:
            codes = self._codes(encoder, candidates.rows, progress)
            about = {"settings": self._settings, "shard": list(self.request.shard), "counts": counts}
            about["chain"] = self.place.chain
            pool.save(self.folder / POOL, candidates, about, codes)
            return candidates
        entries = assembly.chosen(candidates, rules)
        rows = np.concatenate([entries[number].rows for number in assembly.kept(entries, rules)])
        codes = self._codes(encoder, rows, progress)
        named = [(word.term, word.side) for word in self._words]
        built = assembly.assemble(named, entries, rules, codes, self._settings, counts)
        codebook.place(self.folder, built)
        return built

    def _codes(self, encoder: scoring.Encoder, rows: pool.Rows, progress: Progress) -> dict[int, NDArray[np.uint16]]:
        """Codes ``(g, g)`` of the images of candidates."""
        number_of = dict(zip(rows["image"].tolist(), rows["order"].tolist(), strict=True))
        image_of = {number: image for image, number in number_of.items()}
        codes: dict[int, NDArray[np.uint16]] = {}
        progress.restart("writing codes", len(image_of))
        again = self.source.again(set(image_of))
        while batch := list(islice(again, encoder.rows)):
            for number, one in batch:
                if one.image is None or _hash(one.image.tobytes()) != image_of[number]:
                    raise MedsynthError(f"{one.item.origin}: changed during the build", "--overwrite begins again")
            found = encoder(np.stack([one.image for _, one in batch if one.image is not None]))
            codes |= {image_of[number]: own for (number, _), own in zip(batch, found, strict=True)}
            progress.advance(len(batch))
        return codes


def _candidates(
    scorer: scoring.Scorer, batch: list[tuple[int, Looked, list[int]]], floors: NDArray[np.float32]
) -> pool.Rows:
    """Candidates of images, each with its number in the data and the words that it counts for."""
    wanted = np.zeros((len(batch), len(floors)), bool)
    for index, (_, _, shown) in enumerate(batch):
        wanted[index, shown] = True
    images = [one.image for _, one, _ in batch if one.image is not None]
    which, rows = scorer(np.stack(images), wanted, floors)
    hashes = np.array([_hash(image.tobytes()) for image in images], np.uint64)
    rows["image"], rows["order"] = hashes[which], np.array([number for number, _, _ in batch])[which]
    rows["patient"] = np.array([_patient(one) or own for (_, one, _), own in zip(batch, hashes, strict=True)])[which]
    return rows


def _hash(data: bytes) -> int:
    """The first 8 bytes of the SHA-256."""
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big")


def _patient(one: Looked) -> np.uint64 | None:
    """What stands for the patient of an image; data sets number their patients independently of each other."""
    patient = one.meta.get("patient")
    return np.uint64(_hash(f"{one.meta.get('dataset', '')}:{patient}".encode())) if patient else None
