"""`medsynth evaluate`: score synthetic images against real ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medsynth_cli import modality as modalities
from medsynth_cli import settings
from medsynth_cli.errors import Exit, MedsynthError
from medsynth_cli.files import layouts, records
from medsynth_cli.files.cache import Cache, default_folder
from medsynth_cli.files.records import Failures
from medsynth_cli.metrics import DEFAULT, METRICS
from medsynth_cli.runtime import bundles, devices, progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from medsynth_cli.metrics.comparison import Comparison
    from medsynth_cli.metrics.imagesets import ImageSet
    from medsynth_cli.runtime.bundles import Bundle

QUICK = 200


def evaluate(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(metavar="SYNTH", help="Folder, records file, tar shard, CSV, or - for records on stdin."),
    ] = None,
    real: Annotated[
        list[str] | None,
        typer.Option("--real", metavar="DATA|BUNDLE:NAME", help="Real images, or a bundled reference (default)."),
    ] = None,
    train: Annotated[
        list[str] | None,
        typer.Option("--train", metavar="DATA|BUNDLE:NAME", help="Training images, for floors (default: bundled)."),
    ] = None,
    metrics: Annotated[
        str, typer.Option("--metrics", help=f"Comma-separated: {', '.join(METRICS)}; or all.")
    ] = ",".join(DEFAULT),
    utility: Annotated[
        bool, typer.Option("--utility", help="Also train probes on synthetic, real and both; test them on real images.")
    ] = False,
    extractors: Annotated[
        str,
        typer.Option(
            "--extractors",
            help="Comma-separated: effnet, inception, judge, xrv, clip, clip:<model>, hub:<model>; docs/extractors.md.",
        ),
    ] = "effnet",
    by: Annotated[
        str, typer.Option("--by", help="Figures of groups as well: sex, age, view, finding; or none.")
    ] = "sex,age,view",
    protocol: Annotated[
        str | None,
        typer.Option("--protocol", metavar="ARXIV", help="Evaluate as a paper does, as far as known: 2403.06835."),
    ] = None,
    gate: Annotated[Path | None, typer.Option("--gate", help="YAML file of bounds; exit code 4 if one breaks.")] = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="Earlier result, for gates relative to it.")
    ] = None,
    init_gates: Annotated[
        Path | None, typer.Option("--init-gates", help="Write a commented file of gates that this run keeps.")
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--compare", metavar="A.json B.json", help="Compare two results instead of scoring images."),
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write a copy of the result there.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a report to read, in one file.")] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write gates and alarms as JUnit XML.")] = None,
    paper: Annotated[
        Path | None, typer.Option("--paper", help="Write methods and a table for a paper: .md, or .tex for LaTeX.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help=f"Look at {QUICK} images only; the result says so.")] = False,
    reader_study: Annotated[
        Path | None,
        typer.Option("--reader-study", metavar="DIR", help="Write images for readers to tell real from synthetic."),
    ] = None,
    cases: Annotated[int, typer.Option("--cases", min=2, max=998, help="Images of a reader study, half real.")] = 60,
    answers: Annotated[
        list[Path] | None,
        typer.Option("--answers", metavar="CSV", help="Score a reader's answers to --reader-study; repeatable."),
    ] = None,
    overwrite: settings.Overwrite = False,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Folder where what networks said of images is kept.")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Keep and use nothing from earlier runs.")] = False,
    errors: settings.Errors = None,
    bundle: settings.Bundle = settings.DEFAULT_BUNDLE,
    device: settings.Device = "auto",
    seed: settings.Seed = 0,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> int:
    """Score synthetic images against real ones: one JSON object on stdout, a table on stderr."""
    from medsynth_cli.metrics import contrast, evaluation, gates, imagesets, publish, subgroups
    from medsynth_cli.metrics import protocol as protocols
    from medsynth_cli.metrics import reader_study as study
    from medsynth_cli.metrics.comparison import Comparison
    from medsynth_cli.metrics.observers import Observers

    if compare is not None:
        return _compare(*compare)
    if answers:
        return _score_readers(reader_study, answers, seed, json)
    if source is None:
        raise MedsynthError("no images named", "give SYNTH, or two results with --compare")
    options = {"metrics": metrics, "extractors": extractors, "by": by}
    plan = protocols.plan(protocol, options, settings.given(context), real)
    if plan is not None:
        metrics, extractors, by, real = *(plan.options[name] for name in options), plan.real
    wanted, used = evaluation.chosen(metrics, utility), evaluation.extractors_of(extractors)
    fields = evaluation.listed(by)
    subgroups.check(fields)
    publish.check_paper(paper)
    if reader_study is not None:
        study.check(reader_study, overwrite)
    bounds, earlier = gates.load(gate) if gate else [], contrast.load(baseline) if baseline else None
    opened, failures = bundles.load(bundle), Failures(errors)
    observers = Observers(opened, devices.resolve(device))
    size_px = modalities.load(opened.modality).resolution_px
    kept = Cache(None if no_cache else cache or default_folder())
    looks = [] if reader_study is not None else evaluation.looks(wanted, used, observers)

    def read(names: list[str], most: int | None = None) -> ImageSet:
        return imagesets.read(names, size_px, failures, kept, looks, most)

    compared, trained = _named(real, opened, read, False), _named(train, opened, read, True)
    if compared is None:
        raise MedsynthError(f"bundle {opened.name} has no reference", "name real images with --real")
    comparison = Comparison(read([source], QUICK if quick else None), compared, trained, observers, used, seed)
    if reader_study is not None:
        _write_study(comparison, cases, reader_study)
        return failures.exit_code(cases)
    score = evaluation.evaluate(comparison, wanted, fields, len(failures), quick)
    if plan is not None:
        score["protocol"] = plan.account(score, compared)
    score["gates"] = gates.check(bounds, score, earlier)

    evaluation.show(score, progress.console())
    writers = ((json, publish.as_json), (init_gates, publish.as_gates), (junit, publish.as_junit))
    for path, write in (*writers, (paper, publish.as_paper)):
        if path is not None:
            write(score, path)
    if html is not None:
        publish.as_html(score, comparison, html)
    typer.echo(records.dumps(score))
    broken = [entry for entry in score["gates"] if not entry["held"]]
    if broken:
        hint = "the score on stdout has the figures"
        raise MedsynthError("; ".join(gates.describe(entry) for entry in broken), hint, Exit.GATE_FAILED)
    return failures.exit_code(len(comparison.synthetic))


def _named(
    names: list[str] | None, bundle: Bundle, read: Callable[[list[str]], ImageSet], training: bool
) -> ImageSet | None:
    """Images named by path, a reference named ``bundle:name``, or the bundle's own, None if it has none."""
    from medsynth_cli.metrics import evaluation, reference

    if not names:
        return evaluation.open_reference(bundle, training)
    is_path = Path(names[0]).exists() or layouts.detect(layouts.split(names[0])[0]) is not None
    if len(names) == 1 and not is_path and ":" in names[0]:
        owner, _, name = names[0].rpartition(":")
        return reference.load(bundle if owner in (bundle.name, str(bundle.folder)) else bundles.load(owner), name)
    return read(names)


