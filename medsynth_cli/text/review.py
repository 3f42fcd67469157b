"""``review.csv``: the terms of a built vocabulary and what was left out, for a person to decide; and YAML from it."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import atomic
from medsynth_cli.text import vocabulary
from medsynth_cli.text.comparing import STATISTICS
from medsynth_cli.text.mining import DECISIONS, DROP, KEEP, MERGE, SUGGEST, Row
from medsynth_cli.text.tally import ABSENT, MENTIONED, PRESENT, UNCERTAIN, Tally
from medsynth_cli.text.vocabulary import ANATOMY, KEY, LEXICON, PATHOLOGY, Term

REVIEW = "review.csv"
COLUMNS = (
    "decision", "merge_into", "kind", "key", "name", "synonyms", "sided", "anatomy", "part_of", "label", "structure",
    "groups", "extent", "common", MENTIONED, PRESENT, ABSENT, UNCERTAIN, "note",
)  # fmt: skip
COPIED = ("modality.yaml", "grammar.yaml", "prompt.md")
"""Files that a modality has beside its terms."""
FILES = {ANATOMY: f"{ANATOMY}.yaml", PATHOLOGY: f"{PATHOLOGY}.yaml", "lexicon": LEXICON}
"""Kind of a row -> the file that its term goes to."""
_LIST = "; "


def write(path: Path, found: Iterable[Row], least: int) -> None:
    """Write rows for review, as spreadsheet programs read them; counts from 1 to below ``least`` are hidden."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in found:
        term = row.term
        fields = {
            "decision": row.decision,
            "merge_into": row.merge_into,
            "kind": _kind(row),
            "key": term.key,
            "name": _cell(term.name),
            "synonyms": _LIST.join(map(_cell, term.synonyms)),
            "sided": "yes" if term.sided else "no",
            "anatomy": _LIST.join(term.anatomy),
            "part_of": term.part_of or "",
            "label": term.label or "",
            "structure": term.structure or "",
            "groups": _LIST.join(term.groups),
            "extent": _LIST.join(map(str, term.extent or ())),
            "common": "yes" if term.common else "no",
            "note": row.note,
        }
        counts = {what: n if not 0 < n < least else f"<{least}" for what, n in row.counts.items()}
        writer.writerow(fields | counts)
    atomic.write_text(path, text.getvalue())


def read(path: Path) -> list[Row]:
    """Read reviewed rows.

    Raises:
        MedsynthError: a column is missing or a cell is wrong; the message names the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle, restval="", dialect=_dialect(handle))
            missing = [
                column for column in ("decision", "kind", "key", "name") if column not in (reader.fieldnames or ())
            ]
            if missing:
                raise MedsynthError(f"{path}: no column {', '.join(missing)}", "start from what vocab build wrote")
            found = [_row(cells, f"{path}:{reader.line_num}") for cells in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MedsynthError(f"{path}: cannot be read ({error})", "name the review.csv of vocab build") from error
    kept = {row.term.key for row in found if row.decision == KEEP}
    for row in found:
        if row.decision == MERGE and row.merge_into not in kept:
            raise MedsynthError(f"{path}: {row.term.key} is merged into {row.merge_into!r}, which is not kept", _WAYS)
    return found


def save(folder: Path, found: Iterable[Row], source: Path) -> None:
    """Write the YAML files of a vocabulary, with what else a modality needs, all or nothing.

    Args:
        folder: where; files that are there are replaced.
        found: the rows that are kept.
        source: folder of the modality that the other files are copied from.

    Raises:
        MedsynthError: the terms contradict each other, as `vocabulary.check` finds.
    """
    rows = list(found)
    with tempfile.TemporaryDirectory() as name:
        draft = Path(name)
        for kind, file in FILES.items():
            entries = {row.term.key: _entry(row.term) for row in rows if _kind(row) == kind}
            (draft / file).write_text(_yaml(entries), "utf-8")
        for file in COPIED:
            if (source / file).exists():
                shutil.copyfile(source / file, draft / file)
        complaints = vocabulary.check(draft)
        if complaints:
            more = f", and {len(complaints) - 1} more" if len(complaints) > 1 else ""
            raise MedsynthError(f"the terms do not fit together: {complaints[0].message}{more}", _WAYS)
        for path in sorted(draft.iterdir()):
            atomic.write_bytes(folder / path.name, path.read_bytes())


def refuse(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that is in use.

    Raises:
        MedsynthError: it is a file, or holds files and may not be overwritten.
    """
    if folder.exists() and not folder.is_dir():
        raise MedsynthError(f"{folder}: is a file, not a folder", "choose another folder with -o")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise MedsynthError(f"{folder}: not empty", "--overwrite, or another folder with -o")


