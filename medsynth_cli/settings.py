"""Options that mean the same in every command, and ``--config``.

Precedence: command line > YAML file > defaults.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from medsynth_cli.errors import MedsynthError
from medsynth_cli.runtime import progress

debug = False
"""Set by ``--debug``: tracebacks."""


def reset() -> None:
    """Forget what an earlier call of `main` in this process set."""
    global debug
    debug = False
    progress.QUIET = False


def given(context: typer.Context) -> set[str]:
    """Parameters that the command line or the file of ``--config`` names."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source is not None and source.name != "DEFAULT"}


def _set_debug(wanted: bool) -> bool:
    global debug
    debug = debug or wanted
    return wanted


def _set_quiet(wanted: bool) -> bool:
    progress.QUIET = progress.QUIET or wanted
    return wanted


def _load_config(context: typer.Context, path: Path | None) -> Path | None:
    if path is None:
        return None
    import yaml

    try:
        values = yaml.safe_load(path.read_text("utf-8")) or {}
    except OSError as error:
        raise MedsynthError(f"{path}: {error.strerror}", "check the path") from error
    except yaml.YAMLError as error:
        raise MedsynthError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        raise MedsynthError(f"{path}: not a mapping of option names to values")
    context.default_map = _known(values, context, path)
    return path


def _known(values: dict[str, Any], context: typer.Context, path: Path) -> dict[str, Any]:
    """Map option names as written on the command line to parameters; refuse unknown ones."""
    names = {}
    for parameter in context.command.params:
        for option in parameter.opts:
            names[option.lstrip("-").replace("-", "_")] = parameter.name
    unknown = sorted(str(key) for key in values if str(key).replace("-", "_") not in names)
    if unknown:
        raise MedsynthError(f"{path}: unknown option {', '.join(unknown)}", f"known: {', '.join(sorted(names))}")
    return {names[key.replace("-", "_")]: value for key, value in values.items()}


Config = Annotated[
    Path | None,
    typer.Option("--config", callback=_load_config, is_eager=True, help="YAML file with options of this command."),
]
Quiet = Annotated[bool, typer.Option("--quiet", callback=_set_quiet, help="No progress, no notes.")]
Debug = Annotated[bool, typer.Option("--debug", callback=_set_debug, help="Show tracebacks.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of all random draws.")]
Bundle = Annotated[str, typer.Option("--bundle", help="Name of an embedded bundle, or a bundle folder.")]
Modality = Annotated[str, typer.Option("--modality", help="Name of a vocabulary, or its folder.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps ...")]
Out = Annotated[str, typer.Option("-o", "--out", help="Where to write; - is stdout.")]
Errors = Annotated[
    Path | None, typer.Option("--errors", help="Write failed lines there as JSON lines, instead of to stderr.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Keep what an earlier run finished and do the rest.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier run wrote.")]
Codebook = Annotated[
    Path | None, typer.Option("--codebook", help="Folder of a visual codebook; default: the bundle's.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Option of the provider or backend; repeatable.")
]

DEFAULT_BUNDLE = "cxr-mini"
DEFAULT_MODALITY = "chest_xray"
