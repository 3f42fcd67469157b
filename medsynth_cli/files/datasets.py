"""Images with metadata from WebDataset tar shards, folders with a JSONL or CSV, and single files.

Every item has an id, its encoded image and a metadata mapping with the shared field names
(``patient``, ``sex``, ``age``, ``view``, ``labels``, ``boxes``).
"""

from __future__ import annotations

import csv
import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Item:
    """One image of a data set: ``data`` is the encoded file, ``origin`` says where it came from."""

    id: str
    data: bytes
    origin: str
    meta: dict[str, Any] = field(default_factory=dict)

    def pixels(self, size_px: int | None = None) -> NDArray[np.uint8]:
        """Decode to ``uint8 (H, W)``; see `pixels.decode`."""
        return pixels.decode(self.data, size_px, self.origin)


def read(paths: Iterable[Path]) -> Iterator[Item]:
    """Read the items of shards (``.tar``), folders and image files, in the order given.

    Folders are read in name order; a folder's metadata is its ``*.jsonl`` (``image`` or ``id``
    names the file) or ``*.csv`` with such a column.

    Raises:
        MedsynthError: a path does not exist, or holds nothing that can be read.
    """
    for path in paths:
        if path.is_dir():
            yield from _read_folder(path)
        elif not path.is_file():
            raise MedsynthError(f"{path}: no such file or folder", "name tar shards, image folders or image files")
        elif path.suffix == ".tar":
            yield from _read_shard(path)
        elif path.suffix.lower() in pixels.IMAGE_SUFFIXES:
            yield Item(path.stem, path.read_bytes(), str(path))
        else:
            raise MedsynthError(f"{path}: not a tar shard, an image folder or an image")


def stack(items: Iterable[Item], size_px: int) -> NDArray[np.uint8]:
    """Decode items to one array ``uint8 (N, size_px, size_px)``."""
    arrays = [item.pixels(size_px) for item in items]
    if not arrays:
        raise MedsynthError("the data set holds no image", "check the paths")
    return np.stack(arrays)


def _read_shard(path: Path) -> Iterator[Item]:
    """Read a WebDataset shard: consecutive members that share a stem make one item."""
    try:
        with tarfile.open(path) as shard:
            stem, members = "", dict[str, bytes]()
            for member in shard:
                if not member.isfile():
                    continue
                key, _, suffix = Path(member.name).name.partition(".")
                if key != stem and members:
                    yield from _shard_item(path, stem, members)
                    members = {}
                stem = key
                handle = shard.extractfile(member)
                assert handle is not None
                members["." + suffix.lower()] = handle.read()
            if members:
                yield from _shard_item(path, stem, members)
    except tarfile.TarError as error:
        raise MedsynthError(f"{path}: damaged tar shard ({error})") from error


def _shard_item(path: Path, stem: str, members: dict[str, bytes]) -> Iterator[Item]:
    suffix = next((s for s in pixels.IMAGE_SUFFIXES if s in members), None)
    if suffix is None:
        return
    origin = f"{path}:{stem}{suffix}"
    try:
        meta = json.loads(members.get(".json", b"{}"))
    except ValueError as error:
        raise MedsynthError(f"{path}:{stem}.json: not JSON ({error})") from error
    yield Item(str(meta.get("id", stem)), members[suffix], origin, _plain(meta))


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
        yield Item(str(row.get("id", file.stem)), file.read_bytes(), str(file), _plain(row))


def _folder_metadata(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise MedsynthError(f"{path}:{number}: not JSON ({error})") from error
            yield row | {"key": Path(str(row.get("image") or row.get("id", ""))).name}
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as handle:
            for row in csv.DictReader(handle):
                labels = [part for part in (row.get("labels") or "").split("|") if part]
                yield row | {"labels": labels, "key": Path(row.get("image") or row.get("id") or "").name}
