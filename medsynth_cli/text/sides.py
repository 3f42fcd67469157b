"""On which side each mention of a sentence is.

Sides come from modifiers in the same noun phrase, then from what follows ("in the right lower lobe"), then from what
precedes in the clause ("the left base shows ...").
"""

from __future__ import annotations

import itertools
import re

from medsynth_cli.text.matching import Mention
from medsynth_cli.text.modifiers import NO_SIDE, SIDES
from medsynth_cli.text.phrases import INTERPRETS, JOINS, head, tail
from medsynth_cli.text.vocabulary import ANATOMY, PATHOLOGY

_GREATER = re.compile(r"\s*,?\s*\(?\s*(left|right)(?:[- ]sided)?\s+(?:is\s+)?(?:greater|larger|more|worse)\b", re.I)


def read(words: list[str], found: list[Mention], after: list[str]) -> list[str | None]:
    """The side of each mention in a sentence of lower-case words; ``after``: the text behind each mention."""
    heads = [head(words, found, index) for index in range(len(found))]
    sides = [_side_in(words, heads[i], found[i].end) for i in range(len(found))]
    pathologies = [i for i, mention in enumerate(found) if mention.term.kind == PATHOLOGY]
    for place, i in enumerate(pathologies):
        following = heads[pathologies[place + 1]] if place + 1 < len(pathologies) else len(words)
        compared = _GREATER.match(after[i])
        if compared:
            sides[i] = "bilateral"
        if sides[i] is None:
            sides[i] = _side_in(words, found[i].end, tail(words, found[i].end, following))
    for here, there in reversed(list(itertools.pairwise(pathologies))):
        between = words[found[here].end : found[there].start]
        if sides[here] is None and between in JOINS:
            sides[here] = sides[there]
    for place, i in enumerate(pathologies):
        if sides[i] is None and place:
            before = pathologies[place - 1]
            between = words[found[before].end : found[i].start]
            if INTERPRETS & set(between) and "and" not in between:
                sides[i] = sides[before]
        if sides[i] is None:
            previous = tail(words, found[pathologies[place - 1]].end, heads[i]) if place else 0
            sides[i] = _side_before(words, previous, heads[i], found)
    for i, mention in enumerate(found):
        if mention.term.kind == ANATOMY and sides[i] is None:
            after = words[mention.end : mention.end + 4]
            if after[:1] == ["bilaterally"] or after[:3] == ["on", "both", "sides"]:
                sides[i] = "bilateral"
            elif after[:2] == ["on", "the"] and after[2:3] in (["left"], ["right"]):
                sides[i] = after[2]
    return sides


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
    """The side that ``words[start:end]`` name; left and right together are bilateral."""
    sides = {
        SIDES[words[at]]
        for at in range(start, end)
        if words[at] in SIDES and not (at + 1 < len(words) and words[at + 1] in NO_SIDE)
    }
    if not sides:
        return None
    return sides.pop() if len(sides) == 1 else "bilateral"
