"""What readers of public data sets share: entries, parts of a data set, and CSV tables, gzipped or not."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from medsynth_cli.errors import MedsynthError

SPLITS = ("train", "validate", "test")
PROJECTIONS = ("frontal", "lateral")


class Entry(NamedTuple):
    """One image of a data set: its name there, its file, what is known of it."""

    id: str
    path: str
    meta: dict[str, Any]


@dataclass(frozen=True)
class Part:
    """Which images of a data set are wanted: those of an official split, of a projection; None is all."""

    split: str | None = None
    projection: str | None = None


def part(text: str) -> Part:
    """The part that is written ``test``, ``frontal`` or ``test,frontal``.

    Raises:
        MedsynthError: there is no part of that name, or two where there can be one.
    """
    names = [name.strip() for name in text.split(",")]
    splits, projections = ([name for name in names if name in known] for known in (SPLITS, PROJECTIONS))
    if len(splits) > 1 or len(projections) > 1 or len(splits) + len(projections) < len(names):
        known = f"one of {', '.join(SPLITS)}, one of {', '.join(PROJECTIONS)}, or both with a comma"
        raise MedsynthError(f"no part {text!r} of a data set", known)
    return Part(next(iter(splits), None), next(iter(projections), None))


def find(folder: Path, *names: str) -> Path | None:
    """The first of the tables that is in a folder, as it is or gzipped."""
    return next((path for name in names for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def need(folder: Path, *names: str, what: str, hint: str = "") -> Path:
    """The same, where one has to be there.

    Raises:
        MedsynthError: names the tables, and what they are needed for.
    """
    found = find(folder, *names)
    if found is None:
        wanted = " or ".join(f"{name}[.gz]" for name in names)
        raise MedsynthError(f"{folder}: no {wanted} in this folder, which {what}", hint or "copy the table there")
    return found


def rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """Rows of a CSV table, one at a time, empty cells as ``""``.

    Raises:
        MedsynthError: a column is missing, or the file is damaged.
    """
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8", newline="")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig", newline="") as handle
        ):
            reader = csv.DictReader(handle, restval="")
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise MedsynthError(f"{path}: no column {', '.join(missing)}", "take the table as it is published")
            yield from reader
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise MedsynthError(f"{path}: not a readable table ({error})", "take the table as it is published") from error
