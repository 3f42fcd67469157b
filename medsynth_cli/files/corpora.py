"""Corpora of reports: JSON Lines, CSV and TSV, text with section headings, XML of Indiana University, folders of these.

Files may be gzipped. Reports come one at a time, so that memory does not grow with the corpus. A line or file that is
no report goes to `Failures`; one without findings and impression comes with both empty, so that it is counted.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import records
from medsynth_cli.files.records import Failures

Report = dict[str, str]
"""``id``, ``findings``, ``impression``."""

SECTIONS = ("findings", "impression")
FIELDS = ("id", *SECTIONS, "text")
FORMATS = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".txt": "text", ".xml": "xml",
}  # fmt: skip
"""End of a file's name, before ``.gz`` -> format."""
_IDS = ("id", "study_id", "uid", "report_id", "accession")
_HEADING = re.compile(r"^[ \t]*([A-Z][A-Za-z /&()-]{2,60}):", re.MULTILINE)
_AS_FINDINGS = re.compile(r"findings?( and impressions?)?|report|body")
_AS_IMPRESSION = re.compile(r"impressions?|conclusions?|opinion|summary|diagnosis")
_LONGEST_CELL = 10_000_000
"""Characters of the longest cell of a table; a report has some thousand."""


@dataclass(frozen=True)
class Layout:
    """How to read a corpus.

    Attributes:
        format: one of the values of `FORMATS`; None goes by the name of each file.
        columns: field (`FIELDS`) -> column of a table, or key of a JSON object, that holds it.
    """

    format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        formats = sorted(set(FORMATS.values()))
        if self.format is not None and self.format not in formats:
            raise MedsynthError(f"unknown format {self.format!r}", f"known: {', '.join(formats)}")
        unknown = sorted(self.columns.keys() - set(FIELDS))
        if unknown:
            raise MedsynthError(f"no field {', '.join(unknown)} to take a column", f"known: {', '.join(FIELDS)}")


def read(source: str, layout: Layout, failures: Failures) -> Iterator[Report]:
    """The reports of a file, a folder (with its subfolders, in the order of their names) or, for ``-``, stdin.

    Raises:
        MedsynthError: there is nothing of that name, a file's format is unknown, or a table lacks its columns.
    """
    if source == "-":
        yield from _parse(_stdin(), "<stdin>", layout.format or "jsonl", layout, failures)
        return
    path = Path(source)
    if path.is_dir():
        yield from _folder(path, layout, failures)
    elif not path.exists():
        raise MedsynthError(f"{path}: no such file or folder", "name a corpus of reports, or - for stdin")
    else:
        kind = layout.format or _format(path.name)
        if kind is None:
            raise MedsynthError(f"{path}: what it holds does not show from its name", "say it with --format")
        yield from _file(path, kind, layout, failures)


def sections(text: str) -> Report:
    """Findings and impression of a report in one piece, by its headings (``FINDINGS:``, ``IMPRESSION:``).

    Other sections are left out. A text without these headings is all findings, after its last heading if it has any.
    """
    headings = list(_HEADING.finditer(text))
    parts: dict[str, list[str]] = {section: [] for section in SECTIONS}
    ends = [*(heading.start() for heading in headings[1:]), len(text)]
    for heading, end in zip(headings, ends, strict=False):
        name = " ".join(heading.group(1).lower().split())
        wanted = "findings" if _AS_FINDINGS.fullmatch(name) else "impression" if _AS_IMPRESSION.fullmatch(name) else ""
        if wanted:
            parts[wanted].append(text[heading.end() : end].strip())
    if not any(parts.values()):
        parts["findings"].append(text[headings[-1].end() if headings else 0 :].strip())
    return {section: "\n".join(part for part in found if part) for section, found in parts.items()}


def _folder(folder: Path, layout: Layout, failures: Failures) -> Iterator[Report]:
    empty = True
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            kind = layout.format or _format(name)
            if kind is not None:
                empty = False
                yield from _file(Path(parent, name), kind, layout, failures)
    if empty:
        raise MedsynthError(f"{folder}: no file of reports in it", f"known: {', '.join(FORMATS)}, each with .gz or not")


