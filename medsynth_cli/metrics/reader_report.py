"""The figures of a reader study as tables for a terminal, with what they do not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from medsynth_cli.metrics.reader_scores import POWER, rows_of

if TYPE_CHECKING:
    from rich.console import Console

    from medsynth_cli.files.records import Record
    from medsynth_cli.metrics.comparison import Row

MOST_NAMED = 8
"""Missing cases that are named; the JSON has them all."""


def show(record: Record, console: Console) -> None:
    """Print a record of kind ``reader-study``."""
    counts = record["counts"]
    title = f"{record['study']['name']}: {counts['synthetic']} synthetic and {counts['real']} real images"
    console.print(_readers(record, title))
    findings = _findings(record)
    if findings.row_count:
        console.print(findings)
    for name, found in record["agreement"].items():
        console.print(f"{name}: {_short(found)} {_interval(found)} on {found['n']} cases", markup=False)
    for name, reader in record["readers"].items():
        for kind, cases in (("not answered", reader["missing"]), ("without confidence", reader["unrated"])):
            if cases:
                more = f" and {len(cases) - MOST_NAMED} more" if len(cases) > MOST_NAMED else ""
                console.print(f"{name}: {len(cases)} {kind}: {', '.join(cases[:MOST_NAMED])}{more}", markup=False)
    console.print(record["note"], markup=False, style="dim")
    for name, reader in record["readers"].items():
        console.print(f"{name}: {_bound(reader['metrics']['accuracy'])}", markup=False, style="dim")


def _readers(record: Record, title: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("reader")
    for column in ("n", "accuracy", "95 %", "p", "sens.", "spec.", "AUROC", "95 %"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, rows in rows_of(record).items():
        accuracy, area = rows["accuracy"], rows["AUROC"]
        p = f"{accuracy['p']:.2g}" if "p" in accuracy else ""
        table.add_row(
            name, str(accuracy["n"]), _short(accuracy), _interval(accuracy), p, _short(rows["sensitivity"]),
            _short(rows["specificity"]), _short(area), _interval(area),
        )  # fmt: skip
    return table


def _findings(record: Record) -> Table:
    """Accuracy by finding, of all readers together."""
    rows = record["pooled"] or next(iter(record["readers"].values()))["metrics"]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("accuracy by finding, all readers" if record["pooled"] else "accuracy by finding")
    for column in ("n", "accuracy", "95 %"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, found in rows.items():
        if name.startswith("accuracy "):
            table.add_row(name.removeprefix("accuracy "), str(found["n"]), _short(found), _interval(found))
    return table


def _bound(accuracy: Row) -> str:
    n, (low, high) = accuracy["n"], accuracy["interval"]
    if accuracy["detectable"] is None:
        return f"{n} answers are too few to tell any accuracy from guessing"
    found = f"an accuracy of {accuracy['detectable']:.2f} or more would be told from guessing {POWER:.0%} of the time"
    return f"with {n} answers the accuracy may be anything from {low:.2f} to {high:.2f}; {found}"


def _short(found: Row) -> str:
    return "-" if found["value"] is None else f"{found['value']:.2f}"


def _interval(found: Row) -> str:
    bounds = found.get("interval")
    return f"{bounds[0]:.2f}..{bounds[1]:.2f}" if bounds else ""
