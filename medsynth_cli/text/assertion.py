"""What a sentence says of each of its words: denied, probable, possible, in the past, of another person.

Scopes as in NegEx: a trigger acts up to the next terminator or start of a new statement, some only within their part of
a list. Words such as "but" end a scope, and pseudo-triggers such as "no change in" open none.
"""

from __future__ import annotations

from dataclasses import dataclass

from medsynth_cli.text import triggers
from medsynth_cli.text.matching import Mention
from medsynth_cli.text.modifiers import SIDES
from medsynth_cli.text.vocabulary import PATHOLOGY

_OPENERS = frozenset(("a", "an", "the", "there", "stable", "unchanged", "persistent", "known", "new", "old", "chronic"))
"""After a comma, "and" or "with": the start of a new statement, so that what went before ends."""
_AFTER_AND = _OPENERS | {
    "mild", "moderate", "severe", "small", "large", "marked", "minimal", "tiny", "increased", "left", "right",
    "bilateral", "mildly", "moderately", "severely",
}  # fmt: skip
_OPENERS_AFTER_COMMA = _OPENERS - {"new", "chronic", "old"}
_LISTS = frozenset(("or", "versus", "vs"))
_WHOLE = frozenset(("no", "past", "other"))
"""What these triggers do, they do to a whole list."""

Trigger = tuple[int, int, str]
"""A trigger in a sentence: ``words[start:end]``, and what it does."""


@dataclass(frozen=True)
class Assertion:
    """What is said of a mention.

    Attributes:
        negated: it is denied.
        probable: it is hedged but meant ("probably", "compatible with", "versus").
        possible: it is no more than considered ("may", "cannot exclude", "evaluation for").
        past: it is history, not seen on this image.
        other: another person has it.
    """

    negated: bool = False
    probable: bool = False
    possible: bool = False
    past: bool = False
    other: bool = False


PLAIN = Assertion()


def read(words: list[str], found: list[Mention]) -> list[Assertion]:
    """What is said of each mention in a sentence of lower-case words."""
    acting = _find(words, found)
    if not acting:
        return [Assertion(negated=True) if mention.denied else PLAIN for mention in found]
    walls = _walls(words, acting)
    scopes = dict[str, list[tuple[int, int]]]()
    for start, end, kinds in acting:
        for kind in kinds.split():
            what, _, reach = kind.partition("_")
            if reach in ("before", "whole"):
                whole = reach == "whole" or (words[start] != "resolved" and what in _WHOLE)
                scope = end, _last(words, end, walls, whole)
            elif reach:
                scope = _first(words, start, walls, found, reach == "list" or words[start] == "are"), start
            else:
                continue
            scopes.setdefault(what, []).append(scope)
    return [_of(mention, scopes) for mention in found]


def _of(mention: Mention, scopes: dict[str, list[tuple[int, int]]]) -> Assertion:
    says = {
        what for what, spans in scopes.items() if any(s < mention.end and mention.start < e for s, e in spans)
    }  # fmt: skip
    if not says and not mention.denied:
        return PLAIN
    return Assertion(
        "no" in says or mention.denied, "probable" in says, "possible" in says, "past" in says, "other" in says
    )


def _find(words: list[str], found: list[Mention]) -> list[Trigger]:
    """Triggers outside mentions, longest first from the left."""
    inside = {at for mention in found for at in range(mention.start, mention.end)}
    known = triggers.table()
    acting, at = list[Trigger](), 0
    while at < len(words):
        candidates = known.get(words[at]) if at not in inside else None
        size, kinds = next(((len(t), k) for t, k in candidates or () if words[at : at + len(t)] == t), (1, ""))
        if kinds:
            acting.append((at, at + size, kinds))
        at += size
    return acting


def _walls(words: list[str], acting: list[Trigger]) -> set[int]:
    """Positions that no scope crosses: terminators and the starts of new statements."""
    walls = {start for start, _, kinds in acting if triggers.TERMINATOR in kinds}
    for at, word in enumerate(words[:-1]):
        if word not in (",", "and", "with"):
            continue
        opens = words[at + 1] in (_OPENERS_AFTER_COMMA if word == "," else _AFTER_AND)
        if opens and not joins_sides(words, at):
            walls.add(at)
    return walls


def _last(words: list[str], start: int, walls: set[int], whole: bool) -> int:
    """Where a scope from ``start`` ends: at a wall; unless ``whole``, at a comma or "and" if no "or" list follows."""
    end = next((at for at in range(start, len(words)) if at in walls), len(words))
    if not whole and not _LISTS & set(words[start:end]):
        end = next((at for at in range(start, end) if words[at] in (",", "and")), end)
    return end


def _first(words: list[str], end: int, walls: set[int], found: list[Mention], whole: bool) -> int:
    """Where a scope that ends at ``end`` begins: at a wall; unless ``whole``, at a comma or "and"."""
    start = end
    while start > 0:
        if start - 1 in walls or (not whole and words[start - 1] in (",", "and")):
            break
        start -= 1
    if words[end] in ("versus", "vs"):
        start = max((m.start for m in found if m.end <= end and m.term.kind == PATHOLOGY), default=start)
    return start


def joins_sides(words: list[str], at: int) -> bool:
    """Whether ``words[at]`` joins sides of one phrase ("left and right effusions", not "on the left and right ...")."""
    joins = words[at] in ("and", "or") and at > 0 and words[at - 1] in SIDES and words[at + 1] in SIDES
    return joins and words[max(at - 3, 0) : at - 1] != ["on", "the"]