def _file(path: Path, kind: str, layout: Layout, failures: Failures) -> Iterator[Report]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as handle:
            lines = io.TextIOWrapper(handle, "utf-8-sig", newline="" if kind in ("csv", "tsv") else None)
            yield from _parse(lines, str(path), kind, layout, failures)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        failures.add(f"cannot be read: {error}", str(path))


def _parse(lines: Iterable[str], name: str, kind: str, layout: Layout, failures: Failures) -> Iterator[Report]:
    if kind == "jsonl":
        yield from _jsonl(lines, name, layout.columns, failures)
    elif kind in ("csv", "tsv"):
        yield from _table(lines, name, "," if kind == "csv" else "\t", layout.columns, failures)
    elif kind == "xml":
        yield from _xml("".join(lines), name, failures)
    else:
        yield {"id": _stem(name), **sections("".join(lines))}


def _jsonl(lines: Iterable[str], name: str, columns: Mapping[str, str], failures: Failures) -> Iterator[Report]:
    for number, row in records.objects(lines, name, failures):
        inner = row.get("report")
        row = row | inner if isinstance(inner, dict) else row if inner is None else {"text": inner} | row
        if not any(columns.get(key, key) in row for key in (*SECTIONS, "text")):
            failures.add("neither findings nor impression nor text in it; --column names others", name, number)
            continue
        yield _report(row, columns, f"{_stem(name)}-{number}")


def _table(
    lines: Iterable[str], name: str, separator: str, columns: Mapping[str, str], failures: Failures
) -> Iterator[Report]:
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.DictReader(lines, delimiter=separator, restval="")
    try:
        header = list(reader.fieldnames or ())
        missing = [column for column in columns.values() if column not in header]
        if missing or not any(columns.get(key, key) in map(str.lower, header) or key in columns for key in FIELDS[1:]):
            wanted = ", ".join(missing) or "findings, impression or text"
            raise MedsynthError(f"{name}: no column {wanted}", f"it has {', '.join(header)}; --column FIELD=COLUMN")
        for row in reader:
            plain = {(key if key in columns.values() else key.lower()): value for key, value in row.items() if key}
            yield _report(plain, columns, f"{_stem(name)}-{reader.line_num}")
    except csv.Error as error:
        failures.add(f"not a table from here on: {error}", name, reader.line_num)


def _xml(text: str, name: str, failures: Failures) -> Iterator[Report]:
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        failures.add(f"not XML: {error}", name)
        return
    study = root.find(".//uId")
    parts = {part.get("Label", "").lower(): part.text or "" for part in root.iter("AbstractText")}
    if not parts:
        failures.add("no AbstractText in it", name)
        return
    id = _stem(name) if study is None else study.get("id", _stem(name))
    yield {"id": id, **{section: parts.get(section, "") for section in SECTIONS}}


def _report(row: Mapping[str, Any], columns: Mapping[str, str], number: str) -> Report:
    values = {key: row.get(columns.get(key, key)) for key in FIELDS}
    found = {key: value for key, value in values.items() if isinstance(value, str)}
    id = next((str(row[key]) for key in (columns.get("id", "id"), *_IDS) if row.get(key)), number)
    if "text" in found and not any(found.get(section) for section in SECTIONS):
        return {"id": id, **sections(found["text"])}
    return {"id": id, **{section: found.get(section, "") for section in SECTIONS}}


def _format(name: str) -> str | None:
    return FORMATS.get(Path(name.lower().removesuffix(".gz")).suffix)


def _stem(name: str) -> str:
    return "report" if name == "<stdin>" else Path(name.removesuffix(".gz")).stem


def _stdin() -> Iterable[str]:
    buffer = getattr(sys.stdin, "buffer", None)
    if buffer is None or not hasattr(buffer, "peek"):
        return sys.stdin
    packed = buffer.peek(2)[:2] == b"\x1f\x8b"
    return io.TextIOWrapper(gzip.GzipFile(fileobj=buffer) if packed else buffer, "utf-8-sig", newline="")
