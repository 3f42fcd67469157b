"""``medsynth vocab``: look at, check and sample a vocabulary."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from medsynth_cli import modality as modalities
from medsynth_cli import settings
from medsynth_cli.commands import vocab_mining
from medsynth_cli.errors import MedsynthError

app = typer.Typer(help="Look at, check, build, compare and sample vocabularies.", no_args_is_help=True)


@app.command()
def show(
    phrase: Annotated[str | None, typer.Argument(help="Only the term of this name, synonym, key or label.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only anatomy, or only pathology.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a term on stdout.")] = False,
    modality: settings.Modality = settings.DEFAULT_MODALITY,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> None:
    """Show the terms: a table on stderr, their names on stdout."""
    from rich.table import Table

    from medsynth_cli.files import records
    from medsynth_cli.runtime import progress
    from medsynth_cli.text import vocabulary

    terms = vocabulary.load(modalities.find(modality))
    chosen = list(terms.terms.values())
    if kind is not None:
        if kind not in (vocabulary.ANATOMY, vocabulary.PATHOLOGY):
            raise MedsynthError(f"no kind {kind!r}", f"known: {vocabulary.ANATOMY}, {vocabulary.PATHOLOGY}")
        chosen = terms.of_kind(kind)
    if phrase is not None:
        term = terms.find(phrase)
        if term is None or term not in chosen:
            raise MedsynthError(f"unknown term {phrase!r}", f"nearest: {', '.join(terms.nearest(phrase))}")
        chosen = [term]
    if as_json:
        for term in chosen:
            typer.echo(records.dumps(dataclasses.asdict(term)))
        return
    table = Table("key", "kind", "sides", "label", "synonyms")
    table.columns[0].no_wrap = True
    for term in chosen:
        table.add_row(term.key, term.kind, "yes" if term.sided else "", term.label or "", ", ".join(term.synonyms))
    progress.console().print(table)
    for term in chosen:
        typer.echo(term.name)


@app.command()
def check(
    modality: settings.Modality = settings.DEFAULT_MODALITY,
    errors: settings.Errors = None,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> int:
    """Check a vocabulary: fields, duplicates, dangling references. Every complaint names file and line."""
    from medsynth_cli.errors import Exit
    from medsynth_cli.files.records import Failures
    from medsynth_cli.runtime import progress
    from medsynth_cli.text import vocabulary

    folder = modalities.find(modality)
    failures = Failures(errors)
    for complaint in vocabulary.check(folder):
        failures.add(complaint.message, complaint.file, complaint.line)
    if len(failures):
        return Exit.SOME_FAILED
    counts = [
        f"{len(vocabulary.load(folder).of_kind(k))} {k} terms" for k in (vocabulary.ANATOMY, vocabulary.PATHOLOGY)
    ]
    progress.console().print(f"{folder}: {' and '.join(counts)}, no complaint", markup=False)
    return Exit.DONE


@app.command()
def sample(
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Number of term sets.")] = 1,
    seed: settings.Seed = 0,
    view: Annotated[str | None, typer.Option("--view", help="View of all; default: drawn.")] = None,
    sex: Annotated[str | None, typer.Option("--sex", help="M or F for all; default: drawn.")] = None,
    age: Annotated[int | None, typer.Option("--age", min=0, max=130, help="Years, for all; default: drawn.")] = None,
    out: settings.Out = "-",
    modality: settings.Modality = settings.DEFAULT_MODALITY,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> None:
    """Draw random term sets, as records for medsynth report."""
    from medsynth_cli.files import records
    from medsynth_cli.text import termsets, vocabulary

    folder = modalities.find(modality)
    views = modalities.load(modality).views
    if view is not None and view not in views:
        raise MedsynthError(f"unknown view {view!r}", f"known: {', '.join(views)}")
    if sex not in (None, "M", "F"):
        raise MedsynthError(f"unknown sex {sex!r}", "M or F")
    with records.Writer(out) as writer:
        for record in termsets.sample(vocabulary.load(folder), count, seed, view, sex, age):
            writer.write(record)


for command in (vocab_mining.build, vocab_mining.apply, vocab_mining.diff):
    app.command()(command)