def write_statistics(folder: Path, values: dict[str, Any]) -> None:
    """Write ``statistics.json``."""
    atomic.write_text(folder / STATISTICS, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def summary(found: Sequence[Row], tally: Tally | None, folder: Path) -> str:
    """One line that says what was written."""
    decisions = Counter(row.decision for row in found)
    kept = Counter(_kind(row) for row in found if row.decision == KEEP)
    corpus = "" if tally is None else f"{tally.reports} reports ({tally.empty} without text): "
    rest = f"{decisions[DROP]} dropped, {decisions[MERGE]} merged, {decisions[SUGGEST]} suggested in {REVIEW}"
    terms = ", ".join(f"{kept[kind]} {kind} terms" for kind in FILES)
    return f"{folder}: {corpus}{terms}; {rest}"


def _row(cells: dict[str, Any], where: str) -> Row:
    given = {column: str(cells.get(column) or "").strip() for column in COLUMNS}
    decision, kind, key = (given[column] for column in ("decision", "kind", "key"))
    for value, known, what in ((decision, DECISIONS, "decision"), (kind, FILES, "kind")):
        if value not in known:
            raise MedsynthError(f"{where}: no {what} {value!r}", f"known: {', '.join(known)}")
    if not KEY.fullmatch(key) or not given["name"]:
        raise MedsynthError(
            f"{where}: key {key!r}, name {given['name']!r}", "a key is snake_case, and a name not empty"
        )
    extent = tuple(_number(cell, where) for cell in _list(given["extent"]))
    term = Term(
        key=key,
        name=given["name"],
        kind=ANATOMY if kind == ANATOMY else PATHOLOGY,
        synonyms=tuple(_list(given["synonyms"])),
        anatomy=tuple(_list(given["anatomy"])),
        sided=_yes(given["sided"], where),
        label=given["label"] or None,
        part_of=given["part_of"] or None,
        structure=given["structure"] or None,
        groups=tuple(_list(given["groups"])),
        extent=(extent[0], extent[1]) if len(extent) == 2 else None,
        common=_yes(given["common"], where),
    )
    counts = {what: int(given[what]) for what in (MENTIONED, PRESENT, ABSENT, UNCERTAIN) if given[what].isdigit()}
    return Row(decision, term, counts, given["merge_into"], kind == "lexicon", given["note"])


def _kind(row: Row) -> str:
    return "lexicon" if row.lexicon else row.term.kind


def _entry(term: Term) -> dict[str, Any]:
    """A term as `vocabulary` reads it."""
    entry: dict[str, Any] = {"name": term.name, "synonyms": list(term.synonyms)}
    if term.kind == PATHOLOGY:
        entry["anatomy"] = list(term.anatomy)
    entry["sided"] = term.sided
    optional = {
        "part_of": term.part_of,
        "label": term.label,
        "structure": term.structure,
        "groups": list(term.groups),
        "extent": list(term.extent or ()),
        "common": term.common,
    }
    return entry | {name: value for name, value in optional.items() if value}


def _yaml(entries: dict[str, Any]) -> str:
    return yaml.safe_dump(entries, sort_keys=False, default_flow_style=None, width=118, allow_unicode=True)


def _cell(text: str) -> str:
    """A text that no spreadsheet program takes for a formula."""
    return text.lstrip("=+-@\t\r ")


def _list(cell: str) -> Iterator[str]:
    return (part.strip() for part in cell.split(_LIST.strip()) if part.strip())


def _yes(cell: str, where: str) -> bool:
    if cell.lower() not in ("yes", "no", "true", "false", ""):
        raise MedsynthError(f"{where}: {cell!r} is neither yes nor no", "write yes or no")
    return cell.lower() in ("yes", "true")


def _number(cell: str, where: str) -> float:
    try:
        return float(cell)
    except ValueError as error:
        raise MedsynthError(f"{where}: extent {cell!r} is no number", "two numbers with a semicolon") from error


def _dialect(handle: Any) -> type[csv.Dialect] | str:
    """Commas, or the semicolons and tabs that some spreadsheet programs write instead."""
    head = handle.readline()
    handle.seek(0)
    return "excel-tab" if "\t" in head else _Semicolons if head.count(";") > head.count(",") else "excel"


class _Semicolons(csv.excel):
    delimiter = ";"


_WAYS = "edit review.csv: keep, drop, or merge with the key to merge into"
