"""Results that are kept between runs: an array a digest, in one SQLite file.

A result depends on nothing but the digest of what was looked at and the key of what looked, so that it
stays true for ever; the file may be deleted at any time.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medsynth_cli.errors import MedsynthError

if TYPE_CHECKING:
    from numpy.typing import NDArray

AT_ONCE = 500
"""Digests a query asks for: SQLite takes 999 variables in its oldest builds."""


def default_folder() -> Path:
    """``$XDG_CACHE_HOME/medsynth``, by default ``~/.cache/medsynth``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medsynth"


class Cache:
    """Arrays by key and digest.

    Args:
        folder: where the file is; made if missing. None keeps everything in memory, for this process only.

    Raises:
        MedsynthError: the file cannot be opened.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = ":memory:" if folder is None else str(folder / "results.sqlite")
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._path, timeout=60)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS results (key TEXT, digest BLOB, dtype TEXT, value BLOB, "
                "PRIMARY KEY (key, digest)) WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error) as error:
            raise self._failed(error) from error

    def get(self, key: str, digests: Sequence[bytes]) -> Iterator[tuple[bytes, NDArray[Any]]]:
        """The digests that are known, each with its array ``(D,)``."""
        try:
            for start in range(0, len(digests), AT_ONCE):
                part = digests[start : start + AT_ONCE]
                marks = ",".join("?" * len(part))
                query = f"SELECT digest, dtype, value FROM results WHERE key = ? AND digest IN ({marks})"
                for digest, dtype, value in self._database.execute(query, [key, *part]):
                    yield digest, np.frombuffer(value, np.dtype(dtype))
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def put(self, key: str, results: Mapping[bytes, NDArray[Any]] | Iterable[tuple[bytes, NDArray[Any]]]) -> None:
        """Keep arrays ``(D,)``."""
        rows = [(key, digest, value.dtype.str, value.tobytes()) for digest, value in dict(results).items()]
        try:
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> MedsynthError:
        return MedsynthError(f"{self._path}: {error}", "delete the file, or name another folder with --cache")
