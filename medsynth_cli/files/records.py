"""Records: JSON Lines in files or on stdin and stdout, one object a line.

Every stage reads records with `read`, hands bad ones to `Failures`, and writes with `Writer`.
The JSON Schemas of all kinds are in ``schemas/`` beside this file.
"""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from medsynth_cli.errors import Exit, MedsynthError, OutputClosedError
from medsynth_cli.files import atomic

Record = dict[str, Any]

NO_OBJECT = "not a JSON object"
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Failures:
    """Lines and items that could not be done: JSON lines on stderr, or in a file.

    Args:
        path: where to write; None is stderr.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lines: list[str] = []

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, reason: str, file: str = "", line: int | None = None, id: str | None = None) -> None:
        """Report one failure, at once."""
        row = {"id": id, "file": file, "line": line, "reason": " ".join(reason.split())}
        self._lines.append(json.dumps(row, ensure_ascii=False))
        if self._path is None:
            print(self._lines[-1], file=sys.stderr, flush=True)
        else:
            atomic.write_text(self._path, "\n".join(self._lines) + "\n")

    def exit_code(self, done: int) -> Exit:
        """`Exit.DONE`, `Exit.SOME_FAILED`, or `Exit.NOTHING_DONE` if nothing was done at all."""
        if not self._lines:
            return Exit.DONE
        return Exit.SOME_FAILED if done else Exit.NOTHING_DONE


def read(source: str, kinds: tuple[str, ...], failures: Failures) -> Iterator[Record]:
    """Read and check records.

    Args:
        source: path of a JSONL file, or ``-`` for stdin.
        kinds: the kinds of record that this stage takes.
        failures: told of every line that is no valid record of these kinds, or repeats an id.

    Yields:
        Valid records, with all fields they came with.

    Raises:
        MedsynthError: the file cannot be opened.
    """
    name = "<stdin>" if source == "-" else source
    seen = set[str]()
    for number, record in objects(_lines(source), name, failures):
        reason, id = complaint(record, kinds), str(record.get("id"))
        if not reason and id.lower() in seen:
            reason = f"id {id!r} appears twice (case does not count)"
        if reason:
            failures.add(reason, name, number, id)
            continue
        seen.add(id.lower())
        yield record


def objects(lines: Iterable[str], name: str, failures: Failures) -> Iterator[tuple[int, Record]]:
    """The JSON objects of lines, each with the number of its line; empty lines are passed over.

    Args:
        lines: text.
        name: what to call their file.
        failures: told of every line that is no JSON object.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            failures.add(f"not JSON: {error}", name, number)
            continue
        if isinstance(value, dict):
            yield number, value
        else:
            failures.add(NO_OBJECT, name, number)


def complaint(record: object, kinds: tuple[str, ...]) -> str:
    """Say what is wrong with a record of one of ``kinds``; an empty string if nothing is."""
    if not isinstance(record, dict):
        return NO_OBJECT
    kind = record.get("kind")
    if kind not in kinds:
        return f"record of kind {kind!r}, expected {' or '.join(kinds)}"
    error = next(_validator(str(kind)).iter_errors(record), None)
    if error is None:
        return ""
    where = ".".join(str(part) for part in error.absolute_path)
    return f"{where or kind}: {error.message}"


def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of a kind of record."""
    text = resources.files("medsynth_cli.files").joinpath("schemas", f"{kind}.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


class Writer:
    """Writes records to a file (complete or not at all) or, flushed line by line, to stdout.

    Args:
        out: path, or ``-`` for stdout.
    """

    def __init__(self, out: str) -> None:
        self.count = 0
        self._file = None if out == "-" else atomic.replacing(Path(out))
        self._handle: IO[bytes] | None = None

    def __enter__(self) -> Writer:
        if self._file is not None:
            self._handle = self._file.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.__exit__(kind, error, trace)

    def write(self, record: Record) -> None:
        """Write one record."""
        if self._handle is None:
            emit(record)
        else:
            self._handle.write(f"{dumps(record)}\n".encode())
        self.count += 1


def emit(record: Record) -> None:
    """Write one record to stdout, at once.

    Raises:
        OutputClosedError: nobody reads it any more.
    """
    try:
        print(dumps(record), flush=True)
    except BrokenPipeError as error:
        raise OutputClosedError from error


def dumps(record: Record) -> str:
    """One line of JSON."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False)


def folder_of(stream: str) -> Path:
    """What the relative paths in records resolve against: their file's folder, or for stdin and stdout the working one.

    Args:
        stream: path of a JSONL file, or ``-``.
    """
    return Path() if stream == "-" else Path(stream).parent


def moved(record: Record, source: str, out: str) -> Record:
    """A record read from ``source`` as ``out`` must hold it: a relative ``image`` still leads to its file."""
    if "image" not in record or Path(record["image"]).is_absolute() or folder_of(source) == folder_of(out):
        return record
    return record | {"image": os.path.relpath(folder_of(source) / record["image"], folder_of(out))}


def copies(record: Record, count: int) -> Iterator[Record]:
    """The ``count`` records that ``-n`` makes of one: ids ``<id>-0000`` ..., ``source_id`` the original."""
    if count == 1:
        yield record
        return
    for number in range(count):
        yield record | {"id": f"{record['id']}-{number:04d}", "source_id": record.get("source_id") or record["id"]}


def _lines(source: str) -> Iterator[str]:
    try:
        if source == "-":
            yield from sys.stdin
        else:
            with open(source, encoding="utf-8") as handle:
                yield from handle
    except OSError as error:
        raise MedsynthError(f"{source}: {error.strerror}", "name a JSONL file, or - for stdin") from error
    except UnicodeDecodeError as error:
        raise MedsynthError(f"{source}: not UTF-8 ({error.reason})", "records are JSON Lines in UTF-8") from error


@functools.cache
def _validator(kind: str) -> Any:
    from jsonschema import Draft202012Validator
    from referencing import Registry, Resource

    common = Resource.from_contents(schema("common"))
    registry: Registry[Any] = Registry().with_resource("common.json", common)
    return Draft202012Validator(schema(kind), registry=registry)