def _write_study(comparison: Comparison, count: int, folder: Path) -> None:
    """A reader study in a folder, its key beside it."""
    from medsynth_cli.metrics import reader_cases, reader_study

    cases, console = reader_cases.choose(comparison, count), progress.console()
    key = reader_study.write(cases, folder)
    shown = ", ".join(f"{label} {ours}:{real}" for label, (ours, real) in reader_cases.balance(cases).items())
    console.print(f"synthetic to real images: {count // 2}:{count // 2}; {shown or 'no findings known'}", markup=False)
    console.print(f"{folder}: {count} cases, to hand over as they are; index.html shows them", markup=False)
    console.print(f"{key}: the key, not to be handed over", markup=False)


def _score_readers(folder: Path | None, sheets: list[Path], seed: int, json: Path | None) -> int:
    """What readers' answers say: a table on stderr, one JSON object on stdout."""
    from medsynth_cli.metrics import publish, reader_answers, reader_report, reader_scores

    if folder is None:
        raise MedsynthError("--answers: to which study", "name its folder with --reader-study")
    score = reader_scores.score(reader_answers.read(folder, sheets), seed)
    reader_report.show(score, progress.console())
    if json is not None:
        publish.as_json(score, json)
    typer.echo(records.dumps(score))
    return Exit.DONE


def _compare(one: Path, other: Path) -> int:
    """Two results side by side: a table on stderr, one JSON object a figure on stdout."""
    from medsynth_cli.metrics import contrast

    rows = contrast.compare(contrast.load(one), contrast.load(other))
    contrast.show(rows, progress.console())
    for row in rows:
        typer.echo(records.dumps(row))
    return Exit.DONE
