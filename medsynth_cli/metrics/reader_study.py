"""A reader study on disk: a folder that can be handed to a reader as it is, and the key beside it.

Nothing in the folder but the pixels tells real from synthetic: images are square, of one size, stored by one encoder
without compression, so that their files are equally long, and bear names and times that say nothing.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import jinja2

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import atomic, pixels, records
from medsynth_cli.files.records import Failures, Record
from medsynth_cli.metrics.reader_cases import Case

KIND = "reader-case"
PAGE, SHEET, ADVICE, IMAGES = "index.html", "answers.csv", "README.txt", "images"
COLUMNS = ("case", "answer", "confidence", "comment")
CONFIDENCE = range(1, 6)
WRITTEN = 946_684_800
"""Modification time of every file, 2000-01-01 UTC: a time of its own could tell the order of making."""


def key_path(folder: Path) -> Path:
    """Where the key of a study is: beside the folder, so that it is not handed over with it."""
    named = folder if folder.name not in ("", "..") else folder.resolve()
    return named.with_name(f"{named.name}.key.jsonl")


def check(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that a study cannot be written to, before any work.

    Raises:
        MedsynthError: it or its key is there and may not be replaced, or it holds what no study has written.
    """
    key = key_path(folder)
    if folder.exists() and not folder.is_dir():
        raise MedsynthError(f"{folder}: is a file, not a folder", "choose another folder with --reader-study")
    if key.exists() and not overwrite:
        raise MedsynthError(f"{key}: the key of a study that answers may still come for", "--overwrite, or another DIR")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not key.exists():
        raise MedsynthError(f"{folder}: holds files, but has no key {key.name} beside it", "choose another folder")
    sheet = folder / SHEET
    if sheet.exists() and sheet.read_bytes() != _sheet([case["id"] for case in read_key(folder)]).encode():
        raise MedsynthError(f"{sheet}: holds answers", "move it away, or choose another folder")


def write(cases: Sequence[Case], folder: Path) -> Path:
    """Write the folder and its key, over what an earlier study left there; return the path of the key.

    Args:
        cases: in the order in which they are shown.
        folder: one that `check` has let pass.
    """
    names = [f"case-{number:03d}" for number in range(1, len(cases) + 1)]
    files = {name: pixels.encode_png(case.pixels, compress_level=0) for name, case in zip(names, cases, strict=True)}
    if key_path(folder).exists():
        for earlier in read_key(folder):
            (folder / IMAGES / f"{earlier['id']}.png").unlink(missing_ok=True)
    # The key comes first: without it, a folder that a kill left half written could not be overwritten.
    key = [_key_line(name, case, files[name]) for name, case in zip(names, cases, strict=True)]
    atomic.write_text(key_path(folder), "".join(f"{records.dumps(line)}\n" for line in key))
    study = hashlib.sha256("".join(str(line["sha256"]) for line in key).encode()).hexdigest()
    for name, data in files.items():
        _write(folder / IMAGES / f"{name}.png", data)
    uris = {name: f"data:image/png;base64,{base64.b64encode(data).decode()}" for name, data in files.items()}
    page = _template("reader_study.html").render(
        study=study[:16], images=uris, size_px=len(cases[0].pixels), columns=COLUMNS, confidence=CONFIDENCE, sheet=SHEET
    )
    _write(folder / PAGE, page.encode())
    _write(folder / SHEET, _sheet(names).encode())
    _write(folder / ADVICE, _template("reader_study.txt").render(count=len(cases)).encode())
    return key_path(folder)


def read_key(folder: Path) -> list[Record]:
    """The key of a study, a record of kind ``reader-case`` for each case.

    Raises:
        MedsynthError: there is none, or it is damaged.
    """
    path = key_path(folder)
    if not path.is_file():
        raise MedsynthError(f"{path}: no such key", "it lies beside the folder that --reader-study wrote")
    key = list(records.read(str(path), (KIND,), failures := Failures()))
    if len(failures) or not key:
        raise MedsynthError(f"{path}: damaged key", "without its key a study cannot be scored")
    return key


def _key_line(name: str, case: Case, data: bytes) -> Record:
    line = {"kind": KIND, "id": name, "truth": case.truth, "image_id": case.image_id}
    known = {} if case.labels is None else {"labels": case.labels}
    return line | known | {"sha256": hashlib.sha256(data).hexdigest()}


def _sheet(names: Sequence[str]) -> str:
    """The sheet to fill in."""
    return "".join(f"{line}\n" for line in (",".join(COLUMNS), *(f"{name},,," for name in names)))


def _write(path: Path, data: bytes) -> None:
    atomic.write_bytes(path, data)
    os.utime(path, (WRITTEN, WRITTEN))


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("medsynth_cli.metrics"),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)
