"""The words that patches are scored against, and which of them an image counts for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medsynth_cli.text import entities, termsets
from medsynth_cli.text.vocabulary import ANATOMY, Term, Vocabulary

SIDES = ("left", "right")


@dataclass(frozen=True)
class Word:
    """A term of the vocabulary, or one side of it.

    Attributes:
        term: key of the term.
        side: ``left``, ``right`` or empty; the patient's.
        label: the label that this term names best; empty if there is none.
        phrase: what the aligner reads, such as "left pleural effusion".
    """

    term: str
    side: str
    label: str
    phrase: str


def words(vocabulary: Vocabulary) -> list[Word]:
    """The words that labels tell of: for each label the term that names it best, and each of its sides."""
    return [word for label, term in vocabulary.primary_terms.items() for word in _of_term(term, label)]


def all_words(vocabulary: Vocabulary, anatomy: bool = False) -> list[Word]:
    """Every pathology of the vocabulary and each of its sides, and those of anatomy too if asked for."""
    label_of = {term.key: label for label, term in vocabulary.primary_terms.items()}
    terms = [term for term in vocabulary.terms.values() if anatomy or term.kind != ANATOMY]
    return [word for term in terms for word in _of_term(term, label_of.get(term.key, ""))]


class Evidence:
    """What the metadata of an image says it shows.

    A label tells of the term that names it best; radiologists' boxes tell its side. A report tells of every term
    that it asserts, with the sides that it names. Anatomy is in every image. Where no source names a side, the image
    counts for both: the aligner then looks at each half.

    Args:
        words: the words that are asked for.
        vocabulary: their vocabulary.

    Attributes:
        unknown: labels that the vocabulary does not know -> number of images.
    """

    def __init__(self, words: Sequence[Word], vocabulary: Vocabulary) -> None:
        self.unknown = Counter[str]()
        self._vocabulary = vocabulary
        self._numbers: dict[str, dict[str, int]] = {}
        for number, word in enumerate(words):
            self._numbers.setdefault(word.term, {})[word.side] = number
        self._always = [key for key in self._numbers if vocabulary.terms[key].kind == ANATOMY]

    def of(self, meta: Mapping[str, Any]) -> list[int]:
        """Numbers of the words that an image with this metadata counts for, rising."""
        shown: dict[str, set[str]] = {key: set() for key in self._always}
        self._read_labels(meta, shown)
        self._read_report(meta, shown)
        return sorted(
            number
            for key, said in shown.items()
            for side, number in self._numbers.get(key, {}).items()
            if not side or not said or side in said
        )

    def _read_labels(self, meta: Mapping[str, Any], shown: dict[str, set[str]]) -> None:
        for label in meta.get("labels") or ():
            term = self._vocabulary.primary_terms.get(label)
            if term is None:
                self.unknown[str(label)] += 1
                continue
            boxes = [box["xywh"] for box in meta.get("boxes") or () if box["label"] == label]
            shown.setdefault(term.key, set()).update(*(_sides(termsets.side_of_box(box)) for box in boxes))

    def _read_report(self, meta: Mapping[str, Any], shown: dict[str, set[str]]) -> None:
        report = meta.get("report")
        if not report:
            return
        sections = report if isinstance(report, Mapping) else {"findings": str(report)}
        for found in entities.keywords(sections, self._vocabulary):
            if not found["negated"] and not found["uncertain"] and found["term"] in self._numbers:
                # A term that is always there is not confined to the side that a report speaks of.
                sides = () if found["term"] in self._always else _sides(found["side"])
                shown.setdefault(found["term"], set()).update(sides)


def _of_term(term: Term, label: str) -> list[Word]:
    sides = ("", *SIDES) if term.sided else ("",)
    return [Word(term.key, side, label, f"{side} {term.name}".strip()) for side in sides]


def _sides(side: str | None) -> tuple[str, ...]:
    """The sides that a side stands for."""
    return SIDES if side == "bilateral" else (side,) if side else ()
