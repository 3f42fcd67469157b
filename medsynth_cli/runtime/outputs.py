"""The run folder: images, ``records.jsonl``, ``run.json`` and ``run.log.json``.

``records.jsonl`` holds exactly the finished images: an image and its line are written together, with
signals held back, and what a kill may still tear apart is mended on resumption. ``run.json`` says how to
make the folder again and holds no time, so that two runs of the same command are byte for byte the same.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import atomic
from medsynth_cli.files.records import Record, dumps
from medsynth_cli.runtime import provenance

RUN = "run.json"
LOG = "run.log.json"
RECORDS = "records.jsonl"
FORMAT = 1
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class RunFolder:
    """The output folder of one run.

    The constructor only looks, so that a refusal comes before any work; `start` is the first to write.

    Args:
        path: the folder; need not exist.
        resume: keep what an earlier run finished.
        overwrite: remove what an earlier run wrote.

    Raises:
        MedsynthError: the folder holds files, and neither option lets it be used.
    """

    def __init__(self, path: Path, resume: bool = False, overwrite: bool = False) -> None:
        if resume and overwrite:
            raise MedsynthError("--resume and --overwrite exclude each other", "give one of them")
        self.path = path
        self.resume, self.overwrite = resume, overwrite
        self._began = time.monotonic()
        self._started = datetime.datetime.now(datetime.UTC)
        self._records: list[Record] = []
        self._run: dict[str, Any] = {}
        self._refuse()

    def start(
        self,
        command: str,
        settings: Mapping[str, Any],
        seeds: Mapping[str, int],
        inputs: Mapping[str, Any],
        hashes: Mapping[str, str],
    ) -> None:
        """Make the folder ready and write ``run.json``.

        Args:
            command: name of the subcommand.
            settings: everything that shapes the result; JSON values.
            seeds: name -> seed.
            inputs: what was read: name -> path, text or hash.
            hashes: SHA-256 of the models: name -> hash.

        Raises:
            MedsynthError: with ``resume``, the earlier run was another one.
        """
        run = {
            "format": FORMAT,
            "command": command,
            "settings": settings,
            "seeds": seeds,
            "inputs": inputs,
            "hashes": hashes,
            "versions": provenance.versions(),
        }
        self._run = json.loads(json.dumps(run, allow_nan=False))
        earlier = _read_run(self.path)
        if earlier is not None and self.overwrite:
            self._remove(earlier)
        elif earlier is not None and self.resume:
            self._refuse_other(earlier)
            self._records = _mend(self.path / RECORDS)
            self._run["files"] = earlier.get("files", [])
        self._write_run()

    def done_ids(self) -> set[str]:
        """Ids of the finished records."""
        return {str(record["id"]) for record in self._records}

    def records(self) -> list[Record]:
        """The finished records, in the order of ``records.jsonl``."""
        return list(self._records)

    def add(self, record: Record, data: bytes) -> None:
        """Write one image and then its record, or neither.

        Args:
            record: an image record; ``image`` is relative to the folder.
            data: the image file.
        """
        image, line = self.path / record["image"], dumps(record) + "\n"
        with uninterrupted():
            atomic.write_bytes(image, data)
            try:
                _append(self.path / RECORDS, line)
            except MedsynthError:
                image.unlink(missing_ok=True)
                raise
            self._records.append(record)

    def write_file(self, name: str, data: bytes) -> None:
        """Write another file, such as a contact sheet; ``run.json`` lists it first, so that --overwrite knows it."""
        if name not in self._run.setdefault("files", []):
            self._run["files"] = sorted([*self._run["files"], name])
            self._write_run()
        atomic.write_bytes(self.path / name, data)

    def from_here(self, record: Record) -> Record:
        """The record as it goes to stdout, where ``image`` is relative to the working directory."""
        return record | {"image": str(self.path / record["image"])}

    def finish(self, counts: Mapping[str, int], timing: Mapping[str, Any] | None = None) -> None:
        """Complete ``run.json`` with the counts, and write the times to ``run.log.json``.

        Args:
            counts: what was done: name -> number.
            timing: anything about this run's speed; wall-clock time is added.
        """
        self._run["counts"] = dict(counts)
        if not (self.path / RECORDS).exists():
            atomic.write_bytes(self.path / RECORDS, b"")
        self._write_run()
        log = {
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - self._began, 3),
            "resumed": self.resume,
            **(timing or {}),
        }
        atomic.write_text(self.path / LOG, json.dumps(log, indent=1) + "\n")

    def _refuse(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise MedsynthError(f"{self.path}: is a file, not a folder", "choose another folder with -o")
        if not self.path.is_dir() or not any(self.path.iterdir()):
            return
        if not (self.resume or self.overwrite):
            raise MedsynthError(f"{self.path}: not empty", "--resume, --overwrite, or another folder with -o")
        if _read_run(self.path) is None:
            raise MedsynthError(
                f"{self.path}: holds files, but no {RUN} of an earlier run", "choose another folder with -o"
            )

    def _refuse_other(self, earlier: dict[str, Any]) -> None:
        for key in ("format", "command", "settings", "seeds", "inputs", "hashes", "versions"):
            if earlier.get(key) != self._run[key]:
                change = _difference(key, earlier.get(key), self._run[key])
                raise MedsynthError(
                    f"{self.path / RUN}: the earlier run differs in {change}",
                    "repeat its options, or use --overwrite, or another folder with -o",
                )

    def _remove(self, earlier: dict[str, Any]) -> None:
        """Remove the files of an earlier run, and no other."""
        images = [str(record["image"]) for _, record in _read_records(self.path / RECORDS) if record]
        root = self.path.resolve()
        for name in [*images, *map(str, earlier.get("files", [])), LOG, RECORDS, RUN]:
            file = (self.path / name).resolve()
            if not name or not file.is_relative_to(root) or file.is_dir():
                continue
            file.unlink(missing_ok=True)
            file.with_name(file.name + atomic.PARTIAL).unlink(missing_ok=True)
            if file.parent != root:
                with contextlib.suppress(OSError):
                    file.parent.rmdir()

    def _write_run(self) -> None:
        atomic.write_text(self.path / RUN, json.dumps(self._run, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back Ctrl-C and its like until the block has ended; does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append(number)

    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    previous = {number: signal.signal(number, hold) for number in numbers if signal.getsignal(number) is not None}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    for number in held:
        signal.raise_signal(number)


def _read_run(folder: Path) -> dict[str, Any] | None:
    """``run.json`` of a folder, or None if there is none that a run of medsynth wrote."""
    try:
        run = json.loads((folder / RUN).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return run if isinstance(run, dict) and "medsynth" in (run.get("versions") or {}) else None


def _read_records(path: Path) -> Iterator[tuple[int, Record | None]]:
    """Line number and record of ``records.jsonl``, None for a line that is none; a cut-off last line is left out."""
    if not path.exists():
        return
    complete, _, _ = path.read_bytes().rpartition(b"\n")
    for number, line in enumerate(complete.split(b"\n") if complete else [], 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        yield number, record if isinstance(record, dict) and "id" in record and "image" in record else None


def _mend(path: Path) -> list[Record]:
    """Drop records that are cut off or whose image is gone; return the others."""
    kept = []
    for number, record in _read_records(path):
        if record is None:
            raise MedsynthError(f"{path}:{number}: not an image record", "use --overwrite, or another folder with -o")
        if (path.parent / record["image"]).is_file():
            kept.append(record)
    text = "".join(dumps(record) + "\n" for record in kept)
    if path.exists() and path.read_bytes() != text.encode():
        atomic.write_text(path, text)
    return kept


def _append(path: Path, line: str) -> None:
    """Add a line to a file; a failed write leaves the file as it was."""
    with path.open("ab") as handle:
        size = handle.tell()
        try:
            handle.write(line.encode())
            handle.flush()
        except OSError as error:
            os.truncate(path, size)
            raise MedsynthError(f"{path}: {error.strerror or error}", "choose another output with -o") from error


def _difference(key: str, earlier: Any, now: Any) -> str:
    """Name the first value that differs, with both values."""
    if isinstance(earlier, dict) and isinstance(now, dict):
        name = next(name for name in sorted({*earlier, *now}) if earlier.get(name) != now.get(name))
        return f"{key}.{name}: {earlier.get(name)!r} there, {now.get(name)!r} here"
    return f"{key}: {earlier!r} there, {now!r} here"
