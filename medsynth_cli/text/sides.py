"""On which side each mention of a sentence is.

Sides come from modifiers in the same noun phrase, then from what follows ("in the right lower lobe"), then from a
finding that it is joined to or explains ("left basilar opacity, likely scarring or atelectasis"), then from what
precedes in the clause ("the left base shows ..."). A place in the plural is on both sides ("in the lung bases").
"""

from __future__ import annotations

import itertools
import re

from medsynth_cli.text.matching import PLACEHOLDERS, Mention
from medsynth_cli.text.modifiers import NO_SIDE, SIDES
from medsynth_cli.text.phrases import BREAKS, INTERPRETS, JOINS, tail
from medsynth_cli.text.vocabulary import ANATOMY, PATHOLOGY, singular

_GREATER = re.compile(r"\s*,?\s*\(?\s*(left|right)(?:[- ]sided)?\s+(?:is\s+)?(?:greater|larger|more|worse)\b", re.I)
_COMPARED = frozenset(("greater", "larger", "more", "worse"))
_ADJOINS = frozenset(("adjacent", "associated", "underlying", "overlying", "superimposed"))
"""Before a finding: it is where the one before it is."""
_ALTERNATIVES = frozenset(("and", "or", "/", "versus", "vs"))
"""Between two pathologies, with adjectives: both are where the first is."""
_ENDS_ALTERNATIVE = (BREAKS - _ALTERNATIVES) | {",", ":", "(", ")", "a", "an", "the"}


def read(words: list[str], found: list[Mention], heads: list[int], after: list[str]) -> list[str | None]:
    """The side of each mention in a sentence of lower-case words.

    Args:
        words: of the sentence.
        found: its mentions.
        heads: the first word of each mention's noun phrase.
        after: the text behind each mention.
    """
    sides = [_side_in(words, heads[i], found[i].end) for i in range(len(found))]
    pathologies = [i for i, mention in enumerate(found) if mention.term.kind == PATHOLOGY]
    for place, i in enumerate(pathologies):
        following = heads[pathologies[place + 1]] if place + 1 < len(pathologies) else len(words)
        end = tail(words, found[i].end, following)
        if _GREATER.match(after[i]):
            sides[i] = "bilateral"
        sides[i] = sides[i] or _side_in(words, found[i].end, end) or _both(words, found, heads[i], end)
    for here, there in reversed(list(itertools.pairwise(pathologies))):
        between = words[found[here].end : found[there].start]
        if sides[here] is None and between in JOINS:
            sides[here] = sides[there]
    explained = set[int]()
    for place, i in enumerate(pathologies):
        if sides[i] is None and place:
            before = pathologies[place - 1]
            placed = any(m.term.kind == ANATOMY for m in found[:before] if m.start >= heads[before])
            if _continues(words[found[before].end : found[i].start], placed or before in explained):
                sides[i] = sides[before]
                explained.add(i)
        if sides[i] is None:
            previous = tail(words, found[pathologies[place - 1]].end, heads[i]) if place else 0
            sides[i] = _side_before(words, previous, heads[i], found)
    for i, mention in enumerate(found):
        if mention.term.kind == ANATOMY and sides[i] is None:
            sides[i] = _side_after(words[mention.end : mention.end + 4])
    return sides


def _continues(between: list[str], placed: bool) -> bool:
    """Whether what is said between two findings puts the second where the first is.

    Alternatives share their side. Findings joined by "and" do so where a place stands before the first, or where it
    has its own side from another (``placed``): "right basilar airspace disease and effusion", but not "right
    pneumothorax and pneumonia". A blank of de-identification before the second mostly stands for "likely".
    """
    inner = set(between)
    if "and" in inner and not placed and not inner & {"or", "/"}:
        return False
    if inner & _ALTERNATIVES and not inner & _ENDS_ALTERNATIVE:
        return True
    if "and" in inner or not inner:
        return False
    return bool(inner & (INTERPRETS | _ADJOINS)) or bool(PLACEHOLDERS & set(between[-2:]))


def _both(words: list[str], found: list[Mention], start: int, end: int) -> str | None:
    """``bilateral`` if ``words[start:end]`` hold a place that has sides, in the plural."""
    for mention in found:
        last = words[mention.end - 1]
        plural = start <= mention.start < end and mention.term.kind == ANATOMY and singular(last) != last
        if plural and mention.term.sided and last != "ribs":
            return "bilateral"
    return None


def _side_after(after: list[str]) -> str | None:
    """The side that the words behind a place give it."""
    if after[:1] == ["bilaterally"] or after[:3] == ["on", "both", "sides"]:
        return "bilateral"
    return after[2] if after[:2] == ["on", "the"] and after[2:3] in (["left"], ["right"]) else None


def _side_before(words: list[str], start: int, end: int, found: list[Mention]) -> str | None:
    """Side of an anatomy that the clause names before the mention."""
    for at in range(end - 1, start - 1, -1):
        if words[at] in ("but", "however", "and", "without", "no") and not (
            at + 1 < end and words[at + 1] in SIDES and words[at - 1] in SIDES
        ):
            start = at + 1
            break
    named = [m for m in found if m.term.kind == ANATOMY and m.start >= start and m.end <= end]
    side_words = [at for at in range(start, end) if words[at] in SIDES]
    return _side_in(words, start, end) if named or side_words else None


def _side_in(words: list[str], start: int, end: int) -> str | None:
    """The side that ``words[start:end]`` name; left and right together, or compared, are bilateral."""
    sides = {
        SIDES[words[at]]
        for at in range(start, end)
        if words[at] in SIDES and not (at + 1 < len(words) and words[at + 1] in NO_SIDE)
    }
    if sides and start > 2 and words[start - 1] == "than" and words[start - 2] in _COMPARED:
        return "bilateral"
    if not sides:
        return None
    return sides.pop() if len(sides) == 1 else "bilateral"
