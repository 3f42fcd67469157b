"""Images with metadata from WebDataset tar shards, folders with a JSONL or CSV, tables, public data sets and files.

Every item has an id, a way to its encoded image and a metadata mapping with the shared field names
(``patient``, ``sex``, ``age``, ``view``, ``labels``, ``boxes``). Images stay in their files until they are
asked for, so that a list of items is small.
"""

from __future__ import annotations

import csv
import functools
import json
import os
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import dicom_header, layouts, pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray


IMAGE_COLUMNS = ("image", "img_savename", "id")
"""Columns and fields that may name the image file; CheXGenBench calls it ``img_savename``."""
Complain = Callable[[MedsynthError], None]
"""Told what is wrong with a part of a data set that is then left out."""


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

    def look(self, size_px: int | None = None) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Pixels as from `pixels`, and the metadata with what a DICOM header adds to it."""
        data = self.data()
        found = {name: value for name, value in self.meta.items() if value is not None}
        meta = dicom_header.read(data, self.origin) | found if dicom_header.is_dicom(data) else self.meta
        return pixels.decode(data, size_px, self.origin), meta


def _refuse(error: MedsynthError) -> None:
    raise error


def read(paths: Iterable[Path], complain: Complain = _refuse) -> Iterator[Item]:
    """Read the items of shards (``.tar``), folders, tables (``.csv``) and image files, in the order given.

    Folders are read in name order; a folder's metadata is its ``*.jsonl`` or ``*.csv``, where a field of
    `IMAGE_COLUMNS` names the file. The files of a table lie in its folder or below. A folder with one of the layouts
    in `layouts.LAYOUTS`, or a part of it (``mimic:test``), is read by its own tables, in their order. DICOM files are
    found by what they begin with, so that they need no suffix.

    Args:
        paths: what to read.
        complain: told of damaged shards and lines of metadata; what can be read of them is read. By default the
            first one is raised.

    Raises:
        MedsynthError: a path does not exist, or holds nothing that can be read.
    """
    for path in paths:
        entries = layouts.read(path)
        if entries is not None:
            yield from (Item(e.id, functools.partial(_read_file, e.path), e.path, e.meta) for e in entries)
        elif path.is_dir():
            yield from _read_folder(path, complain)
        elif not path.is_file():
            raise MedsynthError(f"{path}: no such file or folder", "name tar shards, image folders or image files")
        elif path.suffix == ".tar":
            yield from _read_shard(path, complain)
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


def _read_shard(path: Path, complain: Complain) -> Iterator[Item]:
    """Read a WebDataset shard: consecutive members that share a stem make one item."""
    try:
        with tarfile.open(path, "r:") as shard:
            stem, members = "", dict[str, tarfile.TarInfo]()
            for member in shard:
                shard.members = []  # type: ignore[attr-defined] # it would grow with the shard
                if not member.isfile():
                    continue
                key, _, suffix = Path(member.name).name.partition(".")
                if key != stem and members:
                    yield from _shard_item(path, shard, stem, members, complain)
                    members = {}
                stem = key
                members["." + suffix.lower()] = member
            if members:
                yield from _shard_item(path, shard, stem, members, complain)
            _check_end(path, shard)
    except tarfile.TarError as error:
        complain(MedsynthError(f"{path}: damaged or compressed tar shard ({error})", "copy or pack it again"))


def _check_end(path: Path, shard: tarfile.TarFile) -> None:
    """Refuse a shard that does not end with a block of zeros: `tarfile` takes any damaged header for the end."""
    block = _read_part(path, shard.offset, tarfile.BLOCKSIZE)
    if block.strip(b"\0"):
        raise tarfile.ReadError(f"no header at byte {shard.offset}")


def _shard_item(
    path: Path, shard: tarfile.TarFile, stem: str, members: dict[str, tarfile.TarInfo], complain: Complain
) -> Iterator[Item]:
    suffix = next((s for s in pixels.IMAGE_SUFFIXES if s in members), None)
    if suffix is None:
        return
    image, meta = members[suffix], {}
    if ".json" in members:
        handle = shard.extractfile(members[".json"])
        assert handle is not None
        try:
            meta = _mapping(handle.read())
        except ValueError as error:
            complain(MedsynthError(f"{path}:{stem}.json: not JSON ({error})"))
            return
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


def _read_folder(folder: Path, complain: Complain) -> Iterator[Item]:
    meta = _by_file(_folder_metadata(folder, complain))
    empty = True
    for shard in sorted(folder.glob("*.tar")):
        empty = False
        yield from _read_shard(shard, complain)
    for file in _images(str(folder)):
        empty = False
        name, inside = os.path.basename(file), os.path.relpath(file, folder)
        stem = os.path.splitext(name)[0]
        row = next((meta[key] for key in (inside, name, stem) if key in meta), {})
        yield Item(str(row.get("id", stem)), functools.partial(_read_file, file), file, _plain(row))
    if empty:
        raise MedsynthError(f"{folder}: no image and no tar shard in this folder")


def _by_file(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Rows by the path that they name, and by its last part where that is the only one of its name."""
    by_path = {row["key"]: row for row in rows}
    names = Counter(os.path.basename(path) for path in by_path)
    return {os.path.basename(p): row for p, row in by_path.items() if names[os.path.basename(p)] == 1} | by_path


def _images(folder: str) -> Iterator[str]:
    """Image files of a folder and those below it, in name order; one folder is listed at a time."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _images(entry.path)
        elif _is_image(entry):
            yield entry.path


def _is_image(entry: os.DirEntry[str]) -> bool:
    """Whether a file is named as an image, or has no suffix and begins like a DICOM file."""
    suffix = os.path.splitext(entry.name)[1].lower()
    if suffix in pixels.IMAGE_SUFFIXES:
        return True
    # Scanners name files by UID or number, such as IM000001 or 1.2.840.113619: what follows a dot is a number.
    if suffix.strip(".0123456789") or not entry.is_file():
        return False
    with open(entry.path, "rb") as handle:
        return dicom_header.is_dicom(handle.read(dicom_header.BEGINS))


def _read_table(path: Path) -> Iterator[Item]:
    for row in _rows(path):
        if not row["key"]:
            raise MedsynthError(f"{path}: no column that names the images", f"one of: {', '.join(IMAGE_COLUMNS)}")
        file = path.parent / str(next(row[name] for name in IMAGE_COLUMNS if row.get(name)))
        yield Item(str(row.get("id", file.stem)), file.read_bytes, str(file), _plain(row))


def _folder_metadata(folder: Path, complain: Complain) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            try:
                row = _mapping(line)
            except ValueError as error:
                complain(MedsynthError(f"{path}:{number}: not JSON ({error})"))
                continue
            yield row | {"key": _key(row)}
    for path in sorted(folder.glob("*.csv")):
        yield from _rows(path)


def _mapping(text: str | bytes) -> dict[str, Any]:
    """The JSON object in a text; ValueError if it is none."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a CSV with ``key``, the name of the image file; empty cells are left out, labels are a list."""
    with path.open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            known: dict[str, Any] = {name: value for name, value in row.items() if value}
            if "labels" in row:
                known["labels"] = [part for part in (row["labels"] or "").split("|") if part]
            yield known | {"key": _key(known)}


def _key(row: dict[str, Any]) -> str:
    """The file that a row names, as a path inside the folder."""
    named = next((row[name] for name in IMAGE_COLUMNS if row.get(name)), "")
    return os.path.normpath(str(named)) if named else ""
