"""A score for a paper: a paragraph on the methods, and tables in Markdown and LaTeX.

The paragraph is plain text. Tables escape whatever a name or a note may hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from medsynth_cli.files.records import Record

FLOORS = {
    "training": "real training images",
    "round trip": "real images coded and decoded by the tokenizer",
    "real": "the real images that the others are compared with",
    "repeated": "one image repeated",
}
"""What other images score in the same run, at the same n: name of the floor -> which images."""

BIASED = "biased:"
"""How the note of a metric begins whose expectation depends on n."""

_MARKDOWN = {character: f"\\{character}" for character in "\\`*_[]<>|~&$#"}
_LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "∞": r"$\infty$",
    # Behind the \\ of the row above, these would be its arguments.
    "[": "{[}",
    "*": "{*}",
}
_NUMBER = re.compile(r"(?<![\w.])(-?)(\d+(?:\.\d+)?)(?:e([+-]\d+))?(?![\w.])")


def number(value: float | None) -> str:
    """A figure in four digits, above 1000 in all; a dash for none."""
    return "-" if value is None else f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def span(interval: Iterable[float]) -> str:
    """An interval in words."""
    return " to ".join(number(bound) for bound in interval)


def plain(text: object) -> str:
    """Text on one line, without characters that cannot be printed."""
    return "".join(character for character in " ".join(str(text).split()) if character.isprintable())


def methods(score: Record) -> str:
    """A paragraph that says how the figures of a score came about: images, networks, intervals, floors, bias."""
    return " ".join(plain(sentence) for tell in _SENTENCES for sentence in tell(score))


def markdown(score: Record) -> str:
    """A table in GitHub's Markdown: a metric a row, its value, interval, n, extractor and floors; notes below."""
    head, *rows = [[_escape(cell, _MARKDOWN) for cell in row] for row in _table(score)]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    # In bold, a name cannot begin a list or a heading within the item.
    notes = "".join(f"- **{_escape(name, _MARKDOWN)}**: {_escape(note, _MARKDOWN)}\n" for name, note in _remarks(score))
    return f"{table}\n{notes}" if notes else table


def latex(score: Record) -> str:
    """The same table in LaTeX, for the package booktabs."""
    head, *rows = [[_latex(cell) for cell in row] for row in _table(score)]
    notes = [f"{_latex(f'{name}: {note}')}\\par" for name, note in _remarks(score)]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            f"\\caption{{{_latex(_caption(score))}}}",
            f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
            r"\toprule",
            " & ".join(head) + r" \\",
            r"\midrule",
            *(" & ".join(cells) + r" \\" for cells in rows),
            r"\bottomrule",
            r"\end{tabular}",
            *([r"\par\smallskip\raggedright\footnotesize", *notes] if notes else []),
            r"\end{table}",
            "",
        ]
    )


def _images(score: Record) -> Iterator[str]:
    counts, bundle = score["counts"], score.get("bundle")
    software = _listing(f"{name} {version}" for name, version in (score.get("versions") or {}).items()) or "medsynth"
    used = f" with the bundle {bundle['name']} (SHA-256 {bundle['sha256'][:12]})" if bundle else ""
    images = f"{counts['synthetic']} synthetic images were compared with {counts['real']} real ones"
    origin = f" ({score['real']})" if score.get("real") else ""
    yield f"{images}{origin} by {software}{used}; random draws have the seed {score.get('seed', 0)}."
    if counts.get("failed"):
        yield f"{counts['failed']} more could not be read and are left out."
    if score.get("real_labels"):
        yield f"Labels of the real images: {score['real_labels']}."
    if score.get("quick"):
        yield "This was a quick run, whose figures do not compare with those of a full one."


def _protocol(score: Record) -> Iterator[str]:
    protocol = score.get("protocol")
    if not protocol:
        return
    paper = f"arXiv {protocol['name']} ({protocol['title']})"
    yield f"The evaluation follows {paper} as far as its protocol is known."
    for field, beginning in (("follows", "Followed"), ("unknown", "Not known"), ("differs", "Different")):
        if protocol[field]:
            numbered = (f"({place}) {_unstopped(text)}" for place, text in enumerate(protocol[field], 1))
            yield f"{beginning}: {'; '.join(numbered)}."


def _extractors(score: Record) -> Iterator[str]:
    known = score.get("extractors") or {}
    for name, metrics in _grouped(score, "extractor").items():
        about = known.get(name) or {}
        size = about.get("size_px")
        facts = [
            f"{about['dimension']} dimensions" if about.get("dimension") else "",
            f"images resized to {size} x {size} px" if size else "",
            f"SHA-256 {about['sha256'][:12]}" if about.get("sha256") else "",
        ]
        details = ", ".join(fact for fact in facts if fact)
        yield f"{_listing(metrics)}: extractor {name}{f' ({details})' if details else ''}."


