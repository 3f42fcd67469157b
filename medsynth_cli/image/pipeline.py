"""From any record to an aligned one: term sets get a report, reports get keywords and key patches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from medsynth_cli import modality as modalities
from medsynth_cli.text import providers, reports

if TYPE_CHECKING:
    from medsynth_cli.alignment.retrieval import Retriever
    from medsynth_cli.files.records import Failures, Record

KINDS = ("terms", "report", "aligned")
"""Kinds of record that can become images."""


def aligned(
    records: Iterable[Record], retriever: Retriever, k2: int | None, seed: int, failures: Failures
) -> Iterator[Record]:
    """Take every record through the stages that it has not been through.

    Args:
        records: term sets, reports or aligned records.
        retriever: finds keywords and key patches.
        k2: key patches a report; None keeps those that an aligned record brings, and else is the default.
        seed: of the reports and of the choice of key patches.
        failures: told of term sets without a faithful report.
    """
    folder = modalities.find(retriever.vocabulary.modality)
    writer = providers.load("template", folder, seed)
    for record in records:
        if record["kind"] == "terms":
            stage: Iterable[Record] = reports.compose([record], writer, retriever.vocabulary, failures)
        else:
            stage = [record]
        for ready in stage:
            yield retriever.align(ready, k2, seed) if ready["kind"] == "report" or k2 is not None else ready
