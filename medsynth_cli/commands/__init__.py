"""The subcommands: one thin file each, that parses, loads, calls the engine and writes."""

COMMANDS = {
    "vocab": "medsynth_cli.commands.vocab:app",
    "report": "medsynth_cli.commands.report:report",
    "codebook": "medsynth_cli.commands.codebook:app",
    "align": "medsynth_cli.commands.align:align",
    "generate": "medsynth_cli.commands.generate:generate",
    "evaluate": "medsynth_cli.commands.evaluate:evaluate",
    "train": "medsynth_cli.commands.train:app",
    "models": "medsynth_cli.commands.models:app",
    "info": "medsynth_cli.commands.info:info",
}
"""Subcommand -> ``module:object``: a function, or a Typer app with subcommands of its own."""
