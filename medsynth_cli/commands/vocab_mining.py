"""``medsynth vocab build``, ``apply`` and ``diff``: vocabularies from a site's own reports."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from medsynth_cli import modality as modalities
from medsynth_cli import settings
from medsynth_cli.errors import MedsynthError


def build(
    corpus: Annotated[list[str], typer.Argument(metavar="CORPUS...", help="Files or folders of reports; - is stdin.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write the vocabulary to.")],
    extractor: Annotated[
        str, typer.Option("--extractor", help="What finds terms: rules, negspacy, radgraph or hf:MODEL.")
    ] = "rules",
    set_: settings.Settings = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="jsonl, csv, tsv, text or xml; default: by the files' names.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column", metavar="FIELD=COLUMN", help="Column or JSON key of id, findings, impression or text."
        ),
    ] = None,
    min_reports: Annotated[
        int, typer.Option("--min-reports", min=1, help="Reports that a term, synonym or count needs at least.")
    ] = 5,
    min_share: Annotated[
        float, typer.Option("--min-share", min=0, max=1, help="Share of all reports that a term needs at least.")
    ] = 0.0,
    suggestions: Annotated[
        int, typer.Option("--suggestions", min=0, help="New phrases to suggest in review.csv, for each kind at most.")
    ] = 200,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes; 0 is one a core.")] = 0,
    overwrite: settings.Overwrite = False,
    modality: Annotated[str, typer.Option("--modality", help="Vocabulary to start from.")] = settings.DEFAULT_MODALITY,
    errors: settings.Errors = None,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> int:
    """Build a vocabulary from a corpus of reports.

    Writes anatomy.yaml, pathology.yaml, lexicon.yaml, statistics.json and review.csv; the folder is then a modality.
    """
    import itertools

    from medsynth_cli.files import corpora, records
    from medsynth_cli.runtime import progress
    from medsynth_cli.runtime.options import pairs
    from medsynth_cli.text import counting, mining, review, vocabulary

    folder = modalities.find(modality)
    if out.resolve() == folder.resolve():
        raise MedsynthError(f"{out}: is the vocabulary to start from", "choose another folder with -o")
    review.refuse(out, overwrite)
    failures = records.Failures(errors)
    layout = corpora.Layout(format_, pairs(column))
    thresholds = mining.Thresholds(min_reports, min_share, suggestions)
    reports = itertools.chain.from_iterable(corpora.read(source, layout, failures) for source in corpus)
    with progress.Progress("reports") as bar:
        count = workers or (os.cpu_count() or 1)
        tally = counting.count(reports, folder, extractor, pairs(set_), count, bar.advance)
    if not tally.reports:
        raise MedsynthError("no report was read", "see the lines above", failures.exit_code(0))
    rows = mining.rows(tally, vocabulary.load(folder, lexicon=True), thresholds)
    kept = mining.kept(rows)
    review.save(out, kept, folder)
    review.write(out / review.REVIEW, rows, min_reports)
    source = {"extractor": extractor, "settings": pairs(set_), "modality": folder.name}
    review.write_statistics(out, source | mining.statistics(tally, kept, thresholds))
    progress.console().print(review.summary(rows, tally, out), markup=False)
    return failures.exit_code(tally.reports)


def apply(
    reviewed: Annotated[Path, typer.Argument(metavar="REVIEW", help="review.csv of vocab build, edited.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder to write to; default: that of REVIEW.")
    ] = None,
    modality: Annotated[
        str | None, typer.Option("--modality", help="Where modality.yaml is; default: beside REVIEW.")
    ] = None,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> None:
    """Write the vocabulary that a reviewed review.csv decides on.

    Its rows say keep, drop or merge (into the key of merge_into); names, synonyms and all other fields can be edited.
    """
    from medsynth_cli.runtime import progress
    from medsynth_cli.text import mining, review

    rows = review.read(reviewed)
    folder = modalities.find(modality or str(reviewed.parent))
    target = out or reviewed.parent
    review.save(target, mining.kept(rows), folder)
    progress.console().print(review.summary(rows, None, target), markup=False)


def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="A vocabulary: its name or folder.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The one to compare with it.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a difference on stdout.")] = False,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> None:
    """Show what differs between two vocabularies, and, if both have statistics.json, which findings became twice as
    frequent or rare."""
    from medsynth_cli.files import records
    from medsynth_cli.text import comparing, vocabulary

    folders = [modalities.find(name) for name in (old, new)]
    rows = list(comparing.differences(*(vocabulary.load(folder, lexicon=True) for folder in folders)))
    counted = [folder / comparing.STATISTICS for folder in folders]
    if all(path.exists() for path in counted):
        rows += comparing.shifts(*map(comparing.statistics, counted))
    for row in rows:
        typer.echo(records.dumps(row) if as_json else comparing.line(row))
