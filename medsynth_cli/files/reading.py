"""Images decoded ahead of time by threads, in the order in which they were asked for."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from medsynth_cli.errors import MedsynthError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medsynth_cli.files.datasets import Item

AHEAD = 64
"""Images that are decoded while the networks look at others."""
Key = TypeVar("Key")


class Looked(NamedTuple):
    """An image that was read, or what is wrong with it.

    Attributes:
        item: where it comes from.
        image: ``uint8 (size_px, size_px)``; None if it could not be read.
        meta: its metadata, with what a DICOM header adds.
        error: why it could not be read; empty if it could.
    """

    item: Item
    image: NDArray[np.uint8] | None
    meta: dict[str, Any]
    error: str


def threads() -> int:
    """How many threads read files."""
    return max(2, os.cpu_count() or 1)


def look(items: Iterable[tuple[Key, Item]], size_px: int) -> Iterator[tuple[Key, Looked]]:
    """Read and decode items, in their order; see `datasets.Item.look`.

    Args:
        items: each with whatever tells it from the others.
        size_px: the centre square is resized to this side.
    """

    def one(item: Item) -> Looked:
        try:
            return Looked(item, *item.look(size_px), "")
        except MedsynthError as error:
            return Looked(item, None, item.meta, error.message)

    waiting: deque[tuple[Key, Future[Looked]]] = deque()
    with ThreadPoolExecutor(threads()) as pool:
        for key, item in items:
            waiting.append((key, pool.submit(one, item)))
            if len(waiting) > AHEAD:
                key, future = waiting.popleft()
                yield key, future.result()
        for key, future in waiting:
            yield key, future.result()
