"""The images that a codebook is built from: those of one shard of the work, in an order that can be repeated."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import datasets, reading

if TYPE_CHECKING:
    from medsynth_cli.files.datasets import Complain, Item
    from medsynth_cli.files.reading import Looked

SHARD = re.compile(r"([0-9]+)/([0-9]+)")


def _ignore(error: MedsynthError) -> None:
    pass


@dataclass(frozen=True)
class Source:
    """Every n-th image of some data.

    Attributes:
        data: what `datasets.read` takes.
        shard: number of the shard, from 1, and of all shards.
        size_px: the centre square is resized to this side.
    """

    data: Sequence[Path]
    shard: tuple[int, int]
    size_px: int

    def count(self) -> int:
        """How many images there are.

        Raises:
            MedsynthError: a source does not exist or holds no image.
        """
        return sum(1 for _ in self._own(_ignore))

    def prefix(self, count: int) -> str:
        """A hash that tells the first ``count`` images by their ids; see `chained`."""
        chain = ""
        for index, (_, item) in enumerate(self._own(_ignore)):
            if index == count:
                break
            chain = chained(chain, item)
        return chain

    def looked(self, start: int, complain: Complain) -> Iterator[tuple[int, Looked]]:
        """Number in the data and image, from the ``start``-th image of the shard on.

        Args:
            start: images that are passed over.
            complain: told of what is damaged before images come of it.
        """
        items = (one for index, one in enumerate(self._own(complain)) if index >= start)
        return reading.look(items, self.size_px)

    def again(self, numbers: set[int]) -> Iterator[tuple[int, Looked]]:
        """Number and image of some images, by their numbers in the data."""
        return reading.look((one for one in self._own(_ignore) if one[0] in numbers), self.size_px)

    def _own(self, complain: Complain) -> Iterator[tuple[int, Item]]:
        which, of = self.shard
        for number, item in enumerate(datasets.read(self.data, complain)):
            if number % of == which - 1:
                yield number, item


def chained(chain: str, item: Item) -> str:
    """The hash of all ids up to this one, from the hash of those before it."""
    return hashlib.sha256(f"{chain}\n{item.id}".encode()).hexdigest()


def parse_shard(text: str) -> tuple[int, int]:
    """``3/8`` as (3, 8).

    Raises:
        MedsynthError: it is no such pair, or there is no such shard.
    """
    match = SHARD.fullmatch(text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise MedsynthError(f"no shard {text!r}", "the first of eight is 1/8, the last 8/8")
    return int(match[1]), int(match[2])


def read_patients(path: Path) -> frozenset[str]:
    """Names of patients, one a line; empty lines and what follows ``#`` are passed over.

    Raises:
        MedsynthError: the file cannot be read, or names nobody.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MedsynthError(f"{path}: {getattr(error, 'strerror', None) or error}", "one patient a line") from error
    names = frozenset(name for line in lines if (name := line.partition("#")[0].strip()))
    if not names:
        raise MedsynthError(f"{path}: names no patient", "one patient a line")
    return names
