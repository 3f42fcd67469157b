"""``medsynth generate``."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Literal

import typer

from medsynth_cli import settings
from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import records


def generate(
    source: Annotated[
        str | None, typer.Argument(metavar="[RECORDS]", help="Term, report or aligned records; - is stdin.")
    ] = None,
    findings: Annotated[
        str | None, typer.Option("--findings", help='What to show: "left effusion, cardiomegaly", or "normal".')
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder; default: medsynth-out/<first finding>-<seed>.")
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=10_000, help="Images a record.")] = 1,
    seed: settings.Seed = 0,
    view: Annotated[str | None, typer.Option("--view", help="PA, AP ...; default with --findings: PA.")] = None,
    sex: Annotated[Literal["M", "F"] | None, typer.Option("--sex", help="Sex of the patient.")] = None,
    age: Annotated[int | None, typer.Option("--age", min=0, max=120, help="Age of the patient, in years.")] = None,
    temperature: Annotated[float, typer.Option("--temperature", min=0, help="Variety; 0 takes likeliest codes.")] = 0.9,
    top_k: Annotated[int, typer.Option("--top-k", min=0, help="Draw among this many likeliest codes; 0: all.")] = 0,
    cfg: Annotated[float, typer.Option("--cfg", min=0, help="Guidance: 1 is none, more follows the prompt.")] = 3.0,
    k2: Annotated[int | None, typer.Option("--k2", min=0, help="Key patches an image; 0 uses none.")] = None,
    format: Annotated[Literal["png", "dicom"], typer.Option("--format", help="File format.")] = "png",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images at a time; no effect on them.")] = 16,
    bundle: settings.Bundle = settings.DEFAULT_BUNDLE,
    codebook: settings.Codebook = None,
    device: settings.Device = "auto",
    resume: settings.Resume = False,
    overwrite: settings.Overwrite = False,
    errors: settings.Errors = None,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> int:
    """Make synthetic images from findings, or from term, report or aligned records.

    Writes the images, records.jsonl, run.json and a contact sheet to a folder; the records also go to
    stdout when it is no terminal. The same command makes the same bytes.
    """
    from medsynth_cli.image import pipeline, requests

    if (findings is None) == (source is None):
        raise MedsynthError("name either --findings or a file of records", 'medsynth generate --findings "effusion"')
    request = requests.Request(
        seed=seed, count=count, view=view, sex=sex, age=age, k2=k2, temperature=temperature, top_k=top_k,
        cfg=cfg, format=format, bundle=bundle, codebook=codebook,
    )  # fmt: skip
    failures = records.Failures(errors)
    wanted = (
        [request.term_set(findings)] if findings is not None else records.read(str(source), pipeline.KINDS, failures)
    )
    if out is None:
        first = next(iter(wanted := iter(wanted)), None)
        wanted = itertools.chain([first] if first else [], wanted)
        out = Path("medsynth-out") / requests.folder_name(first, seed)
    done = requests.fulfil(request, wanted, out, device, batch_size, resume, overwrite, failures)
    return failures.exit_code(done)
