"""Finds the phrases of a vocabulary in a list of words.

A phrase may be interrupted by words that say how much or on which side ("elevation of the left hemidiaphragm", "the
heart size is mildly enlarged"), and by a "not", which denies it. The longest phrase from the left wins. What stands
before a mention in its noun phrase may make it another term: "calcified right lower lobe granuloma".
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from medsynth_cli.text.modifiers import NO_SIDE, SEVERITIES, SIDES
from medsynth_cli.text.vocabulary import PATHOLOGY, Term, Vocabulary, singular

PLACEHOLDERS = frozenset(("xxxx", "xxx", "xx", "deid", "phi", "redacted"))
"""What de-identification leaves in place of a word, in lower case; ``___`` and ``[** **]`` hold no word at all."""
FUNCTION_WORDS = frozenset(("a", "an", "the", "is", "are", "was", "were"))
"""Words that phrases are compared without."""
BETWEEN = (
    FUNCTION_WORDS
    | PLACEHOLDERS
    | SIDES.keys()
    | SEVERITIES.keys()
    | {"appears", "appear", "appearing", "remains", "remain", "again", "now", "quite", "very", "somewhat", "diffusely"}
    | {"borderline", "significantly", "grossly", "overtly", "at", "least", "been", "has", "have", "stable", "stably"}
)
"""Words that may stand inside a phrase without being part of it."""
_DENIAL = "not"
_MOST_BETWEEN = 4
"""Words that may stand between two of a phrase."""
_MOST_BEFORE = 8
"""Words that may stand between an adjective and its noun, with anatomy among them."""
_ENDS_PHRASE = frozenset(
    ("and", "or", "with", "without", "but", "in", "of", "at", "on", "is", "are", "was", "has", "no", "not", "versus",
     "vs", "there", "may", "which", "to", "for", "from", "by", "as", "than")
)  # fmt: skip
"""Words that no noun phrase continues across, walking back from its noun."""


class Mention(NamedTuple):
    """A term in a list of words: ``words[start:end]``; ``denied`` if a "not" stands inside."""

    term: Term
    start: int
    end: int
    denied: bool = False


@dataclass
class _Node:
    """What may follow the words of a phrase so far, and the term that ends here."""

    after: dict[str, _Node] = field(default_factory=dict)
    term: Term | None = None


def mentions(words: Sequence[str], vocabulary: Vocabulary) -> list[Mention]:
    """Terms in a list of lower-case words, longest match first from the left, never overlapping."""
    root = _tree(vocabulary).after
    singulars = [singular(word) for word in words]
    found, at, end = list[Mention](), 0, len(singulars)
    while at < end:
        node = root.get(singulars[at])
        mention = None if node is None else _longest(singulars, at, node)
        if mention is not None:
            found.append(mention)
        at = mention.end if mention is not None else at + 1
    for place in range(len(found) - 1, 0, -1):
        _refine(singulars, found, place, root)
    return found


def plain(phrase: tuple[str, ...]) -> tuple[str, ...]:
    """The words that a phrase is compared by."""
    return tuple(word for word in phrase if word not in FUNCTION_WORDS) or phrase


def _longest(words: list[str], start: int, node: _Node) -> Mention | None:
    """The longest phrase that begins with the word at ``start``, which led to ``node``."""
    best = Mention(node.term, start, start + 1) if node.term is not None else None
    skipped, denied = 0, False
    for at in range(start + 1, len(words)):
        word = words[at]
        following = node.after.get(word)
        if following is not None:
            node, skipped = following, 0
            if node.term is not None:
                best = Mention(node.term, start, at + 1, denied)
        elif node.after and skipped < _MOST_BETWEEN and _may_interrupt(words, at):
            skipped += 1
            denied = denied or word == _DENIAL
        else:
            break
    return best


def _may_interrupt(words: list[str], at: int) -> bool:
    """Whether a word may stand inside a phrase; the sides of the heart's chambers are names, not sides."""
    if words[at] in SIDES and at + 1 < len(words) and words[at + 1] in NO_SIDE:
        return False
    return words[at] in BETWEEN or words[at] == _DENIAL


def _refine(words: list[str], found: list[Mention], place: int, root: dict[str, _Node]) -> None:
    """Make a mention the term that an earlier word of its noun phrase makes of it, with anatomy between the two.

    A mention of that word alone ("calcified") goes up in it.
    """
    mention = found[place]
    if mention.term.kind != PATHOLOGY:
        return
    earlier = next((i for i in range(place - 1, -1, -1) if found[i].term.kind == PATHOLOGY), None)
    floor = 0 if earlier is None else found[earlier].end - 1
    for at in range(mention.start - 1, max(floor, mention.start - _MOST_BEFORE) - 1, -1):
        word = words[at]
        if word in _ENDS_PHRASE or not word[0].isalnum():
            return
        node = root.get(word)
        for following in words[mention.start : mention.end] if node is not None else ():
            node = node.after.get(following) if node is not None else None
        if node is not None and node.term is not None and node.term.kind == PATHOLOGY:
            found[place] = Mention(node.term, mention.start, mention.end, mention.denied)
            if earlier is not None and (found[earlier].start, found[earlier].end) == (at, at + 1):
                del found[earlier]
            return


@functools.lru_cache(maxsize=8)
def _tree(vocabulary: Vocabulary) -> _Node:
    root = _Node()
    for phrase, term in vocabulary.index.items():
        node = root
        for word in plain(phrase):
            node = node.after.setdefault(word, _Node())
        if node.term is None or phrase == plain(phrase):
            node.term = term
    return root
