"""Drawings of the report, readable on light and dark paper: strips of a value among floors, and plots of many values.

A floor is what other images score in the same run: real training images, their round trip through the tokenizer,
one image repeated.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]

STRIP_WIDTH, STRIP_EDGE = 180, 8
FIGURE_WIDTH_IN, ROW_IN, AXIS_IN = 3.8, 0.26, 0.8
FONT_PT = 9
NAME_LENGTH, TICKS = 28, 6

INK, MUTED, LINE, ACCENT = "#000001", "#000002", "#000003", "#000004"
COLOURS = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)", ACCENT: "var(--accent)"}
"""Stand-ins that matplotlib draws with -> colours of the page's style sheet, which knows light and dark."""


@dataclass(frozen=True)
class Mark:
    """How a floor is drawn: matplotlib's ``marker``, and the same as an SVG ``path`` around (0, 0)."""

    marker: str
    path: str


MARKS = {
    "real": Mark("D", "M0-5 5 0 0 5-5 0Z"),
    "training": Mark("^", "M0-5 5 4H-5Z"),
    "round trip": Mark("s", "M-4-4H4V4H-4Z"),
    "repeated": Mark("x", "M-4-4 4 4M-4 4 4-4"),
}
OTHER_MARK = Mark("v", "M0 5 5-4H-5Z")


def mark(floor: str) -> Mark:
    """The mark of a floor."""
    return MARKS.get(floor, OTHER_MARK)


@dataclass(frozen=True)
class Strip:
    """Where a value lies among its floors, from 0 to `STRIP_WIDTH`; better is on the right.

    Attributes:
        value: its place.
        interval: places of its bounds, left first.
        floors: name -> place.
        directed: whether any direction is better; if not, numbers grow to the right.
    """

    value: float
    interval: tuple[float, float] | None
    floors: Mapping[str, float]
    directed: bool


def strip(row: Row) -> Strip | None:
    """Place a metric's value among its floors; None if there is no value, or nothing to place it among."""
    floors = {name: value for name, value in (row.get("floors") or {}).items() if value is not None}
    bounds = row.get("interval") or ()
    numbers = [*bounds, *floors.values()]
    if row["value"] is None or not numbers:
        return None
    low, high = min(row["value"], *numbers), max(row["value"], *numbers)

    def place(number: float) -> float:
        share = (number - low) / (high - low) if high > low else 0.5
        if row.get("better") == "lower":
            share = 1 - share
        return round(STRIP_EDGE + share * (STRIP_WIDTH - 2 * STRIP_EDGE), 1)

    left, right = sorted(place(bound) for bound in bounds) if bounds else (0.0, 0.0)
    places = {name: place(value) for name, value in floors.items()}
    return Strip(place(row["value"]), (left, right) if bounds else None, places, row.get("better") is not None)


def dots(
    title: str, rows: Mapping[str, Row], *, floor: str = "", lines: Mapping[str, float] | None = None, label: str = ""
) -> Markup:
    """Plot values with their intervals, one line a row, from the top down.

    Args:
        title: what the drawing shows, for readers who cannot see it; differs between drawings of one page.
        rows: name -> row of a score; rows without a value are left out.
        floor: the floor to draw beside each value.
        lines: name -> number at which a vertical line is drawn.
        label: of the axis.

    Returns:
        An SVG element; all text in it is escaped.
    """
    from matplotlib import style

    known = {_printable(name): row for name, row in rows.items() if row["value"] is not None}
    title = _printable(title)
    # Text stays text, so that the browser draws it; "$" is no mathematics; ids come from the title alone.
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": title, "text.parse_math": False, "font.size": FONT_PT}
    with style.context(["default", settings]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        return _svg(_figure(known, floor, lines or {}, _printable(label)), title)


def _figure(rows: Mapping[str, Row], floor: str, lines: Mapping[str, float], label: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure((FIGURE_WIDTH_IN, AXIS_IN + ROW_IN * max(len(rows), 1)), layout="constrained")
    axes = figure.add_subplot()
    _values(axes, rows)
    _floors(axes, rows, floor)
    for name, number in lines.items():
        axes.axvline(number, color=MUTED, linewidth=1, linestyle=(0, (3, 3)), zorder=1, label=_printable(name))
    axes.set_yticks(range(len(rows)), [_shortened(name) for name in rows], color=INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(label, color=MUTED)
    axes.locator_params(axis="x", nbins=TICKS)
    axes.tick_params(axis="x", colors=MUTED, length=0)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, labelcolor=MUTED, handletextpad=0.4)
    return figure


def _values(axes: Axes, rows: Mapping[str, Row]) -> None:
    bounds = [(place, *row["interval"]) for place, row in enumerate(rows.values()) if row.get("interval")]
    for place, low, high in bounds:
        axes.plot([low, high], [place, place], color=ACCENT, linewidth=4, alpha=0.35, solid_capstyle="round")
    label = "value, 95 % interval" if bounds else "value"
    values = [row["value"] for row in rows.values()]
    axes.plot(values, range(len(values)), "o", color=ACCENT, markersize=5, zorder=3, label=label)


def _floors(axes: Axes, rows: Mapping[str, Row], floor: str) -> None:
    found = {place: (row.get("floors") or {}).get(floor) for place, row in enumerate(rows.values())}
    known = {place: value for place, value in found.items() if value is not None}
    if known:
        style: Any = {"color": INK, "markerfacecolor": "none", "markersize": 5, "linestyle": "none", "zorder": 2}
        axes.plot(list(known.values()), list(known), mark(floor).marker, label=_printable(floor), **style)


def _svg(figure: Figure, title: str) -> Markup:
    """Write a figure as an element of an HTML page: no namespaces, own ids only where used, the page's colours."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    root = _bare(root)
    used = {part for element in root.iter() for part in _references(element)}
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)
        if "style" in element.attrib:
            element.set("style", _restyled(element.attrib["style"]))
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": title}
    return Markup(ElementTree.tostring(root, encoding="unicode", short_empty_elements=False))


def _bare(element: ElementTree.Element) -> ElementTree.Element:
    """Drop namespaces, and metadata and style sheets, which in an HTML page would apply to all of it."""
    element.tag = _local(element.tag)
    element.attrib = {_local(name): " ".join(value.split()) for name, value in element.attrib.items()}
    element.tail = None
    if element.tag != "text":
        element.text = None
    for child in list(element):
        if _local(child.tag) in ("metadata", "style"):
            element.remove(child)
        else:
            _bare(child)
    return element


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _references(element: ElementTree.Element) -> list[str]:
    """Ids that an element points to."""
    pointers = (element.get("href", ""), element.get("clip-path", "").removeprefix("url(").removesuffix(")"))
    return [pointer.removeprefix("#") for pointer in pointers if pointer]


def _restyled(style: str) -> str:
    """Inline style with the colours of the page, in the page's font."""
    parts = [part.strip() for part in style.split(";") if "font-family" not in part]
    for ours, theirs in COLOURS.items():
        parts = [part.replace(ours, theirs) for part in parts]
    return ";".join(parts)


def _printable(text: str) -> str:
    """Text without control characters and lone surrogates, which no XML may hold."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _shortened(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1] + "…"
