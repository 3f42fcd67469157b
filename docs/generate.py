"""Writes ``docs/commands/<name>.md``, one page a command, from the application itself.

``make docs`` runs it; a test compares the committed pages with what it would write.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

from medsynth_cli import app

FOLDER = Path(__file__).parent / "commands"


def pages() -> dict[str, str]:
    """File name -> text of every page, from the command table."""
    root = typer.main.get_command(app.build())
    return {f"{name}.md": "\n".join(_page(f"medsynth {name}", command)) for name, command in root.commands.items()}


def main() -> None:
    """Write all pages, and remove those of commands that are gone."""
    FOLDER.mkdir(exist_ok=True)
    wanted = pages()
    for path in FOLDER.glob("*.md"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, "utf-8")


def _page(title: str, command: Any) -> Iterator[str]:
    yield f"# {title}\n"
    yield _help(command.help) + "\n"
    subcommands = getattr(command, "commands", {})
    if not subcommands:
        yield from _usage(title, command)
    for name, subcommand in subcommands.items():
        yield f"## {title} {name}\n"
        yield _help(subcommand.help) + "\n"
        yield from _usage(f"{title} {name}", subcommand)


def _usage(title: str, command: Any) -> Iterator[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    yield f"    {' '.join([title, '[OPTIONS]', *(_argument(p) for p in arguments)])}\n"
    if arguments:
        yield "| argument | |"
        yield "|---|---|"
        yield from (f"| `{_argument(p)}` | {_cell(p.help)} |" for p in arguments)
        yield ""
    if options:
        yield "| option | value | default | |"
        yield "|---|---|---|---|"
        yield from (_option_row(p) for p in options)
        yield ""


def _option_row(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    value = "" if option.is_flag else f"`{_value(option)}`"
    return f"| {names} | {value} | {_default(option)} | {_cell(option.help)} |"


def _value(option: Any) -> str:
    if option.metavar:
        return str(option.metavar)
    kind = option.type_descriptor.annotation
    while get_origin(kind) in (list, tuple):
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return " or ".join(str(choice) for choice in get_args(kind))
    if issubclass(kind, Enum):
        return " or ".join(str(choice.value) for choice in kind)
    return str(kind.__name__).upper()


def _default(option: Any) -> str:
    if option.required:
        return "required"
    default = option.default
    if default is None or default is False or default in ("", (), []):
        return ""
    return f"`{default.value if isinstance(default, Enum) else default}`"


def _argument(argument: Any) -> str:
    if argument.metavar:
        return str(argument.metavar)
    name = str(argument.name).upper()
    return (name if argument.required else f"[{name}]") + ("..." if argument.nargs != 1 else "")


def _help(text: str | None) -> str:
    return re.sub(r"[\b\f]\n?", "", inspect.cleandoc(text or "")).strip()


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    main()
