"""``medsynth codebook``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medsynth_cli import settings
from medsynth_cli.errors import Exit, MedsynthError
from medsynth_cli.files import records

app = typer.Typer(help="Build and look at visual codebooks: the best patches of real images for each word.")


@app.command()
def build(
    data: Annotated[list[Path], typer.Argument(help="Tar shards, or image folders with a JSONL or CSV.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for codebook.safetensors and codebook.jsonl.")],
    k1: Annotated[int, typer.Option("--k1", min=1, help="Patches a word.")] = 64,
    bundle: settings.Bundle = settings.DEFAULT_BUNDLE,
    device: settings.Device = "auto",
    overwrite: settings.Overwrite = False,
    errors: settings.Errors = None,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> int:
    """Find the best patches of each word in labelled real images.

    Written into the folder of its own bundle, the codebook becomes that bundle's.
    """
    from medsynth_cli import modality
    from medsynth_cli.alignment import aligner, codebook
    from medsynth_cli.alignment.build import build as build_codebook
    from medsynth_cli.files import datasets
    from medsynth_cli.runtime import bundles, devices
    from medsynth_cli.runtime.progress import Progress, console
    from medsynth_cli.text import vocabulary
    from medsynth_cli.tokens import tokenizer

    if (out / codebook.TENSORS).exists() and not overwrite:
        raise MedsynthError(f"{out}: holds a codebook", "--overwrite replaces it")
    failures, opened = records.Failures(errors), bundles.load(bundle)
    resolved = devices.resolve(device)
    with Progress("reading images") as progress:
        built = build_codebook(
            datasets.read(data),
            tokenizer.load(opened, resolved),
            aligner.load(opened, resolved),
            vocabulary.load(modality.find(str(opened.manifest["modality"]))),
            k1=k1,
            tokenizer_sha256=opened.tokenizer_sha256,
            failures=failures,
            advance=progress.advance,
        )
    if out.resolve() == opened.folder.resolve():
        codebook.add_to(opened, built)
    else:
        codebook.save(out, built)
    console().print(f"{len(built.at)} patches of {len(built.words)} words in {out}", markup=False)
    return failures.exit_code(len(built.at))


@app.command()
def show(
    words: Annotated[list[str] | None, typer.Argument(help='Words, such as "left effusion"; default: all.')] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="PNG file of the contact sheet.")] = Path("codebook.png"),
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Patches a word.")] = 8,
    bundle: settings.Bundle = settings.DEFAULT_BUNDLE,
    codebook: settings.Codebook = None,
    device: settings.Device = "auto",
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> int:
    """Draw the best patches of words, one row a word, framed where they sit in their source image.

    The pictures are what the tokenizer makes of the source images' codes.
    """
    from medsynth_cli import modality
    from medsynth_cli.alignment import codebook as codebooks
    from medsynth_cli.alignment import show as shows
    from medsynth_cli.files import atomic, pixels
    from medsynth_cli.runtime import bundles, devices
    from medsynth_cli.runtime.progress import console
    from medsynth_cli.text import vocabulary
    from medsynth_cli.tokens import tokenizer

    opened = bundles.load(bundle)
    loaded = codebooks.of(opened, codebook)
    known = vocabulary.load(modality.find(str(opened.manifest["modality"])))
    chosen = shows.choose(loaded, words or [], known)
    sheet = shows.draw(loaded, chosen, count, tokenizer.load(opened, devices.resolve(device)))
    atomic.write_bytes(out, pixels.encode_png(sheet))
    console().print(f"drawn in {out}", markup=False)
    for term, side in chosen:
        typer.echo(f"{term}\t{side or '-'}\t{len(loaded.entries(term, side))} patches")
    return Exit.DONE
