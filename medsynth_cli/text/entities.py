"""Reads reports: the terms of a vocabulary that they mention, with what is said of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from medsynth_cli.text import assertion, matching, phrases, sides
from medsynth_cli.text.assertion import Assertion
from medsynth_cli.text.matching import Mention
from medsynth_cli.text.vocabulary import Term, Vocabulary

SECTIONS = ("findings", "impression")

_TOKEN = re.compile(r"[^\W_]+|[,:()/]|[;!?]|\.(?!\d)|\n(?=\s*(?:\n|[-*•]|\d+[.)]\s))")
_STOPS = frozenset(";.!?\n")
"""Ends of sentences; a line break is one before an empty line or a list item."""


class Sentence(NamedTuple):
    """The words of a sentence, in lower case, with inner punctuation; ``spans``: where each is in the text."""

    words: list[str]
    spans: list[tuple[int, int]]


class Statement(NamedTuple):
    """A mention of a term, with what is said of it.

    Attributes:
        mention: the term, and its words.
        side: ``left``, ``right``, ``bilateral`` or None, of any term, also of those that have none by the vocabulary.
        says: whether it is denied, doubted, past, or of another person.
        head: the first word of its noun phrase.
        start: where it begins, in code points of the text.
        end: where it ends.
    """

    mention: Mention
    side: str | None
    says: Assertion
    head: int
    start: int
    end: int

    @property
    def term(self) -> Term:
        """The term that is mentioned."""
        return self.mention.term


def keywords(report: Mapping[str, str], vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """Terms mentioned in a report, in reading order, as the ``keywords`` of an ``aligned`` record.

    Args:
        report: texts ``findings`` and ``impression``.
        vocabulary: the terms to look for; the longest phrase wins.

    Returns:
        One mapping a mention: ``term`` (key), ``text`` (as written), ``section``, ``span`` [start, end) in code points
        of the section, ``side`` (``left``, ``right``, ``bilateral`` or None), ``negated``, ``uncertain``. History and
        what other persons have are uncertain: the report does not say that the image shows them.
    """
    rows = []
    for section in SECTIONS:
        text = report.get(section) or ""
        for sentence in sentences(text):
            for found in statements(sentence, text, vocabulary):
                says = found.says
                rows.append(
                    {
                        "term": found.term.key,
                        "text": text[found.start : found.end],
                        "section": section,
                        "span": [found.start, found.end],
                        "side": found.side if found.term.sided else None,
                        "negated": says.negated,
                        "uncertain": says.probable or says.possible or says.past or says.other,
                    }
                )
    return rows


def sentences(text: str) -> Iterator[Sentence]:
    """The sentences of a text."""
    words, spans = list[str](), list[tuple[int, int]]()
    lower = text.lower()
    if len(lower) != len(text):  # a capital may have a longer small letter; spans are those of the text
        lower = "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in text)
    for match in _TOKEN.finditer(lower):
        word = match.group()
        if word in _STOPS:
            if words:
                yield Sentence(words, spans)
            words, spans = [], []
        else:
            words.append(word)
            spans.append(match.span())
    if words:
        yield Sentence(words, spans)


def statements(sentence: Sentence, text: str, vocabulary: Vocabulary) -> list[Statement]:
    """The mentions of a sentence, in reading order; ``text`` is what the sentence was cut from."""
    found = matching.mentions(sentence.words, vocabulary)
    return compose(sentence, text, found, assertion.read(sentence.words, found)) if found else []


def compose(sentence: Sentence, text: str, found: list[Mention], says: Iterable[Assertion]) -> list[Statement]:
    """Mentions of a sentence with their sides, and with what is said of each, however it was found out."""
    words, spans = sentence
    heads = [phrases.head(words, found, index) for index in range(len(found))]
    after = [text[spans[mention.end - 1][1] : spans[-1][1]] for mention in found]
    return [
        Statement(mention, side, said, head, spans[mention.start][0], spans[mention.end - 1][1])
        for mention, side, said, head in zip(found, sides.read(words, found, heads, after), says, heads, strict=True)
    ]
