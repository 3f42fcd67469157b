"""The report of an evaluation as one HTML file: no network, no scripts, no times."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup
from PIL import Image

from medsynth_cli.files import pixels, records
from medsynth_cli.files.records import Record
from medsynth_cli.metrics import gates, plots, writeup

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Row = Mapping[str, Any]

THUMB_PX, JPEG_QUALITY = 96, 70
"""About 2 kB a picture in the page, so that 5,000 of them take 10 MB."""
OPEN_FINDINGS, OPEN_PICTURES = 8, 12
"""Findings whose sheet is open, and pictures of an open sheet that need no click."""
FAMILIES = {
    "AUROC": "AUROC of requested findings, recognised by the judge",
    "F1": "F1 of requested and recognised findings",
    "ECE": "Calibration error of recognised findings (ECE)",
}
"""Beginning of the names of metrics that there is one of for each finding -> title of their table."""
AUROC = "AUROC"
KINDS = ("recognised", "made", "requested")
"""Numbers in a cell of the coverage map."""


@dataclass(frozen=True)
class Picture:
    """An image, uint8 ``(H, W)``, and what stands below it."""

    pixels: NDArray[np.uint8]
    caption: str


@dataclass(frozen=True)
class Pair:
    """A synthetic image beside the training image nearest to it; ``copied`` if it counts as a copy of that."""

    synthetic: Picture
    training: Picture
    likeness: float
    copied: bool


@dataclass(frozen=True)
class Inlined:
    """A picture inside the page: data URI, size in pixels, caption."""

    uri: str
    width: int
    height: int
    caption: str


@dataclass(frozen=True)
class Sheet:
    """Thumbnails of one finding: those shown at once, and those behind a click."""

    finding: str
    shown: Sequence[Inlined]
    more: Sequence[Inlined]


@dataclass(frozen=True)
class Table:
    """Metrics that stand in one table.

    Attributes:
        title: of the table.
        rows: name in the table -> row.
        floors: names of all their floors.
        better: ``lower`` or ``higher`` if it is so for all.
        folded: whether the table takes a click.
    """

    title: str
    rows: Mapping[str, Row]
    floors: Sequence[str]
    better: str | None
    folded: bool


@dataclass(frozen=True)
class Coverage:
    """The coverage map without empty rows and columns.

    Attributes:
        pathology: names of the columns.
        rows: anatomy -> cells; a cell holds how many images were recognised (None: the judge does not know the
            finding), made and requested; it is None where there are none at all, unless the pair is plausible.
        pairs: numbers of pairs of anatomy and pathology: requested, made, made with a finding that the judge knows,
            recognised at least once.
        plausible: number of pairs that the vocabulary holds plausible, and of those of them that were requested.
        absent: anatomy and pathology that appear in no pair.
    """

    pathology: Sequence[str]
    rows: Mapping[str, Sequence[tuple[int | None, int, int] | None]]
    pairs: tuple[int, int, int, int]
    plausible: tuple[int, int]
    absent: tuple[Sequence[str], Sequence[str]]


def render(score: Record, sheets: Mapping[str, Sequence[Picture]], pairs: Sequence[Pair]) -> str:
    """Write the report.

    Args:
        score: a record of kind ``score``; all but ``metrics`` and ``counts`` may be missing or null.
        sheets: finding -> its synthetic images, shown as thumbnails.
        pairs: synthetic images beside training images, shown at full size.

    Returns:
        An HTML page that holds everything it shows; the same arguments give the same page.
    """
    page = _environment().get_template("report.html")
    text = page.render(
        score=score,
        verdict=verdict(score),
        broken=[gates.describe(entry) for entry in score.get("gates") or [] if not entry["held"]],
        tables=_tables(score["metrics"]),
        notes=_notes(score["metrics"]),
        drawings=_drawings(score),
        group_metrics=_group_metrics(score),
        sheets=[_sheet(finding, found, place) for place, (finding, found) in enumerate(sheets.items())],
        pairs=[(_full(pair.synthetic), _full(pair.training), pair) for pair in pairs],
        coverage=_coverage(score.get("coverage_map")),
        line=records.dumps(score),
    )
    # JSON may hold halves of surrogate pairs, which UTF-8 cannot.
    return text.encode("utf-8", "replace").decode()


def verdict(score: Record) -> str:
    """One sentence about alarms, gates and missing metrics. It does not judge the images: only numbers do."""
    parts = [_on_alarms(score.get("alarms") or []), _on_gates(score.get("gates") or []), _on_metrics(score["metrics"])]
    failed = score["counts"].get("failed")
    if failed:
        parts.append(f"{_count(failed, 'input')} could not be read")
    sentence = ", ".join(parts[:-1]) + f", and {parts[-1]}."
    return sentence[0].upper() + sentence[1:]


def _on_alarms(alarms: Sequence[Row]) -> str:
    raised, open_ = (sum(alarm["raised"] is state for alarm in alarms) for state in (True, None))
    if not alarms:
        return "no alarms were looked for"
    told = f"{raised} of {_count(len(alarms), 'alarm')} {_was(raised)} raised" if raised else "no alarm was raised"
    return told + (f" but {open_} could not be decided" if open_ else "")


def _on_gates(gates: Sequence[Row]) -> str:
    broken = sum(not entry["held"] for entry in gates)
    if not gates:
        return "no gates were set"
    return f"{broken} of {_count(len(gates), 'gate')} did not hold" if broken else f"{_all(len(gates), 'gate')} held"


def _on_metrics(metrics: Mapping[str, Row]) -> str:
    missing = sum(row["value"] is None for row in metrics.values())
    if not metrics:
        return "no metric was computed"
    if missing:
        return f"{missing} of {_count(len(metrics), 'metric')} could not be computed"
    return f"{_all(len(metrics), 'metric')} {_was(len(metrics))} computed"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _all(number: int, noun: str) -> str:
    return f"the one {noun}" if number == 1 else f"all {_count(number, noun)}"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("medsynth_cli.metrics"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "exact": writeup.number, "count": _count, "gate": gates.title}
    environment.globals |= {"strip": plots.strip, "mark": plots.mark, "meanings": writeup.FLOORS}
    return environment


def _number(value: float | None) -> str:
    """Three significant digits, above 100 all of the whole number."""
    if value is None:
        return "–"
    size = abs(value)
    text = f"{value:,.0f}" if size >= 100 else f"{value:#.3g}".rstrip(".") if size >= 0.01 else f"{value:.3g}"
    return text.replace("-", "−")


def _tables(metrics: Mapping[str, Row]) -> list[Table]:
    """Metrics of the set, then those of single findings, a table a family."""
    whole = {name: row for name, row in metrics.items() if _family(name) is None}
    parts = {"The images as a set": whole} | {title: _members(metrics, name) for name, title in FAMILIES.items()}
    return [_table(title, rows) for title, rows in parts.items() if rows]


def _table(title: str, rows: Mapping[str, Row]) -> Table:
    directions = {row.get("better") for row in rows.values() if row["value"] is not None}
    there = {name: None for row in rows.values() for name in row.get("floors") or {}}
    floors = [name for name in dict.fromkeys([*writeup.FLOORS, *there]) if name in there]
    folded = title in FAMILIES.values() and title != FAMILIES[AUROC]
    return Table(title, rows, floors, directions.pop() if len(directions) == 1 else None, folded)


def _family(metric: str) -> str | None:
    """The family of a metric on single findings; None for one of the whole set."""
    beginning = metric.partition(" ")[0]
    return beginning if beginning in FAMILIES else None


def _members(metrics: Mapping[str, Row], family: str) -> dict[str, Row]:
    """Finding -> row."""
    return {name.removeprefix(f"{family} "): row for name, row in metrics.items() if _family(name) == family}


def _notes(metrics: Mapping[str, Row]) -> dict[str, list[str]]:
    """What is to be said about metrics -> the metrics; each is said once."""
    notes: dict[str, list[str]] = {}
    for name, row in metrics.items():
        for key, beginning in (("note", ""), ("interval_method", "interval: ")):
            if row.get(key):
                notes.setdefault(f"{beginning}{row[key]}", []).append(name)
    return notes


def _drawings(score: Record) -> dict[str, Markup]:
    """Title -> plot: AUROC of each finding, and what compares groups of patients or images."""
    found, drawings = _members(score["metrics"], AUROC), {}
    if any(row["value"] is not None for row in found.values()):
        title = "AUROC of each requested finding"
        drawings[title] = plots.dots(title, found, floor="real", lines={"chance": 0.5}, label=AUROC)
    groups = score.get("groups") or {}
    for metric in _group_metrics(score):
        rows = {group: rows[metric] for group, rows in groups.items() if metric in rows}
        whole = (score["metrics"].get(metric) or {}).get("value")
        if _compares(metric, score) and any(row["value"] is not None for row in rows.values()):
            title = f"{metric} of each group"
            lines = {} if whole is None else {"all images": whole}
            drawings[title] = plots.dots(title, rows, lines=lines, label=metric)
    return drawings


def _group_metrics(score: Record) -> list[str]:
    return list(dict.fromkeys(name for rows in (score.get("groups") or {}).values() for name in rows))


def _compares(metric: str, score: Record) -> bool:
    """Whether a metric means the same in groups of any size and is not one of many: drawing all would hide it."""
    from medsynth_cli.metrics.subgroups import UNBIASED

    single = _family(metric) is None or metric.endswith(" macro")
    return (single and metric.startswith(UNBIASED)) or metric == (score.get("largest_gap") or {}).get("metric")


def _sheet(finding: str, pictures: Sequence[Picture], place: int) -> Sheet:
    thumbnails = [_thumbnail(picture) for picture in pictures]
    shown = OPEN_PICTURES if place < OPEN_FINDINGS else 0
    return Sheet(finding, thumbnails[:shown], thumbnails[shown:])


def _thumbnail(picture: Picture) -> Inlined:
    image = Image.fromarray(picture.pixels)
    image.thumbnail((THUMB_PX, THUMB_PX))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=JPEG_QUALITY, optimize=True)
    return Inlined(_uri("jpeg", buffer.getvalue()), *image.size, picture.caption)


def _full(picture: Picture) -> Inlined:
    height, width = picture.pixels.shape
    return Inlined(_uri("png", pixels.encode_png(picture.pixels)), width, height, picture.caption)


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _coverage(found: Mapping[str, Any] | None) -> Coverage | None:
    if not found:
        return None
    anatomy, pathology = found["anatomy"], found["pathology"]
    counts = [list(zip(*rows, strict=True)) for rows in zip(*(found[key] for key in KINDS), strict=True)]
    plausible = {(row, column) for row, column in found.get("plausible") or ()}
    used = [column for column in range(len(pathology)) if any(any(row[column]) for row in counts)]
    rows = {
        name: [cells[column] if any(cells[column]) or (row, column) in plausible else None for column in used]
        for row, (name, cells) in enumerate(zip(anatomy, counts, strict=True))
        if any(map(any, cells))
    }
    unused = [name for column, name in enumerate(pathology) if column not in used]
    absent = [name for name in anatomy if name not in rows], unused
    asked = sum(bool(counts[row][column][2]) for row, column in plausible)
    names = [pathology[column] for column in used]
    return Coverage(names, rows, _pairs(counts), (len(plausible), asked), absent)


def _pairs(counts: Sequence[Sequence[tuple[int | None, int, int]]]) -> tuple[int, int, int, int]:
    cells = [cell for row in counts for cell in row]
    requested, made = (sum(bool(cell[place]) for cell in cells) for place in (2, 1))
    known = [cell for cell in cells if cell[1] and cell[0] is not None]
    return requested, made, len(known), sum(bool(cell[0]) for cell in known)
