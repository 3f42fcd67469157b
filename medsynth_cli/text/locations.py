"""Where in the body each finding of a sentence is, and how severe."""

from __future__ import annotations

import itertools

from medsynth_cli.text.matching import Mention
from medsynth_cli.text.modifiers import SEVERITIES
from medsynth_cli.text.phrases import JOINS, tail
from medsynth_cli.text.vocabulary import ANATOMY, PATHOLOGY

_COPULAS = frozenset(("is", "are", "was", "were", "appears", "appear", "remains", "remain"))
_STATEMENT_ENDS = frozenset(("and", "but", "however", "without", "no", "with"))
"""Words that a place before a finding does not reach across."""


def sites(words: list[str], found: list[Mention], heads: list[int]) -> list[list[int]]:
    """For each mention the mentions of anatomy that it sits in, as indices; none for anatomy.

    A place stands in the noun phrase ("left basilar atelectasis"), behind it ("consolidation in the lower lobe"), or
    before it in the clause ("the lung base shows consolidation"); of a joined pair, the first has the second's.
    """
    places: list[list[int]] = [[] for _ in found]
    anatomy = [i for i, mention in enumerate(found) if mention.term.kind == ANATOMY]
    pathologies = [i for i, mention in enumerate(found) if mention.term.kind == PATHOLOGY]
    if not anatomy or not pathologies:
        return places
    for place, i in enumerate(pathologies):
        following = heads[pathologies[place + 1]] if place + 1 < len(pathologies) else len(words)
        end = tail(words, found[i].end, following)
        places[i] = [a for a in anatomy if heads[i] <= found[a].start < end]
        if not places[i]:
            before = found[pathologies[place - 1]].end if place else 0
            clause = _clause(words, before, heads[i])
            places[i] = [a for a in anatomy if clause <= found[a].start < heads[i]]
    for here, there in reversed(list(itertools.pairwise(pathologies))):
        if not places[here] and words[found[here].end : found[there].start] in JOINS:
            places[here] = places[there]
    return places


def severity(words: list[str], mention: Mention, head: int) -> tuple[str, int] | None:
    """How severe a finding is said to be, and which word says so: in its noun phrase, or as a predicate behind it."""
    for at in range(mention.end - 1, head - 1, -1):
        if words[at] in SEVERITIES:
            return SEVERITIES[words[at]], at
    if mention.end + 1 < len(words) and words[mention.end] in _COPULAS and words[mention.end + 1] in SEVERITIES:
        return SEVERITIES[words[mention.end + 1]], mention.end + 1
    return None


def _clause(words: list[str], start: int, end: int) -> int:
    return next((at + 1 for at in range(end - 1, start - 1, -1) if words[at] in _STATEMENT_ENDS), start)
