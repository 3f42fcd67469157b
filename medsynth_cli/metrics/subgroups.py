"""Subgroups: the same figures by sex, age, view and finding, and the largest gap between two groups."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import intervals
from medsynth_cli.metrics.comparison import Comparison, Row

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.files.records import Record

FEWEST = 20
"""Synthetic and real images that a group needs."""
AGES = ((0, 18), (18, 40), (40, 60), (60, 80), (80, 200))
"""Bands of years, the upper end left out."""
UNBIASED = ("AUROC", "F1", "ECE", "KID", "MMD", "FD∞", "FID∞", "wrong side")
"""Beginnings of the figures that mean the same at any n, so that groups can be compared by them."""


def split(comparison: Comparison, fields: tuple[str, ...]) -> Iterator[tuple[str, Comparison]]:
    """The groups of each field that have images enough on both sides: ``sex=F`` and its comparison."""
    for field in fields:
        ours, real = _values(comparison, field)
        for value in sorted({*itertools.chain(*ours)} & {*itertools.chain(*real)}):
            inside = [np.array([value in own for own in side], bool) for side in (ours, real)]
            if min(int(side.sum()) for side in inside) >= FEWEST:
                yield f"{field}={value}", comparison.where(*inside)


def check(fields: tuple[str, ...]) -> None:
    """Refuse fields that there are no groups by.

    Raises:
        MedsynthError: names the known ones.
    """
    unknown = [field for field in fields if field not in (*FIELDS, FINDING)]
    if unknown:
        raise MedsynthError(f"no groups by {', '.join(unknown)}", f"known: {', '.join((*FIELDS, FINDING))}, none")


def largest_gap(groups: Mapping[str, Mapping[str, Row]]) -> dict[str, Any] | None:
    """The difference between two groups of a field that stands out most from what chance would make of it.

    Only figures that mean the same at any n are compared; the difference is measured in standard errors, taken
    from the intervals.
    """
    best, found = 0.0, None
    for (one, a), (other, b) in itertools.combinations(groups.items(), 2):
        if one.partition("=")[0] != other.partition("=")[0]:
            continue
        for metric in [name for name in a if name in b and name.startswith(UNBIASED)]:
            error = np.hypot(_error(a[metric]), _error(b[metric]))
            if not error > 0:
                continue
            difference = a[metric]["value"] - b[metric]["value"]
            size = abs(difference) / float(error)
            if size > best:
                best = size
                found = {"metric": metric, "groups": [one, other], "difference": difference, "standard_errors": size}
    return found


def _values(comparison: Comparison, field: str) -> tuple[list[list[str]], list[list[str]]]:
    """Groups that each synthetic and each real image is in."""
    if field == FINDING:
        index, wanted = comparison.requested
        asked: list[list[str]] = [[] for _ in range(len(comparison.synthetic))]
        for image, row in zip(index, wanted, strict=True):
            asked[image] = _named(row, comparison.labels)
        return asked, [_named(row, comparison.labels) for row in comparison.truth]
    ours, real = ([FIELDS[field](meta) for meta in side.meta] for side in (comparison.synthetic, comparison.real))
    return ours, real


def _named(row: NDArray[np.floating], labels: tuple[str, ...]) -> list[str]:
    return [label for label, there in zip(labels, row, strict=True) if there] or ["none"]


def _band(record: Record) -> list[str]:
    age = record.get("age")
    if isinstance(age, bool) or not isinstance(age, int | float):
        return []
    return [f"{low}-{high - 1}" for low, high in AGES if low <= age < high]


def _plain(field: str) -> Callable[[Record], list[str]]:
    return lambda record: [str(record[field])] if record.get(field) else []


def _error(result: Row) -> float:
    """Standard error that an interval implies; NaN without one."""
    bounds = result.get("interval")
    return float("nan") if bounds is None else (bounds[1] - bounds[0]) / (2 * intervals.Z)


FIELDS: dict[str, Callable[[Record], list[str]]] = {"sex": _plain("sex"), "age": _band, "view": _plain("view")}
"""Field -> the groups that a record is in."""
FINDING = "finding"
"""Groups by what was asked for, and by what real images show."""
