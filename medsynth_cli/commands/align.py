"""``medsynth align``."""

from __future__ import annotations

from typing import Annotated

import typer

from medsynth_cli import settings
from medsynth_cli.files import records


def align(
    source: Annotated[str, typer.Argument(metavar="REPORTS", help="Report records; - is stdin.")] = "-",
    out: settings.Out = "-",
    k2: Annotated[int | None, typer.Option("--k2", min=0, help="Key patches a report; 0 fetches none.")] = None,
    seed: settings.Seed = 0,
    bundle: settings.Bundle = settings.DEFAULT_BUNDLE,
    codebook: settings.Codebook = None,
    modality: Annotated[str | None, typer.Option("--modality", help="Vocabulary; default: the bundle's.")] = None,
    errors: settings.Errors = None,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> int:
    """Find the keywords of reports and fetch their key patches from the visual codebook.

    Reads report records and writes aligned records. Words that a report denies or doubts fetch nothing.
    """
    from medsynth_cli.alignment import retrieval
    from medsynth_cli.runtime import bundles

    failures = records.Failures(errors)
    retriever = retrieval.load(bundles.load(bundle), codebook, modality)
    with records.Writer(out) as writer:
        for record in records.read(source, ("report", "aligned"), failures):
            writer.write(retriever.align(record, k2, seed))
    return failures.exit_code(writer.count)
