"""``medsynth vocab``: look at, check and sample a vocabulary."""

from __future__ import annotations

import dataclasses
from pathlib import Path
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
    count: Annotated[
        int | None, typer.Option("-n", "--count", min=1, help="Number of term sets; default: 1, or all of pairs.")
    ] = None,
    seed: settings.Seed = 0,
    strategy: Annotated[
        str | None,
        typer.Option("--strategy", help="mixed, frequency, uniform, balanced or pairs; default: mixed, or frequency."),
    ] = None,
    like: Annotated[
        Path | None, typer.Option("--like", help="statistics.json of vocab build: draw as in that corpus.")
    ] = None,
    require: Annotated[
        list[str] | None, typer.Option("--require", help='Finding in every set, such as "left effusion"; repeatable.')
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option("--exclude", help="Finding in no set; repeatable.")] = None,
    normal_fraction: Annotated[
        float | None, typer.Option("--normal-fraction", min=0, max=1, help="Share of sets without a finding.")
    ] = None,
    view: Annotated[str | None, typer.Option("--view", help="View, or shares: PA:0.7,AP:0.3; default: drawn.")] = None,
    sex: Annotated[str | None, typer.Option("--sex", help="M, F, or shares: M:0.4,F:0.6; default: drawn.")] = None,
    age: Annotated[
        str | None, typer.Option("--age", help="Years, a range or shares: 0-17:0.1,18-90:0.9; default: 18-90.")
    ] = None,
    out: settings.Out = "-",
    modality: settings.Modality = settings.DEFAULT_MODALITY,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> None:
    """Draw random term sets, as records for medsynth report.

    Strategies: mixed (findings with a label four times in five), frequency (as a corpus has them, together as
    there), uniform (all alike), balanced (inversely to their frequency in a corpus), pairs (the fewest term sets that
    have every plausible pair of anatomy and pathology once). The corpus is that of --like, or of the vocabulary if it
    was built from one.
    """
    from medsynth_cli.files import records
    from medsynth_cli.text import comparing, likeness, people, sampling, termsets, vocabulary

    folder = modalities.find(modality)
    terms = vocabulary.load(folder)
    own = folder / comparing.STATISTICS
    counted = like or (own if strategy in ("frequency", "balanced") and own.exists() else None)
    given = {
        "view": people.names(view, modalities.load(modality).views, "view") if view is not None else None,
        "sex": people.names(sex, ("M", "F"), "sex") if sex is not None else None,
        "age": people.ages(age) if age is not None else None,
    }
    plan = sampling.Plan(
        strategy=strategy or ("frequency" if like else "mixed"),
        likeness=likeness.load(counted) if counted is not None else None,
        require=[finding for phrase in require or () for finding in termsets.parse(phrase, terms)],
        exclude=frozenset(finding["term"] for phrase in exclude or () for finding in termsets.parse(phrase, terms)),
        normal_fraction=normal_fraction,
        **{name: value for name, value in given.items() if value is not None},
    )
    number = count if count is not None or plan.strategy == "pairs" else 1
    with records.Writer(out) as writer:
        for record in sampling.sample(terms, number, seed, plan):
            writer.write(record)


for command in (vocab_mining.build, vocab_mining.apply, vocab_mining.diff):
    app.command()(command)
