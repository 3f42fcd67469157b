"""What differs between two vocabularies, and between what their corpora say."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medsynth_cli.errors import MedsynthError
from medsynth_cli.text.vocabulary import Term, Vocabulary, words

STATISTICS = "statistics.json"
ADDED, REMOVED, CHANGED, SHIFTED = "added", "removed", "changed", "shifted"
SHIFT = 2.0
"""A finding has shifted if its share of the reports has grown or shrunk by this factor."""

Difference = dict[str, Any]
"""``change`` (one of the above), ``kind``, ``key``, and for a change ``field``, ``old`` and ``new``."""


def differences(old: Vocabulary, new: Vocabulary) -> Iterator[Difference]:
    """Terms that only one has, and fields that differ: of lists what went (``old``) and what came (``new``)."""
    for key in dict.fromkeys((*old.terms, *new.terms)):
        before, after = old.terms.get(key), new.terms.get(key)
        term = after or before
        assert term is not None
        row = {"kind": "lexicon" if key in old.lexicon | new.lexicon else term.kind, "key": key}
        if before is None or after is None:
            yield {"change": ADDED if before is None else REMOVED, **row}
        else:
            yield from ({"change": CHANGED, **row, **change} for change in _fields(before, after))


def shifts(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Difference]:
    """Terms whose share of reports differs by `SHIFT`, counts that chance may explain (within 3 sigma) left out."""
    totals = [max(statistics["reports"] - statistics["empty"], 1) for statistics in (old, new)]
    for key, entry in old["terms"].items():
        if key not in new["terms"] or "present" not in entry or "present" not in new["terms"][key]:
            continue
        counts = entry["present"], new["terms"][key]["present"]
        first, second = (count / total for count, total in zip(counts, totals, strict=True))
        pooled = sum(counts) / sum(totals)
        error = (pooled * (1 - pooled) * sum(1 / total for total in totals)) ** 0.5
        if max(first, second) >= SHIFT * min(first, second) and abs(first - second) > 3 * error:
            row = {"change": SHIFTED, "kind": entry["kind"], "key": key, "field": "present"}
            yield {**row, "old": round(first, 5), "new": round(second, 5)}


def statistics(path: Path) -> dict[str, Any]:
    """The ``statistics.json`` of a built vocabulary.

    Raises:
        MedsynthError: it cannot be read.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
        found["terms"], found["together"], found["findings"], found["reports"], found["empty"]  # all there?
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MedsynthError(
            f"{path}: no statistics of vocab build ({error})", "medsynth vocab build makes them"
        ) from error
    return dict(found)


def line(row: Difference) -> str:
    """A difference as a line to read."""
    sign = {ADDED: "+", REMOVED: "-"}.get(row["change"], "~")
    head = f"{sign} {row['kind']} {row['key']}"
    if row["change"] in (ADDED, REMOVED):
        return head
    if row["change"] == SHIFTED:
        return f"{head}: in {row['old']:.2%} of reports, now {row['new']:.2%}"
    if isinstance(row["old"], list):
        items = [f"-{item}" for item in row["old"]] + [f"+{item}" for item in row["new"]]
        return f"{head}: {row['field']} {', '.join(items)}"
    return f"{head}: {row['field']} {row['old']!r} -> {row['new']!r}"


def _fields(before: Term, after: Term) -> Iterator[Difference]:
    for field in dataclasses.fields(Term):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if field.name in ("synonyms", "anatomy", "groups") and old != new:
            went = [item for item in old if words(item) not in {words(other) for other in new}]
            came = [item for item in new if words(item) not in {words(other) for other in old}]
            if went or came:
                yield {"field": field.name, "old": went, "new": came}
        elif old != new:
            yield {"field": field.name, "old": old, "new": new}
