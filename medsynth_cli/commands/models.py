"""``medsynth models``: list, verify and import bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medsynth_cli import settings
from medsynth_cli.errors import Exit, MedsynthError

app = typer.Typer(help="List, verify and import bundles of models.", no_args_is_help=True)


@app.command("list")
def list_bundles(
    bundles_given: Annotated[
        list[str] | None, typer.Argument(metavar="[BUNDLE]...", help="Bundle folders to list with the embedded ones.")
    ] = None,
    debug: settings.Debug = False,
) -> None:
    """List bundles with their parts: name, size, SHA-256."""
    from medsynth_cli.runtime import bundles

    for name in dict.fromkeys([*bundles.embedded(), *(bundles_given or [])]):
        bundle = bundles.describe(name)
        typer.echo(f"{bundle['name']}  {bundle['bytes'] / 1e6:.1f} MB  {bundle['folder']}  {bundle['sha256']}")
        for part, entry in bundle["parts"].items():
            typer.echo(f"  {part:<12} {entry['bytes'] / 1e6:8.2f} MB  {entry['sha256']}")


@app.command()
def verify(
    bundle_name: Annotated[str, typer.Argument(metavar="BUNDLE", help="Name of an embedded bundle, or its folder.")],
    debug: settings.Debug = False,
) -> None:
    """Hash every part of a bundle again; exit code 1 if one is missing or damaged."""
    from medsynth_cli.runtime import bundles

    bundle = bundles.load(bundle_name)
    damaged = 0
    for part in bundle.parts():
        try:
            typer.echo(f"ok       {part:<12} {bundle.file(part).name}")
        except MedsynthError as error:
            damaged += 1
            typer.echo(f"damaged  {part:<12} {error.message}")
    if damaged:
        raise typer.Exit(Exit.NOTHING_DONE)


@app.command("import")
def import_part(
    part: Annotated[str, typer.Argument(help="What to import: tokenizer.")],
    file: Annotated[Path, typer.Argument(help="A safetensors file, a diffusers folder, or a pickle of plain weights.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Bundle folder; made if there is none.")],
    model_config: Annotated[
        Path | None,
        typer.Option("--model-config", help="JSON file with the model's shape; default: config.json beside the file."),
    ] = None,
    modality: settings.Modality = settings.DEFAULT_MODALITY,
    half: Annotated[bool, typer.Option("--half", help="Store as float16, in half the space.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the part that the bundle has.")] = False,
    debug: settings.Debug = False,
) -> None:
    """Convert a checkpoint to a part of the bundle in the folder -o; pickles are read as plain weights only."""
    from medsynth_cli import modality as modalities
    from medsynth_cli.runtime import bundles, checkpoints

    if part != "tokenizer":
        raise MedsynthError(f"cannot import a {part!r}", "known: tokenizer")
    images = modalities.load(modality)
    values = checkpoints.read_config(model_config or (file if file.is_dir() else file.parent) / "config.json")
    weights = checkpoints.read(file)
    bundle = bundles.create(out, out.resolve().name, images.name)
    if part in bundle.parts() and not overwrite:
        raise MedsynthError(f"{out}: has a {part} already", "--overwrite replaces it; or name another folder with -o")
    from medsynth_cli.tokens import convert, tokenizer

    shape = convert.vqgan_config(values, images.resolution_px)
    bundles.write_part(bundle, part, *tokenizer.export(convert.vqgan_weights(weights, shape), shape), half=half)
    typer.echo(f"{part}  {bundle.part_sha256(part)}  {bundle.folder / bundles.MANIFEST}")


@app.command()
def reference(
    data: Annotated[list[str], typer.Argument(help="Real images: tar shards, or folders with a JSONL or CSV.")],
    name: Annotated[str, typer.Option("--name", help="Name of the reference, as in --real bundle:NAME.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the bundle.")],
    training: Annotated[
        bool, typer.Option("--training", help="The bundle was trained with these images: keep what floors need.")
    ] = False,
    most: Annotated[
        int | None, typer.Option("--most", min=2, help="Keep this many images at most, chosen by their ids.")
    ] = None,
    device: settings.Device = "auto",
    errors: settings.Errors = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> int:
    """Measure real images and keep what evaluation needs of them, thumbnails but no images, in a bundle."""
    from medsynth_cli import modality as modalities
    from medsynth_cli.files.cache import Cache, default_folder
    from medsynth_cli.files.records import Failures
    from medsynth_cli.metrics import evaluation, imagesets
    from medsynth_cli.metrics import reference as references
    from medsynth_cli.metrics.observers import Observers
    from medsynth_cli.runtime import bundles, devices

    opened, failures = bundles.load(str(out)), Failures(errors)
    modality = modalities.load(opened.modality)
    observers = Observers(opened, devices.resolve(device))
    looks = evaluation.reference_looks(observers, training)
    images = imagesets.read(data, modality.resolution_px, failures, Cache(default_folder()), looks, most)
    references.write(images, looks, opened, name, modality.labels, training)
    typer.echo(f"{references.PREFIX}{name}  {opened.part_sha256(references.PREFIX + name)}")
    return failures.exit_code(len(images))


@app.command()
def memory(
    data: Annotated[
        list[str] | None, typer.Argument(help="Training images of which no picture is kept: shards, folders, CSV.")
    ] = None,
    shown: Annotated[
        list[str] | None, typer.Option("--shown", metavar="DATA", help="Training images whose codes are kept as well.")
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the bundle.")] = Path(),
    device: settings.Device = "auto",
    errors: settings.Errors = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> int:
    """Keep what copies of the training images are found by, in the bundle that was trained with them."""
    from medsynth_cli import modality as modalities
    from medsynth_cli.files.cache import Cache, default_folder
    from medsynth_cli.files.records import Failures
    from medsynth_cli.metrics import imagesets
    from medsynth_cli.metrics import memory as memories
    from medsynth_cli.metrics.observers import Observers
    from medsynth_cli.recognition import fingerprints
    from medsynth_cli.runtime import bundles, devices

    if not data and not shown:
        raise MedsynthError("no training images named", "give DATA, or --shown DATA, or both")
    opened, failures, cache = bundles.load(str(out)), Failures(errors), Cache(default_folder())
    observers = Observers(opened, devices.resolve(device))
    size_px = modalities.load(opened.modality).resolution_px
    looks = [fingerprints.reductions()]
    hidden = imagesets.read(data, size_px, failures, cache, looks) if data else None
    seen = imagesets.read(shown, size_px, failures, cache, [*looks, observers.codes]) if shown else None
    memories.write(opened, observers, seen, hidden)
    typer.echo(f"{memories.PART}  {opened.part_sha256(memories.PART)}")
    return failures.exit_code(1)


@app.command("niqe")
def fit_niqe(
    data: Annotated[list[str], typer.Argument(help="Good real images: tar shards, or folders with a JSONL or CSV.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the bundle; made if there is none.")],
    modality: settings.Modality = settings.DEFAULT_MODALITY,
    errors: settings.Errors = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> int:
    """Fit NIQE's parameters to real images; with the bundle, NIQE-radiographs takes them."""
    from medsynth_cli import modality as modalities
    from medsynth_cli.files.cache import Cache
    from medsynth_cli.files.records import Failures
    from medsynth_cli.metrics import imagesets
    from medsynth_cli.metrics import niqe as naturalness
    from medsynth_cli.runtime import bundles

    failures, kind = Failures(errors), modalities.load(modality)
    images = imagesets.read(data, kind.resolution_px, failures, Cache(None))
    opened = bundles.create(out, out.resolve().name, kind.name)
    blocks = naturalness.export(images, opened)
    typer.echo(f"{naturalness.PART}  {opened.part_sha256(naturalness.PART)}  {blocks} blocks of {len(images)} images")
    return failures.exit_code(len(images))
