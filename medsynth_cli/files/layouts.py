"""Layouts of public data sets: folders that are recognised by what lies in them, and read by their own tables.

A part of such a folder is written behind it: ``mimic:test``, ``mimic:test,frontal``, ``openi:frontal``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import mimic, openi, tables
from medsynth_cli.files.tables import Entry, Part


class Layout(NamedTuple):
    """How a layout is recognised and read."""

    is_here: Callable[[Path], bool]
    read: Callable[[Path, Part], Iterator[Entry]]


LAYOUTS = {
    mimic.DICOM: Layout(mimic.is_dicom, mimic.read_dicom),
    mimic.JPG: Layout(mimic.is_jpg, mimic.read_jpg),
    openi.KAGGLE: Layout(openi.is_kaggle, openi.read_kaggle),
    openi.XML: Layout(openi.is_xml, openi.read_xml),
}
"""Name of a layout -> the layout; the first that is recognised is read."""


def split(name: str) -> tuple[Path, str | None]:
    """The folder and the part of ``FOLDER:PART``; what exists as it is written has no part."""
    path = Path(name)
    folder, colon, part = name.rpartition(":")
    return (path, None) if path.exists() or not colon or not Path(folder).is_dir() else (Path(folder), part)


def detect(folder: Path) -> str | None:
    """Name of the layout that a folder has, None for any other folder or file."""
    if not folder.is_dir():
        return None
    return next((name for name, layout in LAYOUTS.items() if layout.is_here(folder)), None)


def read(path: Path) -> Iterator[Entry] | None:
    """The images of a folder that has a known layout, or of its part; None for anything else.

    Images come as tables name them, one at a time; their files are not looked for.

    Raises:
        MedsynthError: there is no such part, a table is missing, or, while reading, a table is damaged.
    """
    folder, part = split(str(path))
    layout = detect(folder)
    if layout is not None:
        return _read(folder, layout, tables.part(part) if part is not None else Part())
    if part is not None:
        raise MedsynthError(f"{folder}: not a data set with parts such as {part!r}", f"known: {', '.join(LAYOUTS)}")
    return None


def _read(folder: Path, layout: str, part: Part) -> Iterator[Entry]:
    empty = True
    for entry in LAYOUTS[layout].read(folder, part):
        empty = False
        yield entry
    if empty:
        raise MedsynthError(f"{folder}: the tables of {layout} name no image of this part", "check the tables")
