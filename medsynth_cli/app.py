"""Builds the command-line application; `main` is the only place that turns errors into exit codes."""

from __future__ import annotations

import os
import pkgutil
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

import medsynth_cli
from medsynth_cli import settings
from medsynth_cli.commands import COMMANDS
from medsynth_cli.errors import Exit, MedsynthError, OutputClosedError

INTERRUPTED = 128 + signal.SIGINT


def build() -> typer.Typer:
    """Assemble the application from the command table."""
    app = typer.Typer(
        name="medsynth",
        help="Synthetic radiographs from anatomy and pathology terms. For research, not for diagnosis.",
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # with panels, help would take half as long again to import what draws them
    )

    @app.callback()
    def root(
        version: Annotated[
            bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
        ] = False,
    ) -> None:
        pass

    for name, target in COMMANDS.items():
        command = pkgutil.resolve_name(target)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; every error ends here as one line on stderr."""
    settings.reset()
    _handle_signals()
    arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    try:
        code = typer.main.get_command(build()).main(args=arguments, prog_name="medsynth", standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:  # typer ends Ctrl-C with this code and says nothing
            raise KeyboardInterrupt
        return int(code or Exit.DONE)
    except MedsynthError as error:
        return _fail(error.message, error.hint, error.code)
    except typer.TyperException as error:
        return _fail(error.format_message(), "add --help for the options", Exit.USAGE)
    except typer.Abort:
        return _fail("aborted", "", Exit.NOTHING_DONE)
    except (OutputClosedError, BrokenPipeError):
        _close_stdout()
        return Exit.DONE
    except KeyboardInterrupt:
        return _fail("interrupted", "commands that have --resume go on with it", INTERRUPTED)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else Exit.NOTHING_DONE
    except (OSError, MemoryError) as error:
        return _fail(f"{type(error).__name__}: {error}", "--debug shows where", Exit.NOTHING_DONE)
    except Exception as error:
        return _fail(f"unexpected {type(error).__name__}: {error}", "--debug shows where", Exit.NOTHING_DONE)


def _fail(message: str, hint: str, code: int) -> int:
    if settings.debug and sys.exc_info()[0] is not None:
        traceback.print_exc()
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print("[red]error:[/red]", end=" ")
    console.print(" ".join(message.split()) + (f" ({hint})" if hint else ""), markup=False)
    return int(code)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"medsynth {medsynth_cli.__version__}")
        raise typer.Exit


def _handle_signals() -> None:
    """Make SIGTERM and SIGHUP unwind like Ctrl-C, so that half-written files are removed."""
    if threading.current_thread() is not threading.main_thread():
        return
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _close_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush does not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
