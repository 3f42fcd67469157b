"""``medsynth train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medsynth_cli import settings
from medsynth_cli.errors import Exit

app = typer.Typer(help="Train the parts of a bundle: tokenizer, decoder, aligner, generator; and the judge.")

Data = Annotated[list[Path], typer.Argument(help="Training images: tar shards, or folders with a JSONL or CSV.")]
Validation = Annotated[list[Path], typer.Option("--validation", help="Validation images; repeatable.")]
Into = Annotated[Path, typer.Option("-o", "--out", help="Bundle folder that gets the part, and has those it needs.")]
RunFolder = Annotated[Path | None, typer.Option("--run", help="Checkpoint and curves; default: runs/<part>.")]
Every = Annotated[int, typer.Option("--validate-every", min=1, help="Steps between two validations.")]
Start = Annotated[Path | None, typer.Option("--start", help="Bundle whose weights to go on from.")]


def _train(
    part: str,
    data: list[Path],
    validation: list[Path],
    out: Path,
    run: Path | None,
    validate_every: int,
    modality: str,
    device: str,
    options: list[str] | None,
    resume: bool,
    start: Path | None = None,
) -> int:
    from medsynth_cli.runtime import devices
    from medsynth_cli.runtime.options import pairs
    from medsynth_cli.training import runs

    folder = run or Path("runs") / part
    spec = runs.Run(
        data=data,
        validation=validation,
        bundle=out,
        folder=folder,
        modality=modality,
        device=devices.resolve(device),
        settings=pairs(options),
        resume=resume,
        validate_every=validate_every,
        start=start,
    )
    runs.PARTS[part](spec)
    typer.echo(f"{part} in {out}, curves in {folder / 'curves.png'}")
    return Exit.DONE


@app.command()
def tokenizer(
    data: Data,
    validation: Validation,
    out: Into,
    run: RunFolder = None,
    start: Start = None,
    validate_every: Every = 200,
    modality: settings.Modality = settings.DEFAULT_MODALITY,
    device: settings.Device = "auto",
    options: settings.Settings = None,
    resume: settings.Resume = False,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> int:
    """Train the VQGAN that turns images into codes and back."""
    return _train(
        "tokenizer", data, validation, out, run, validate_every, modality, device, options, resume, start
    )  # fmt: skip


@app.command()
def decoder(
    data: Data,
    validation: Validation,
    out: Into,
    run: RunFolder = None,
    validate_every: Every = 100,
    modality: settings.Modality = settings.DEFAULT_MODALITY,
    device: settings.Device = "auto",
    options: settings.Settings = None,
    resume: settings.Resume = False,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> int:
    """Sharpen the decoder of the bundle's tokenizer; its codes keep their meaning."""
    return _train("decoder", data, validation, out, run, validate_every, modality, device, options, resume)


@app.command()
def aligner(
    data: Data,
    validation: Validation,
    out: Into,
    run: RunFolder = None,
    validate_every: Every = 100,
    modality: settings.Modality = settings.DEFAULT_MODALITY,
    device: settings.Device = "auto",
    options: settings.Settings = None,
    resume: settings.Resume = False,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> int:
    """Train the word-patch aligner that scores image patches against words."""
    return _train("aligner", data, validation, out, run, validate_every, modality, device, options, resume)


@app.command()
def generator(
    data: Data,
    validation: Validation,
    out: Into,
    run: RunFolder = None,
    start: Start = None,
    validate_every: Every = 200,
    modality: settings.Modality = settings.DEFAULT_MODALITY,
    device: settings.Device = "auto",
    options: settings.Settings = None,
    resume: settings.Resume = False,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> int:
    """Train the language model that writes image codes; the bundle needs tokenizer, aligner and codebook."""
    return _train(
        "generator", data, validation, out, run, validate_every, modality, device, options, resume, start
    )  # fmt: skip


@app.command()
def judge(
    data: Data,
    validation: Validation,
    out: Into,
    run: RunFolder = None,
    validate_every: Every = 125,
    modality: settings.Modality = settings.DEFAULT_MODALITY,
    device: settings.Device = "auto",
    options: settings.Settings = None,
    resume: settings.Resume = False,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> int:
    """Train the classifier that judges whether requested findings can be seen."""
    return _train("judge", data, validation, out, run, validate_every, modality, device, options, resume)
