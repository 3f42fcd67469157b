"""One evaluation: metrics on synthetic beside real images, as a score record."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files.records import Record
from medsynth_cli.metrics import METRICS, gates

if TYPE_CHECKING:
    from rich.console import Console

    from medsynth_cli.metrics.comparison import Comparison, Row
    from medsynth_cli.metrics.gates import Gate

DEFAULT = ("fd", "kid", "prdc", "auroc", "niqe")


def chosen(names: str) -> tuple[str, ...]:
    """The metrics of a comma-separated list; ``all`` is every one.

    Raises:
        MedsynthError: there is no metric of that name.
    """
    wanted = tuple(METRICS) if names == "all" else tuple(name.strip() for name in names.split(",") if name.strip())
    unknown = [name for name in wanted if name not in METRICS]
    if unknown or not wanted:
        raise MedsynthError(f"no metric {', '.join(unknown) or 'named'}", f"known: {', '.join(METRICS)}, all")
    return wanted


def evaluate(
    comparison: Comparison, metrics: Sequence[str] = DEFAULT, bounds: Sequence[Gate] = (), failed: int = 0
) -> Record:
    """Compute metrics and hold them against gates.

    Args:
        comparison: the images and what to compute with.
        metrics: names in `METRICS`.
        bounds: gates; see `gates`.
        failed: number of images and records that could not be read, for the counts.

    Returns:
        A record of kind ``score``; a metric that cannot be computed is null with a reason.
    """
    rows: dict[str, Row] = {}
    for name in metrics:
        module, _, attribute = METRICS[name].partition(":")
        rows |= getattr(importlib.import_module(module), attribute)(comparison)
    bundle = comparison.bundle
    return {
        "kind": "score",
        "bundle": {"name": bundle.name, "sha256": bundle.sha256},
        "real": comparison.real.name,
        "seed": comparison.seed,
        "counts": {"synthetic": len(comparison.images), "real": len(comparison.real), "failed": failed},
        "metrics": rows,
        "gates": gates.check(bounds, rows),
    }


def show(score: Record, console: Console) -> None:
    """Print a score as a table, with what is to be said about single metrics below."""
    counts = score["counts"]
    table = Table(title=f"{counts['synthetic']} synthetic images against {counts['real']} of {score['real']}")
    table.add_column("metric", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("real", justify="right", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("extractor")
    for name, result in score["metrics"].items():
        table.add_row(name, *_cells(result))
    console.print(table)
    for name, result in score["metrics"].items():
        remark = result.get("reason") or result.get("note")
        if remark:
            console.print(f"{name}: {remark}", markup=False, style="dim")


def _cells(result: dict[str, Any]) -> tuple[str, ...]:
    bounds = result.get("interval")
    return (
        _number(result["value"]),
        f"{_number(bounds[0])} to {_number(bounds[1])}" if bounds else "",
        _number(result["real"]) if "real" in result else "",
        str(result.get("n", "")),
        result.get("extractor", ""),
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
