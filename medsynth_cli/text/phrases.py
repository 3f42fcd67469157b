"""Where the noun phrase of a mention begins, and where what is said behind it ends."""

from __future__ import annotations

from medsynth_cli.text.assertion import joins_sides
from medsynth_cli.text.matching import PLACEHOLDERS, Mention
from medsynth_cli.text.modifiers import SIDES
from medsynth_cli.text.vocabulary import ANATOMY, PATHOLOGY

_PUNCTUATION = frozenset(",:()/")
_CONJUNCTIONS = frozenset(("and", "or", "nor", "with", "without", "but"))
BREAKS = _CONJUNCTIONS | {
    "in", "of", "is", "are", "was", "were", "has", "have", "there", "no", "not", "at", "on", "by", "from", "shows",
    "show", "than", "may", "represents", "represent", "as", "for", "to", "demonstrates", "contains", "seen",
}  # fmt: skip
"""Words that no noun phrase continues across, walking back from its head."""
JOINS = (["and"], ["or"], ["and", "or"], ["and", "/", "or"], ["/"], ["with"], ["versus"], ["vs"])
"""Between two pathologies: a side after the second holds for both."""
INTERPRETS = frozenset(
    ("represent", "represents", "representing", "reflect", "reflects", "reflecting", "likely", "suggesting", "suggests",
     "suggestive", "concerning", "suspicious", "consistent", "compatible", "probably", "presumably", "due", "favored")
)  # fmt: skip
"""Between two pathologies: the second explains the first, and so is on its side."""


def head(words: list[str], found: list[Mention], index: int) -> int:
    """Where the noun phrase of a mention begins: its modifiers, and anatomy before a pathology."""
    mention = found[index]
    floor = found[index - 1].end if index else 0
    if index and found[index - 1].term.kind == ANATOMY and mention.term.kind == PATHOLOGY:
        gap = set(words[floor : mention.start])
        floor = floor if gap & (INTERPRETS | PLACEHOLDERS) else head(words, found, index - 1)
    start = mention.start
    while start > floor:
        word = words[start - 1]
        if (word in BREAKS or word in _PUNCTUATION) and not joins_sides(words, start - 1):
            break
        start -= 1
    return start


def tail(words: list[str], start: int, end: int) -> int:
    """Where the phrases after a mention end: at a comma or conjunction, unless one joins two sides."""
    for at in range(start, end):
        word = words[at]
        if word == "," and _apposition(words[at + 1 : end]):
            continue
        if word in (",", ":", "but", "however", "with", "without", "than", "compared", "although"):
            return at
        if word in ("and", "or") and not set(words[start:at]) & SIDES.keys():
            return at
    return end


def _apposition(rest: list[str]) -> bool:
    """Whether what follows a comma only says where: "granuloma, right lung base"."""
    return bool(rest) and rest[0] in SIDES and not (BREAKS | _PUNCTUATION) & set(rest)
