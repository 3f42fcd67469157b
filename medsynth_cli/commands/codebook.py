"""``medsynth codebook``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medsynth_cli import settings
from medsynth_cli.errors import Exit, MedsynthError
from medsynth_cli.files import records

app = typer.Typer(help="Build, merge, examine and look at visual codebooks: the best patches of real images a word.")
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for codebook.safetensors and codebook.jsonl.")]


@app.command()
def build(
    data: Annotated[
        list[Path],
        typer.Argument(help="Tar shards, image folders with a JSONL or CSV, DICOM trees, tables; in any mixture."),
    ],
    out: Out,
    k1: Annotated[int, typer.Option("--k1", min=1, help="Patches a word.")] = 64,
    per_patient: Annotated[int, typer.Option("--per-patient", min=1, help="Patches of one patient a word.")] = 4,
    min_patients: Annotated[
        int, typer.Option("--min-patients", min=1, help="Patients a word needs; one with fewer is dropped and named.")
    ] = 3,
    exclude_patients: Annotated[
        Path | None, typer.Option("--exclude-patients", help="File of patients to leave out, one a line.")
    ] = None,
    markers: Annotated[
        bool, typer.Option("--markers", help="Take patches with markers and burned-in text too; they are kept out.")
    ] = False,
    anatomy: Annotated[
        bool, typer.Option("--anatomy", help="Patches of anatomy too, of every image, if the aligner knows it.")
    ] = False,
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="I/N", help="Every N-th image, for medsynth codebook merge.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images at a time; no effect.")] = 1024,
    bundle: settings.Bundle = settings.DEFAULT_BUNDLE,
    device: settings.Device = "auto",
    resume: settings.Resume = False,
    overwrite: settings.Overwrite = False,
    errors: settings.Errors = None,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> int:
    """Find the best patches of each word in real images, by their labels, boxes and reports.

    The same codebook comes out whatever the order and batches of images, of shards or after an interruption. Written
    into the folder of a bundle, it becomes that bundle's.
    """
    from medsynth_cli import modality
    from medsynth_cli.alignment import assembly, build, codebook, sources
    from medsynth_cli.alignment.quality import Rules
    from medsynth_cli.alignment.request import Request
    from medsynth_cli.runtime import bundles, devices
    from medsynth_cli.runtime.progress import Progress, console
    from medsynth_cli.text import vocabulary

    part = sources.parse_shard(shard) if shard else None
    excluded = sources.read_patients(exclude_patients) if exclude_patients else frozenset()
    rules = Rules(k1, per_patient, min_patients)
    request = Request(tuple(data), part, rules, markers, anatomy, excluded, batch_size)
    failures, opened, resolved = records.Failures(errors), bundles.load(bundle), devices.resolve(device)
    known = vocabulary.load(modality.find(opened.modality))
    building = build.Build(request, opened, known, out, resolved, failures)
    if not building.prepare(resume, overwrite):
        console().print(f"{building.result}: built before", markup=False)
        return Exit.DONE
    with Progress("reading images", building.source.count(), building.place.position) as progress:
        result = building.run(progress)
    for label, images in sorted(building.evidence.unknown.items()):
        console().print(f"{images} images have the label {label}, which the vocabulary does not know", markup=False)
    if excluded:
        left_out = building.place.counts["excluded"]
        console().print(f"{left_out} images of {len(excluded)} excluded patients left out", markup=False)
    if isinstance(result, codebook.Codebook):
        _tell(assembly.notes(result))
        console().print(f"{len(result.at)} patches of {len(result.words)} words in {out}", markup=False)
        return failures.exit_code(len(result.at))
    console().print(f"{len(result.rows)} candidates in {building.result}, to be merged", markup=False)
    return failures.exit_code(len(result.rows))


@app.command()
def merge(
    shards: Annotated[list[Path], typer.Argument(help="Folders that codebook build --shard wrote; all of them.")],
    out: Out,
    overwrite: settings.Overwrite = False,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> int:
    """Make one codebook of shards: byte for byte that of one pass over all images."""
    from medsynth_cli.alignment import assembly, codebook
    from medsynth_cli.alignment import merge as merging
    from medsynth_cli.runtime.progress import console

    if (out / codebook.TENSORS).exists() and not overwrite:
        raise MedsynthError(f"{out}: holds a codebook", "--overwrite replaces it")
    merged = merging.merge(shards)
    codebook.place(out, merged)
    _tell(assembly.notes(merged))
    console().print(f"{len(merged.at)} patches of {len(merged.words)} words in {out}", markup=False)
    return Exit.DONE


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
    known = vocabulary.load(modality.find(opened.modality))
    chosen = shows.choose(loaded, words or [], known)
    sheet = shows.draw(loaded, chosen, count, tokenizer.load(opened, devices.resolve(device)))
    atomic.write_bytes(out, pixels.encode_png(sheet))
    console().print(f"drawn in {out}", markup=False)
    for term, side in chosen:
        typer.echo(f"{term}\t{side or '-'}\t{len(loaded.entries(term, side))} patches")
    return Exit.DONE


@app.command()
def stats(
    bundle: settings.Bundle = settings.DEFAULT_BUNDLE,
    codebook: settings.Codebook = None,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> int:
    """Say what a codebook holds: one JSON object on stdout, a table on stderr.

    Patches, patients and source images of each word, how their scores are distributed, and which words of the
    vocabulary have none.
    """
    from medsynth_cli import modality
    from medsynth_cli.alignment import codebook as codebooks
    from medsynth_cli.alignment import stats as statistics
    from medsynth_cli.runtime import bundles
    from medsynth_cli.runtime.progress import console
    from medsynth_cli.text import vocabulary

    opened = bundles.load(bundle)
    known = vocabulary.load(modality.find(opened.modality))
    found = statistics.of(codebooks.of(opened, codebook), known)
    statistics.show(found, console())
    typer.echo(records.dumps(found))
    return Exit.DONE


@app.command()
def audit(
    images: Annotated[
        list[str], typer.Argument(help="Folders that medsynth generate wrote, record files, or images of any kind.")
    ],
    bundle: settings.Bundle = settings.DEFAULT_BUNDLE,
    codebook: settings.Codebook = None,
    device: settings.Device = "auto",
    errors: settings.Errors = None,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> int:
    """Find codebook patches that were copied into generated images: one JSON object on stdout, a table on stderr.

    Every patch is laid over every place of an image. How alike they are by chance is read off the codebook's own
    source images, with the patches of other patients: in 1 of 100 images a patch passes for copied.
    """
    from medsynth_cli.alignment import audit as audits
    from medsynth_cli.alignment import codebook as codebooks
    from medsynth_cli.files.cache import Cache
    from medsynth_cli.metrics import imagesets
    from medsynth_cli.metrics.observers import Observers
    from medsynth_cli.runtime import bundles, devices
    from medsynth_cli.runtime.progress import console
    from medsynth_cli.tokens import tokenizer

    failures, opened = records.Failures(errors), bundles.load(bundle)
    loaded, observers = codebooks.of(opened, codebook), Observers(opened, devices.resolve(device))
    size_px = tokenizer.config(opened.config(tokenizer.PART)).resolution_px
    read = imagesets.read(images, size_px, failures, Cache(None), [observers.codes])
    found = audits.Auditor(loaded, observers.tokenizer, observers.codes).audit(read.of(observers.codes), read.meta)
    audits.show(found, console())
    typer.echo(records.dumps(found))
    return failures.exit_code(len(read))


def _tell(notes: list[str]) -> None:
    from medsynth_cli.runtime.progress import console

    for note in notes:
        console().print(note, markup=False)
