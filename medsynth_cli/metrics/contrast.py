"""Two scores side by side: which figures differ by more than chance, and which cannot be compared at all."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import records
from medsynth_cli.files.records import Record
from medsynth_cli.metrics.writeup import number, span

if TYPE_CHECKING:
    from rich.console import Console

LEVEL = 0.05
"""Of significance, for all metrics of a comparison together."""

BIASED_BY_N = ("FD", "FID", "CMMD", "coverage", "recall", "Vendi")
"""Beginnings of the names of metrics whose expectation depends on the number of images."""

LIMIT = "∞"
"""In the name of a metric from which that dependence was taken out."""

SAME_N = 0.01
"""Counts that are no further apart, as a share of the larger, are the same."""

_Z = NormalDist().inv_cdf(1 - LEVEL / 2)


def load(path: Path) -> Record:
    """Read a score as ``medsynth evaluate --json`` writes it.

    Raises:
        MedsynthError: it is missing, or no score.
    """
    hint = "name a file that medsynth evaluate --json wrote"
    try:
        score = json.loads(path.read_text("utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise MedsynthError(f"{path}: {error.strerror or error}", hint) from error
    except UnicodeDecodeError as error:
        raise MedsynthError(f"{path}: not UTF-8 ({error.reason})", hint) from error
    except ValueError as error:
        raise MedsynthError(f"{path}: not one JSON object ({error})", hint) from error
    reason = records.complaint(score, ("score",))
    if reason:
        raise MedsynthError(f"{path}: {reason}", hint)
    found: Record = score
    return found


def compare(a: Record, b: Record) -> list[dict[str, Any]]:
    """Compare two runs, metric by metric.

    The intervals of 95 % are taken as normal ones of independent runs: the standard error of a figure is half
    the width of its interval over 1.96, that of the difference the root of the sum of both squares. Of an
    asymmetric interval the half counts that faces the other figure; one cut short at 0 or 1 makes the difference
    look surer than it is. Intervals that take the real images as given say nothing about other real images, and
    runs on the same prompts are not independent: they are told apart less often than they could be.

    Returns:
        For each metric of either run ``metric``, ``a``, ``b``, and either the ``reason`` why they do not compare,
        or: ``difference`` (b - a) and its ``interval`` of 95 %; ``p``, two-sided; ``p_holm``, corrected for the
        number of metrics with a ``p``; ``significant``, `p_holm` <= `LEVEL`; ``better``, ``a``, ``b`` or null if
        they are equal or the metric has no direction; perhaps a ``note``. Without both intervals, those of the
        difference are null.

    Raises:
        MedsynthError: no figure of the runs can be compared.
    """
    reason = run_mismatch(a, b)
    if reason:
        raise MedsynthError(f"these scores do not compare: {reason}", "evaluate both sets of images in the same way")
    rows = [_row(metric, a, b) for metric in dict.fromkeys([*a["metrics"], *b["metrics"]])]
    tested = [row for row in rows if row.get("p") is not None]
    for row, corrected in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row |= {"p_holm": corrected, "significant": corrected <= LEVEL}
    return rows


def holm(p: Sequence[float]) -> list[float]:
    """Corrected p-values, in the order given (Holm 1979).

    Taking all differences with a corrected p-value of at most x for real errs, in any of them, with probability
    x at most, however the tests depend on each other.
    """
    order = sorted(range(len(p)), key=lambda index: p[index])
    corrected, highest = [0.0] * len(p), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = highest
    return corrected


def run_mismatch(a: Record, b: Record) -> str:
    """Why the figures of two runs mean different things; an empty string if they do not."""
    if a.get("real") != b.get("real"):
        return f"one is against {a.get('real')}, the other against {b.get('real')}"
    if bool(a.get("quick")) != bool(b.get("quick")):
        return "one run was quick, the other full"
    return ""


def figure_mismatch(metric: str, a: Record, b: Record) -> str:
    """Why one metric, which both runs have, means different things in them; an empty string if it does not."""
    first, second = (_extractor(metric, score) for score in (a, b))
    return "" if first == second else f"other extractor: {_named(*first)} and {_named(*second)}"


def bias_mismatch(metric: str, a: Record, b: Record) -> str:
    """That ``metric``, which both runs have, is biased by n, and n differs; an empty string if not so."""
    if not metric.startswith(BIASED_BY_N) or LIMIT in metric:
        return ""
    for field, images in (("n", ""), ("n_real", " of real images")):
        first, second = (score["metrics"][metric].get(field) for score in (a, b))
        if first is not None and second is not None and abs(first - second) > SAME_N * max(first, second):
            return f"n{images} differs ({first} and {second}), on which {metric} depends"
    return ""


def show(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print what `compare` found as a table, with reasons and notes below."""
    table = Table(title="B against A")
    table.add_column("metric", no_wrap=True)
    for name in ("A", "B", "B - A", "95 % interval", "p (Holm)"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("better", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in _cells(row)), style="bold" if row.get("significant") else None)
    console.print(table)
    for row in rows:
        remark = row.get("reason") or row.get("note")
        if remark:
            console.print(f"{row['metric']}: {remark}", markup=False, style="dim")


