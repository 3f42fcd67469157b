"""``medsynth report``: term sets in, reports out."""

from __future__ import annotations

from typing import Annotated

import typer

from medsynth_cli import modality as modalities
from medsynth_cli import settings


def report(
    source: Annotated[str, typer.Argument(metavar="RECORDS", help="Term sets as JSONL; - is stdin.")] = "-",
    provider: Annotated[str, typer.Option("--provider", help="What writes: template or openai.")] = "template",
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="OpenAI-compatible endpoint; default: OPENAI_BASE_URL.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Model of the endpoint.")] = None,
    seed: settings.Seed = 0,
    out: settings.Out = "-",
    errors: settings.Errors = None,
    set_: settings.Settings = None,
    modality: settings.Modality = settings.DEFAULT_MODALITY,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> int:
    """Write one report a term set: from a grammar, or by a language model."""
    from medsynth_cli.files import records
    from medsynth_cli.runtime.options import pairs
    from medsynth_cli.runtime.progress import Progress
    from medsynth_cli.text import providers, reports, vocabulary

    folder = modalities.find(modality)
    named = {"base_url": base_url, "model": model}
    values = pairs(set_) | {key: value for key, value in named.items() if value is not None}
    writer = providers.load(provider, folder, seed, **values)
    failures = records.Failures(errors)
    term_sets = records.read(source, ("terms",), failures)
    with records.Writer(out) as output, Progress("reports") as bar:
        for record in reports.compose(term_sets, writer, vocabulary.load(folder), failures):
            output.write(record)
            bar.advance()
    return failures.exit_code(output.count)
