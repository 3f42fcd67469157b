"""Images with metadata from WebDataset tar shards, folders with a JSONL or CSV, tables, public data sets and files.

Every item has an id, a way to its encoded image and a metadata mapping with the shared field names
(``patient``, ``sex``, ``age``, ``view``, ``labels``, ``boxes``). Images stay in their files until they are
asked for, so that a list of items is small.
"""

from __future__ import annotations

import csv
import functools
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import layouts, pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray


IMAGE_COLUMNS = ("image", "img_savename", "id")
"""Columns and fields that may name the image file; CheXGenBench calls it ``img_savename``."""


@dataclass(frozen=True)
class Item:
    """One image of a data set.

    Attributes:
        id: its name in the data set.
        read: reads the encoded file; raises OSError or MedsynthError.
        origin: where it comes from, for people.
        meta: what is known about it.
    """

    id: str
    read: Callable[[], bytes]
    origin: str
    meta: dict[str, Any] = field(default_factory=dict)

    def data(self) -> bytes:
        """The encoded file.

        Raises:
            MedsynthError: it cannot be read.
        """
        try:
            return self.read()
        except OSError as error:
            raise MedsynthError(f"{self.origin}: {error.strerror or error}", "check the path") from error

    def pixels(self, size_px: int | None = None) -> NDArray[np.uint8]:
        """Decode to ``uint8 (H, W)``; see `pixels.decode`."""
        return pixels.decode(self.data(), size_px, self.origin)


def read(paths: Iterable[Path]) -> Iterator[Item]:
    """Read the items of shards (``.tar``), folders, tables (``.csv``) and image files, in the order given.

    Folders are read in name order; a folder's metadata is its ``*.jsonl`` or ``*.csv``, where a field of
    `IMAGE_COLUMNS` names the file. The files of a table lie in its folder or below. A folder with one of the layouts
    in `layouts.LAYOUTS`, or a part of it (``mimic:test``), is read by its own tables, in their order.

    Raises:
        MedsynthError: a path does not exist, or holds nothing that can be read.
    """
    for path in paths:
        entries = layouts.read(path)
        if entries is not None:
            yield from (Item(e.id, functools.partial(_read_file, e.path), e.path, e.meta) for e in entries)
        elif path.is_dir():
            yield from _read_folder(path)
        elif not path.is_file():
            raise MedsynthError(f"{path}: no such file or folder", "name tar shards, image folders or image files")
        elif path.suffix == ".tar":
            yield from _read_shard(path)
        elif path.suffix.lower() == ".csv":
            yield from _read_table(path)
        elif path.suffix.lower() in pixels.IMAGE_SUFFIXES:
            yield Item(path.stem, path.read_bytes, str(path))
        else:
            raise MedsynthError(f"{path}: not a tar shard, an image folder, a CSV or an image")


def stack(items: Iterable[Item], size_px: int) -> NDArray[np.uint8]:
    """Decode items to one array ``uint8 (N, size_px, size_px)``."""
    arrays = [item.pixels(size_px) for item in items]
    if not arrays:
        raise MedsynthError("the data set holds no image", "check the paths")
    return np.stack(arrays)


def _read_shard(path: Path) -> Iterator[Item]:
    """Read a WebDataset shard: consecutive members that share a stem make one item."""
    try:
        with tarfile.open(path, "r:") as shard:
            stem, members = "", dict[str, tarfile.TarInfo]()
            for member in shard:
                if not member.isfile():
                    continue
                key, _, suffix = Path(member.name).name.partition(".")
                if key != stem and members:
                    yield from _shard_item(path, shard, stem, members)
                    members = {}
                stem = key
                members["." + suffix.lower()] = member
            if members:
                yield from _shard_item(path, shard, stem, members)
    except tarfile.TarError as error:
        raise MedsynthError(f"{path}: damaged or compressed tar shard ({error})") from error


def _shard_item(path: Path, shard: tarfile.TarFile, stem: str, members: dict[str, tarfile.TarInfo]) -> Iterator[Item]:
    suffix = next((s for s in pixels.IMAGE_SUFFIXES if s in members), None)
    if suffix is None:
        return
    image, meta = members[suffix], {}
    if ".json" in members:
        handle = shard.extractfile(members[".json"])
        assert handle is not None
        try:
            meta = json.loads(handle.read())
        except ValueError as error:
            raise MedsynthError(f"{path}:{stem}.json: not JSON ({error})") from error
    read = functools.partial(_read_part, path, image.offset_data, image.size)
    yield Item(str(meta.get("id", stem)), read, f"{path}:{stem}{suffix}", _plain(meta))


def _read_file(path: str) -> bytes:
    """The bytes of a file; the path stays text, since a `Path` takes several times the memory."""
    return Path(path).read_bytes()


def _read_part(path: Path, offset: int, size: int) -> bytes:
    """The bytes of a member of a shard."""
    with path.open("rb") as handle:
        handle.seek(offset)
        return handle.read(size)


def _plain(meta: dict[str, Any]) -> dict[str, Any]:
    """Metadata with label names written as ChestX-ray14's own table does, with underscores."""
    plain = dict(meta)
    if meta.get("labels"):
        plain["labels"] = [str(label).replace(" ", "_") for label in meta["labels"]]
    if meta.get("boxes"):
        plain["boxes"] = [box | {"label": str(box["label"]).replace(" ", "_")} for box in meta["boxes"]]
    return plain


def _read_folder(folder: Path) -> Iterator[Item]:
    meta = {row["key"]: row for row in _folder_metadata(folder)}
    shards = sorted(folder.glob("*.tar"))
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in pixels.IMAGE_SUFFIXES)
    if not files and not shards:
        raise MedsynthError(f"{folder}: no image and no tar shard in this folder")
    for shard in shards:
        yield from _read_shard(shard)
    for file in files:
        row = meta.get(file.name) or meta.get(file.stem) or {}
        yield Item(str(row.get("id", file.stem)), file.read_bytes, str(file), _plain(row))


def _read_table(path: Path) -> Iterator[Item]:
    for row in _rows(path):
        if not row["key"]:
            raise MedsynthError(f"{path}: no column that names the images", f"one of: {', '.join(IMAGE_COLUMNS)}")
        file = path.parent / str(next(row[name] for name in IMAGE_COLUMNS if row.get(name)))
        yield Item(str(row.get("id", file.stem)), file.read_bytes, str(file), _plain(row))


def _folder_metadata(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise MedsynthError(f"{path}:{number}: not JSON ({error})") from error
            yield row | {"key": _key(row)}
    for path in sorted(folder.glob("*.csv")):
        yield from _rows(path)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a CSV with ``key``, the name of the image file; empty cells are left out, labels are a list."""
    with path.open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            known: dict[str, Any] = {name: value for name, value in row.items() if value}
            if "labels" in row:
                known["labels"] = [part for part in (row["labels"] or "").split("|") if part]
            yield known | {"key": _key(known)}


def _key(row: dict[str, Any]) -> str:
    return Path(str(next((row[name] for name in IMAGE_COLUMNS if row.get(name)), ""))).name
