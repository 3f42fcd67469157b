"""Readers' answers to a study, beside its key: what `reader_scores` computes with."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import reader_study
from medsynth_cli.metrics.reader_cases import REAL, SYNTHETIC
from medsynth_cli.metrics.reader_study import COLUMNS, CONFIDENCE, IMAGES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.files.records import Record

SIGNS = {SYNTHETIC: 1.0, REAL: -1.0}


@dataclass(frozen=True)
class Answers:
    """The answers of R readers to C cases.

    Attributes:
        study: name of the folder.
        key_sha256: hash of the key.
        cases: names of the cases.
        synthetic: which cases are synthetic, bool ``(C,)``.
        labels: findings of each case, None where they are not known.
        readers: names of the readers.
        signs: ``(R, C)``: 1 for synthetic, -1 for real, NaN where there is no answer.
        confidence: ``(R, C)``: 1 (a guess) to 5 (certain), NaN where it was not said.
    """

    study: str
    key_sha256: str
    cases: tuple[str, ...]
    synthetic: NDArray[np.bool_]
    labels: Sequence[list[str] | None]
    readers: tuple[str, ...]
    signs: NDArray[np.float64]
    confidence: NDArray[np.float64]


def read(folder: Path, sheets: Sequence[Path]) -> Answers:
    """Read filled-in sheets and the key of their study.

    Args:
        folder: the study's; need not be there any more, only its key beside it.
        sheets: a CSV file a reader, its name the reader's.

    Raises:
        MedsynthError: the key or a sheet cannot be read, or says something that is no case or no answer of the study.
    """
    key, path = reader_study.read_key(folder), reader_study.key_path(folder)
    _refuse_other_images(folder, key)
    repeated = [str(sheet) for place, sheet in enumerate(sheets) if sheet.resolve() in _resolved(sheets[:place])]
    if repeated:
        raise MedsynthError(f"{repeated[0]}: named twice", "one sheet a reader")
    cases = tuple(str(case["id"]) for case in key)
    signs = np.full((len(sheets), len(cases)), np.nan)
    confidence = signs.copy()
    for reader, sheet in enumerate(sheets):
        for case, sign, level in _rows(sheet, {name: place for place, name in enumerate(cases)}):
            signs[reader, case], confidence[reader, case] = sign, level
        if np.isnan(signs[reader]).all():
            raise MedsynthError(f"{sheet}: no case is answered", "the column answer says real or synthetic")
    return Answers(
        folder.resolve().name,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        cases,
        np.array([case["truth"] == SYNTHETIC for case in key]),
        [case.get("labels") for case in key],
        _names(sheets),
        signs,
        confidence,
    )


def _refuse_other_images(folder: Path, key: Sequence[Record]) -> None:
    """Where the images are still there, they must be those of the key: else the answers are to another study."""
    for case in key:
        image = folder / IMAGES / f"{case['id']}.png"
        if image.is_file() and hashlib.sha256(image.read_bytes()).hexdigest() != case["sha256"]:
            raise MedsynthError(f"{image}: not the image that the key tells of", "key and folder belong together")


def _resolved(paths: Sequence[Path]) -> list[Path]:
    return [path.resolve() for path in paths]


def _names(sheets: Sequence[Path]) -> tuple[str, ...]:
    """The stem of each file, or all of its path where stems repeat."""
    stems = [sheet.stem for sheet in sheets]
    return tuple(stem if stems.count(stem) == 1 else str(sheet) for stem, sheet in zip(stems, sheets, strict=True))


def _rows(sheet: Path, places: Mapping[str, int]) -> Iterator[tuple[int, float, float]]:
    """Place of the case, sign and confidence of each answer that is given."""
    seen = set[int]()
    for line, row in _lines(sheet):
        where = f"{sheet}:{line}"
        case, answer, level = (row[name] for name in COLUMNS[:3])
        if case not in places:
            raise MedsynthError(f"{where}: no case {case!r} in the key", f"cases are {', '.join([*places][:2])} ...")
        if places[case] in seen:
            raise MedsynthError(f"{where}: {case} appears twice", "keep one line a case")
        seen.add(places[case])
        if answer and answer.lower() not in SIGNS:
            raise MedsynthError(f"{where}: answer {answer!r}", f"{' or '.join(SIGNS)}, or nothing")
        if level and level not in map(str, CONFIDENCE):
            raise MedsynthError(f"{where}: confidence {level!r}", "a whole number from 1 to 5, or nothing")
        if answer:
            yield places[case], SIGNS[answer.lower()], float(level or "nan")


def _lines(sheet: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells of each row that is not blank; spreadsheets may have put semicolons or tabs for commas."""
    try:
        text = sheet.read_text("utf-8-sig")
    except OSError as error:
        raise MedsynthError(f"{sheet}: {error.strerror}", "name a filled-in answers.csv") from error
    except UnicodeDecodeError as error:
        raise MedsynthError(f"{sheet}: not UTF-8 ({error.reason})", "save it as CSV in UTF-8") from error
    heading = text.partition("\n")[0]
    separator = max(",;\t", key=heading.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    names = [name.strip().lower() for name in next(rows, [])]
    missing = [name for name in COLUMNS[:3] if name not in names]
    if missing:
        raise MedsynthError(f"{sheet}:1: no column {', '.join(missing)}", f"columns are {','.join(COLUMNS)}")
    line = rows.line_num + 1
    try:
        for cells in rows:
            if any(cell.strip() for cell in cells):
                yield line, {name: cell.strip() for name, cell in zip(names, cells + [""] * len(names), strict=False)}
            line = rows.line_num + 1  # of the next row: a quoted comment may take several lines
    except csv.Error as error:
        raise MedsynthError(f"{sheet}:{line}: not CSV ({error})", "save it as CSV") from error
