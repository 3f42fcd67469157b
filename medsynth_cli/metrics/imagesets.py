"""Sets of images as evaluation sees them: what is known of each image, and what observers say of it.

The images stay in their files. Each is read once for all observers that are asked for together, and what
they say is kept by the hash of the file, so that a second evaluation reads no image at all. The images of a
set stand in the order of their pixels' hashes: no figure depends on the order or the format of files.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from medsynth_cli.errors import Exit, MedsynthError
from medsynth_cli.files import datasets, reading, records
from medsynth_cli.files.datasets import Item
from medsynth_cli.recognition.observers import BATCH, Observer
from medsynth_cli.runtime.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.files.cache import Cache
    from medsynth_cli.files.records import Failures, Record

RECORDS = "records.jsonl"
CHUNK = 64
"""Batches after which results are kept: what a kill can cost."""


def _sha256(images: torch.Tensor) -> torch.Tensor:
    digests = [hashlib.sha256(image.tobytes()).digest() for image in images.numpy()]
    return torch.from_numpy(np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), -1).copy())


PIXELS = Observer("pixels", "sha256", _sha256, torch.device("cpu"))
"""The hash of an image's pixels, uint8 ``(32,)``."""


class ImageSet:
    """N images, N >= 1.

    Args:
        name: for people.
        meta: what is known of each image: records, or metadata with the shared field names and ``id``.
        results: name of an observer -> what it says, ``(N, D)``; a set without ``items`` knows only these.
        items: where the images are; None if they are not at hand.
        digests: SHA-256 of each file, in the order of ``items``.
        size_px: the centre square of every image is resized to this side.
        cache: where results are kept.
        lost: what is known of further images that could not be read.
    """

    def __init__(
        self,
        name: str,
        meta: Sequence[Record],
        results: dict[str, NDArray[Any]],
        items: Sequence[Item] | None = None,
        digests: Sequence[bytes] = (),
        size_px: int = 0,
        cache: Cache | None = None,
        lost: Sequence[Record] = (),
    ) -> None:
        self.name, self.meta, self.lost = name, meta, lost
        self._results, self._items, self._digests = results, items, digests
        self.size_px, self._cache = size_px, cache

    def __len__(self) -> int:
        return len(self.meta)

    @property
    def at_hand(self) -> bool:
        """Whether the images themselves can be looked at."""
        return self._items is not None

    def observe(self, observers: Iterable[Observer]) -> None:
        """Let observers look at all images, in one pass over the files."""
        missing = [observer for observer in observers if observer.name not in self._results]
        if missing and self._items is None:
            names = ", ".join(observer.name for observer in missing)
            raise MedsynthError(f"{self.name} holds no {names} and no images", "name the images themselves")
        if missing:
            assert self._items is not None
            assert self._cache is not None
            title = f"{self.name}: {', '.join(observer.name for observer in missing)}"
            _look(missing, self._items, self._digests, self.size_px, self._cache, title)
            for observer in missing:
                self._results[observer.name] = _gather(self._cache, _key(observer, self.size_px), self._digests)

    def of(self, observer: Observer) -> NDArray[Any]:
        """What an observer says of each image, ``(N, D)``.

        Raises:
            MedsynthError: it has not looked, and the images are not at hand.
        """
        self.observe([observer])
        return self._results[observer.name]

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """One image, uint8 ``(size_px, size_px)``.

        Raises:
            MedsynthError: the images are not at hand.
        """
        if self._items is None:
            raise MedsynthError(f"{self.name} holds no images", "name the images themselves")
        return self._items[index].pixels(self.size_px)

    def take(self, indices: NDArray[np.integer] | Sequence[int], name: str | None = None) -> ImageSet:
        """The set of some of the images, in the order given."""
        return ImageSet(
            name or self.name,
            [self.meta[i] for i in indices],
            {key: values[indices] for key, values in self._results.items()},
            None if self._items is None else [self._items[i] for i in indices],
            [self._digests[i] for i in indices] if self._digests else (),
            self.size_px,
            self._cache,
        )

    def field(self, name: str) -> list[Any]:
        """A field of every image's metadata, None where it is unknown."""
        return [meta.get(name) for meta in self.meta]

    @functools.cached_property
    def groups(self) -> NDArray[np.int64]:
        """Which images belong together, ``(N,)``: those of a patient, or made from one record.

        They are numbered as they come, so that draws by number do not depend on names.
        """
        number = {name: index for index, name in enumerate(dict.fromkeys(self.owners))}
        return np.array([number[name] for name in self.owners], np.int64)

    @property
    def owners(self) -> list[str]:
        """Names of the patients or records that images belong to."""
        return [str(meta.get("patient") or meta.get("source_id") or meta["id"]) for meta in self.meta]


