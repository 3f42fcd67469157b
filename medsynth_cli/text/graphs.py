"""Entities and relations of a report, in the scheme of RadGraph.

Jain et al., RadGraph: Extracting Clinical Entities and Relations from Radiology Reports, NeurIPS Datasets and
Benchmarks 2021. Whatever extracts them, they come in this form, linked to the terms of a vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from medsynth_cli.text import locations
from medsynth_cli.text.entities import Sentence, Statement
from medsynth_cli.text.matching import Mention
from medsynth_cli.text.modifiers import SIDES
from medsynth_cli.text.phrases import INTERPRETS
from medsynth_cli.text.vocabulary import ANATOMY, PATHOLOGY

ANATOMY_PRESENT, PRESENT, ABSENT, UNCERTAIN = "ANAT-DP", "OBS-DP", "OBS-DA", "OBS-U"
LABELS = (ANATOMY_PRESENT, PRESENT, ABSENT, UNCERTAIN)
LOCATED_AT, MODIFIES, SUGGESTIVE_OF = "located_at", "modifies", "suggestive_of"
RELATIONS = (LOCATED_AT, MODIFIES, SUGGESTIVE_OF)
_Modifier = tuple[int, int, str]
"""Index of what is modified, of the modifying word, and the label of the word."""


class Entity(NamedTuple):
    """A word or phrase that names anatomy, an observation, or a property of one.

    Attributes:
        text: as written.
        label: one of `LABELS`: anatomy, or an observation that is present, absent or uncertain.
        section: ``findings`` or ``impression``.
        start: where it begins, in code points of the section.
        end: where it ends.
        term: key of its term, or None if the vocabulary does not know it.
        side: ``left``, ``right``, ``bilateral`` or None, of terms that have sides.
        severity: ``mild``, ``moderate``, ``severe`` or None.
        probable: uncertain, but meant ("probably", "compatible with"), rather than merely considered.
        past: history, or another person's; not what this image shows.
    """

    text: str
    label: str
    section: str
    start: int
    end: int
    term: str | None = None
    side: str | None = None
    severity: str | None = None
    probable: bool = False
    past: bool = False

    @property
    def asserted(self) -> bool:
        """Whether the report says, without any doubt, that the image shows it."""
        return self.label == PRESENT and not self.past

    @property
    def meant(self) -> bool:
        """Whether the report says that the image shows it, hedged or not."""
        return not self.past and (self.label == PRESENT or (self.label == UNCERTAIN and self.probable))


class Relation(NamedTuple):
    """``entities[source]`` is located at, modifies or suggests ``entities[target]``; ``kind``: one of `RELATIONS`."""

    kind: str
    source: int
    target: int


@dataclass(slots=True)
class Graph:
    """What a report says: entities, terms in reading order before their modifiers, and relations between them."""

    entities: list[Entity] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)

    def observations(self) -> Iterator[Entity]:
        """Findings that the vocabulary knows, in reading order."""
        return (e for e in self.entities if e.term is not None and e.label != ANATOMY_PRESENT)

    def located(self) -> Iterator[tuple[Entity, Entity]]:
        """Observations with the anatomy that they are located at."""
        return (
            (self.entities[relation.source], self.entities[relation.target])
            for relation in self.relations
            if relation.kind == LOCATED_AT
        )

    def add(self, statements: list[Statement], sentence: Sentence, text: str, section: str) -> None:
        """Add what a sentence says, with places, severities and modifiers."""
        if not statements:
            return
        words, found = sentence.words, [statement.mention for statement in statements]
        base, modifiers = len(self.entities), list[_Modifier]()
        for index, statement in enumerate(statements):
            severity = (
                locations.severity(words, found[index], statement.head) if statement.term.kind == PATHOLOGY else None
            )
            self.entities.append(_entity(statement, text, section, severity[0] if severity else None))
            modifiers += _modifiers(words, found, index, statement.head, severity[1] if severity else None)
        for index, places in enumerate(locations.sites(words, found, [statement.head for statement in statements])):
            self.relations += [Relation(LOCATED_AT, base + index, base + place) for place in places]
        for index in range(len(found) - 1):
            here, there = found[index], found[index + 1]
            if here.term.kind == there.term.kind == PATHOLOGY and INTERPRETS & set(words[here.end : there.start]):
                self.relations.append(Relation(SUGGESTIVE_OF, base + index, base + index + 1))
        known = dict[int, int]()
        for index, at, label in modifiers:
            if at not in known:
                known[at] = len(self.entities)
                start, end = sentence.spans[at]
                own = self.entities[base + index].label if label == PRESENT else label
                self.entities.append(Entity(text[start:end], own, section, start, end))
            self.relations.append(Relation(MODIFIES, known[at], base + index))


def _entity(statement: Statement, text: str, section: str, severity: str | None) -> Entity:
    says, term = statement.says, statement.term
    doubted = says.probable or says.possible
    label = ABSENT if says.negated else UNCERTAIN if doubted else PRESENT
    return Entity(
        text[statement.start : statement.end],
        ANATOMY_PRESENT if term.kind == ANATOMY else label,
        section,
        statement.start,
        statement.end,
        term.key,
        statement.side if term.sided else None,
        severity,
        says.probable and not says.possible,
        says.past or says.other,
    )


def _modifiers(
    words: list[str], found: list[Mention], index: int, head: int, severity_at: int | None
) -> list[_Modifier]:
    """Sides and severity beside a mention; words of mentions modify none."""
    mention = found[index]
    sided = [
        at for at in range(head, mention.start) if words[at] in SIDES and not any(m.start <= at < m.end for m in found)
    ]
    rows = [(index, at, ANATOMY_PRESENT) for at in sided]
    if severity_at is not None and not mention.start <= severity_at < mention.end:
        rows.append((index, severity_at, PRESENT))
    return rows
