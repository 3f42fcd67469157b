"""The one exception that users see, and the exit codes of every command."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command; signals add 128 (SIGHUP 129, SIGINT 130, SIGTERM 143)."""

    DONE = 0
    NOTHING_DONE = 1
    USAGE = 2
    SOME_FAILED = 3
    GATE_FAILED = 4


class OutputClosedError(Exception):
    """Whoever reads stdout has gone; the command ends quietly. Typer would end it with exit code 1."""


class MedsynthError(Exception):
    """An error with a way out.

    Args:
        message: one line that says what is wrong, with the file and line where there is one.
        hint: one line that says what to do about it; may be empty.
        code: the exit code of the command.
    """

    def __init__(self, message: str, hint: str = "", code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