def _row(metric: str, a: Record, b: Record) -> dict[str, Any]:
    ours, theirs = a["metrics"].get(metric), b["metrics"].get(metric)
    row = {"metric": metric, "a": ours and ours["value"], "b": theirs and theirs["value"]}
    reason = _absence("A", ours) or _absence("B", theirs)
    if reason or ours is None or theirs is None:
        return row | {"reason": reason}
    reason = figure_mismatch(metric, a, b)
    if reason:
        return row | {"reason": reason}
    row |= _difference(ours, theirs) | {"better": _better(ours, theirs)}
    note = bias_mismatch(metric, a, b)
    return row | {"note": note} if note else row


def _absence(name: str, result: Mapping[str, Any] | None) -> str:
    if result is None:
        return f"not in {name}"
    return f"no value in {name}: {result['reason']}" if result["value"] is None else ""


def _difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """The difference b - a, its interval and its p-value before correction."""
    difference = b["value"] - a["value"]
    halves = [_half(a, b["value"]), _half(b, a["value"])]
    half = math.hypot(*(part for part in halves if part is not None))
    if None in halves or not half:
        return {"difference": difference, "interval": None, "p": None, "p_holm": None, "significant": None}
    p = math.erfc(abs(difference) / half * _Z / math.sqrt(2))
    return {"difference": difference, "interval": [difference - half, difference + half], "p": p}


def _half(result: Mapping[str, Any], other: float) -> float | None:
    """Half of an interval: the one that faces ``other``; of all of it, where that half is empty or none faces."""
    if not result.get("interval"):
        return None
    low, high = result["interval"]
    value = result["value"]
    facing = high - value if other > value else value - low if other < value else 0.0
    return float(facing if facing > 0 else (high - low) / 2)


def _better(a: Mapping[str, Any], b: Mapping[str, Any]) -> str | None:
    direction = a.get("better")
    if direction not in ("lower", "higher") or direction != b.get("better") or a["value"] == b["value"]:
        return None
    return "a" if (a["value"] < b["value"]) == (direction == "lower") else "b"


def _extractor(metric: str, score: Record) -> tuple[str | None, str | None, int | None]:
    """What decides which features a figure is made of: name and hash of the extractor, size of its images."""
    name = score["metrics"][metric].get("extractor")
    about = (score.get("extractors") or {}).get(name) or {}
    return name, about.get("sha256"), about.get("size_px")


def _named(name: str | None, sha256: str | None, size_px: int | None) -> str:
    return f"{name or 'none'}{f' {sha256[:12]}' if sha256 else ''}{f' at {size_px} px' if size_px else ''}"


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    difference, interval, p = (row.get(field) for field in ("difference", "interval", "p_holm"))
    better = str(row.get("better") or "").upper()
    return (
        row["metric"],
        number(row["a"]),
        number(row["b"]),
        number(difference),
        span(interval) if interval else "-",
        "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}",
        better if row.get("significant") or not better else f"{better}, within chance" if p is not None else better,
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")