def read(
    sources: Sequence[str],
    size_px: int,
    failures: Failures,
    cache: Cache,
    observers: Iterable[Observer] = (),
    most: int | None = None,
) -> ImageSet:
    """Open images and let observers look at them.

    Args:
        sources: each ``-`` (image records on stdin), a file of image records (``.jsonl``), a folder that
            ``medsynth generate`` wrote, or whatever `datasets.read` takes.
        size_px: the centre square of every image is resized to this side.
        failures: told of every record and image that cannot be read.
        cache: where results are kept.
        observers: what will be asked for later, so that every image is decoded once.
        most: take this many at most, chosen by their ids.

    Raises:
        MedsynthError: a source does not exist, or no image can be read.
    """
    name = ", ".join(sources)
    items = list(_items(sources, failures))
    if most is not None and most < len(items):
        items = sorted(items, key=lambda item: hashlib.sha256(item.id.encode()).digest())[:most]
    digests = _digests(items, name)
    wanted = [PIXELS, *observers]
    bad = _look(wanted, items, digests, size_px, cache, f"{name}: {', '.join(o.name for o in wanted)}")
    kept = [index for index, digest in enumerate(digests) if digest not in bad]
    lost = sorted(set(range(len(items))) - set(kept))
    for index in lost:
        failures.add(bad[digests[index]], items[index].origin, id=items[index].id)
    if not kept:
        reason = "no image could be read" if len(failures) else "no image in it"
        raise MedsynthError(f"{name}: {reason}", "name generated or real images", Exit.NOTHING_DONE)
    hashes = _gather(cache, _key(PIXELS, size_px), [digests[i] for i in kept])
    order = sorted(range(len(kept)), key=lambda i: (hashes[i].tobytes(), items[kept[i]].id))
    kept = [kept[i] for i in order]
    return ImageSet(
        name,
        [{"id": items[i].id} | items[i].meta for i in kept],
        {PIXELS.name: hashes[order]},
        [items[i] for i in kept],
        [digests[i] for i in kept],
        size_px,
        cache,
        [{"id": items[i].id} | items[i].meta for i in lost],
    )


def _items(sources: Iterable[str], failures: Failures) -> Iterator[Item]:
    for source in sources:
        path = Path(source)
        if source == "-" or path.suffix == ".jsonl":
            yield from _generated(source, failures)
        elif (path / RECORDS).is_file():
            yield from _generated(str(path / RECORDS), failures)
        else:
            yield from datasets.read([path])


def _generated(source: str, failures: Failures) -> Iterator[Item]:
    for record in records.read(source, ("image",), failures):
        path = records.folder_of(source) / record["image"]
        yield Item(record["id"], path.read_bytes, str(path), record)


def _digests(items: Sequence[Item], name: str) -> list[bytes]:
    """SHA-256 of the files; of its place for one that cannot be read, which decoding will report."""

    def digest(item: Item) -> bytes:
        try:
            return hashlib.sha256(item.data()).digest()
        except MedsynthError:
            return hashlib.sha256(f"unreadable {item.origin}".encode()).digest()

    with Progress(f"{name}: hashing", len(items)) as progress, ThreadPoolExecutor(reading.threads()) as pool:
        found = []
        for value in pool.map(digest, items, chunksize=64):
            found.append(value)
            progress.advance()
    return found


def _look(
    observers: Sequence[Observer],
    items: Sequence[Item],
    digests: Sequence[bytes],
    size_px: int,
    cache: Cache,
    title: str,
) -> dict[bytes, str]:
    """Let observers look at every file that they have not seen; return what is wrong with unreadable ones."""
    first = dict(zip(reversed(digests), reversed(items), strict=True))
    unseen = {observer: set(first) for observer in observers}
    for observer, missing in unseen.items():
        missing.difference_update(digest for digest, _ in cache.get(_key(observer, size_px), list(first)))
    todo = [digest for digest in dict.fromkeys(digests) if any(digest in missing for missing in unseen.values())]
    bad: dict[bytes, str] = {}
    if not todo:
        return bad
    with Progress(title, len(todo)) as progress:
        for chunk in _chunks(todo, BATCH * CHUNK):
            found: dict[Observer, dict[bytes, NDArray[Any]]] = {observer: {} for observer in observers}
            for batch, images, wrong in _decoded(chunk, first, size_px):
                bad |= wrong
                for observer, missing in unseen.items():
                    wanted = [index for index, digest in enumerate(batch) if digest in missing]
                    if wanted:
                        said = observer.batch(images[wanted])
                        found[observer] |= {batch[index]: row for index, row in zip(wanted, said, strict=True)}
                progress.advance(len(batch) + len(wrong))
            for observer, rows in found.items():
                cache.put(_key(observer, size_px), rows)
    return bad


def _decoded(
    digests: Sequence[bytes], items: dict[bytes, Item], size_px: int
) -> Iterator[tuple[list[bytes], NDArray[np.uint8], dict[bytes, str]]]:
    """Batches of decoded images, with what is wrong with those that could not be decoded."""
    looked = reading.look(((digest, items[digest]) for digest in digests), size_px)
    while batch := list(islice(looked, BATCH)):
        wrong = {digest: one.error for digest, one in batch if one.image is None}
        good = [(digest, one.image) for digest, one in batch if one.image is not None]
        images = np.stack([image for _, image in good]) if good else np.empty((0, 0, 0), np.uint8)
        yield [digest for digest, _ in good], images, wrong


def _gather(cache: Cache, key: str, digests: Sequence[bytes]) -> NDArray[Any]:
    """Results by digest as one array ``(N, D)``."""
    places: dict[bytes, list[int]] = {}
    for index, digest in enumerate(digests):
        places.setdefault(digest, []).append(index)
    gathered: NDArray[Any] | None = None
    for digest, row in cache.get(key, list(places)):
        if gathered is None:
            gathered = np.empty((len(digests), len(row)), row.dtype)
        gathered[places[digest]] = row
    assert gathered is not None
    return gathered


def _chunks(values: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    return (values[start : start + size] for start in range(0, len(values), size))


def _key(observer: Observer, size_px: int) -> str:
    return f"{observer.key}-{size_px}"
