"""The images that evaluation looks at: generated ones with their records, and real ones with their metadata."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medsynth_cli.errors import Exit, MedsynthError
from medsynth_cli.files import datasets, pixels, records
from medsynth_cli.runtime.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.files.records import Failures, Record

RECORDS = "records.jsonl"


def read(sources: Sequence[str], size_px: int, failures: Failures) -> tuple[NDArray[np.uint8], list[Record]]:
    """Read images and what is known about them.

    Args:
        sources: each ``-`` (image records on stdin), a file of image records (``.jsonl``), a folder that
            ``medsynth generate`` wrote, a folder of images, a tar shard or an image.
        size_px: the centre square of every image is resized to this side.
        failures: told of every record and image that cannot be read.

    Returns:
        uint8 ``(N, size_px, size_px)``, N >= 1, and N records.

    Raises:
        MedsynthError: a source does not exist, or no image can be read.
    """
    images, kept = [], []
    with Progress("reading images") as progress:
        for record, read_pixels, origin in _all(sources, failures):
            try:
                images.append(read_pixels(size_px))
            except MedsynthError as error:
                failures.add(error.message, origin, id=record["id"])
                continue
            kept.append(record)
            progress.advance()
    if not images:
        reason = "no image could be read" if len(failures) else "no image in it"
        raise MedsynthError(f"{', '.join(sources)}: {reason}", "name generated or real images", Exit.NOTHING_DONE)
    return np.stack(images), kept


def _all(sources: Iterable[str], failures: Failures) -> Iterator[tuple[Record, Callable[[int], NDArray], str]]:
    for source in sources:
        path = Path(source)
        if source == "-" or path.suffix == ".jsonl":
            yield from _generated(source, Path() if source == "-" else path.parent, failures)
        elif (path / RECORDS).is_file():
            yield from _generated(str(path / RECORDS), path, failures)
        else:
            for item in datasets.read([path]):
                yield {"id": item.id} | item.meta, item.pixels, item.origin


def _generated(source: str, folder: Path, failures: Failures) -> Iterator[tuple[Record, Callable[[int], NDArray], str]]:
    """Image records; a relative path resolves against the records file's folder, on stdin against the working one."""
    for record in records.read(source, ("image",), failures):
        path = folder / record["image"]
        yield record, functools.partial(pixels.read, path), str(path)