def _intervals(score: Record) -> Iterator[str]:
    computed = {name: row for name, row in score["metrics"].items() if row["value"] is not None}
    ranged = {name: row for name, row in computed.items() if row.get("interval")}
    for method, metrics in _grouped({"metrics": ranged}, "interval_method").items():
        yield f"Intervals of 95 % of {_listing(metrics)}: {method}."
    silent = [name for name, row in ranged.items() if not row.get("interval_method")]
    if silent:
        yield f"How the intervals of {_listing(silent)} were computed is not recorded."
    bare = [name for name in computed if name not in ranged]
    if bare:
        yield f"Without an interval: {_listing(bare)}."


def _floors(score: Record) -> Iterator[str]:
    there = _floor_names(score)
    if there:
        told = "; ".join(f"{name}: {FLOORS.get(name, name)}" for name in there)
        yield f"Beside each figure stands what other images score in the same run at the same n ({told})."
    train = score["counts"].get("train")
    if train and {"training", "round trip"} & set(there):
        yield f"Training images are drawn from {train} of {score.get('train', 'the training set')}."


def _bias(score: Record) -> Iterator[str]:
    for name, row in score["metrics"].items():
        if str(row.get("note", "")).startswith(BIASED):
            yield f"{name} is biased: {_unstopped(row['note'].removeprefix(BIASED))}."


def _missing(score: Record) -> Iterator[str]:
    for name, row in score["metrics"].items():
        if row["value"] is None:
            yield f"{name} was not computed: {_unstopped(row['reason'])}."


_SENTENCES: tuple[Callable[[Record], Iterator[str]], ...] = (
    _images,
    _protocol,
    _extractors,
    _intervals,
    _floors,
    _bias,
    _missing,
)


def _table(score: Record) -> list[list[str]]:
    """Head and rows, as plain text."""
    floors = _floor_names(score)
    rows = [["metric", "value", "95 % interval", "n", "extractor", *floors]]
    for name, row in score["metrics"].items():
        n, positives = row.get("n", ""), row.get("positives")
        beside = row.get("floors") or {}
        rows.append(
            [
                name,
                number(row["value"]),
                span(row["interval"]) if row.get("interval") else "-",
                f"{n} ({positives} positive)" if positives is not None else str(n),
                row.get("extractor", ""),
                *(number(beside.get(floor)) for floor in floors),
            ]
        )
    return rows


def _remarks(score: Record) -> list[tuple[str, str]]:
    """Names of metrics, and why they have no value or what else is to be said about them."""
    remarks = ((name, row.get("reason") or row.get("note")) for name, row in score["metrics"].items())
    return [(name, remark) for name, remark in remarks if remark]


def _caption(score: Record) -> str:
    counts = score["counts"]
    return f"{counts['synthetic']} synthetic images against {counts['real']} of {score.get('real', 'the real ones')}"


def _floor_names(score: Record) -> list[str]:
    """The floors that a metric has, in the order of `FLOORS`."""
    rows = score["metrics"].values()
    found = {name for row in rows for name, value in (row.get("floors") or {}).items() if value is not None}
    return [name for name in FLOORS if name in found] + sorted(found - FLOORS.keys())


def _grouped(score: Mapping[str, Any], field: str) -> dict[str, list[str]]:
    """Values of a field -> the metrics that have them; a metric without the field, or without a value, is left out."""
    groups: dict[str, list[str]] = {}
    for name, row in score["metrics"].items():
        if row.get(field) and row["value"] is not None:
            groups.setdefault(row[field], []).append(name)
    return groups


def _listing(names: Iterable[str]) -> str:
    *most, last = list(names) or [""]
    return f"{', '.join(most)} and {last}" if most else last


def _unstopped(text: str) -> str:
    return text.strip().rstrip(".")


def _escape(text: str, table: Mapping[str, str]) -> str:
    return "".join(table.get(character, character) for character in plain(text))


def _latex(text: str) -> str:
    return _NUMBER.sub(_latex_number, _escape(text, _LATEX))


def _latex_number(found: re.Match[str]) -> str:
    """A minus sign and powers of ten need mathematics; other numbers stay as they are."""
    sign, digits, exponent = found.groups()
    power = f"\\times10^{{{int(exponent)}}}" if exponent else ""
    return f"${sign}{digits}{power}$" if sign or power else digits
