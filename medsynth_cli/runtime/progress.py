"""Progress bars on stderr that disappear when stderr is no terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

QUIET = False
"""Set by ``--quiet``: no bars, no notes."""


def console() -> Console:
    """The console of everything that is not a result; quiet when ``--quiet`` was given."""
    from rich.console import Console

    return Console(stderr=True, quiet=QUIET, soft_wrap=True, highlight=False)


class Progress:
    """A bar with count and remaining time; notes become lines of their own.

    Args:
        title: what is being done.
        total: number of items; None if unknown.
        done: items that were done before.
    """

    def __init__(self, title: str, total: int | None = None, done: int = 0) -> None:
        from rich import progress

        self._console = console()
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=QUIET or not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task(title, total=total, completed=done)
        self._done = done

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, count: int = 1) -> None:
        """Count items as done."""
        self._done += count
        self._bar.advance(self._task, count)

    def restart(self, title: str, total: int | None) -> None:
        """Count something else from 0."""
        self._done = 0
        self._bar.reset(self._task, description=title, total=total)

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(f"[{self._done}] {text}", markup=False)
