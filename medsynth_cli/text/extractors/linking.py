"""Entities of a model, as statements about the terms of a vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medsynth_cli.text import entities, matching
from medsynth_cli.text.assertion import Assertion
from medsynth_cli.text.graphs import ABSENT, UNCERTAIN, Entity, Graph
from medsynth_cli.text.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch ``text[start:end]`` that a model labels with one of `graphs.LABELS`."""

    start: int
    end: int
    label: str


def add(graph: Graph, text: str, section: str, spans: Sequence[Span], vocabulary: Vocabulary) -> list[int]:
    """Add what a model found in a text: terms with sides and places, and spans that hold no term as they are.

    The vocabulary's phrases say which term a span stands for, the model whether it is present, absent or uncertain. A
    phrase that the model labels nowhere is no entity.

    Returns:
        For each span, the entity that it became.
    """
    became = [-1] * len(spans)
    for sentence in entities.sentences(text):
        found = matching.mentions(sentence.words, vocabulary)
        places = [(sentence.spans[m.start][0], sentence.spans[m.end - 1][1]) for m in found]
        owners = [_owner(start, end, spans) for start, end in places]
        kept = [(i, owner) for i, owner in enumerate(owners) if owner is not None]
        says = [_says(spans[owner].label) for _, owner in kept]
        statements = entities.compose(sentence, text, [found[i] for i, _ in kept], says)
        base = len(graph.entities)
        graph.add(statements, sentence, text, section)
        for number, (i, _) in enumerate(kept):
            for j, span in enumerate(spans):
                if span.start < places[i][1] and places[i][0] < span.end:
                    became[j] = base + number
    for j, span in enumerate(spans):
        if became[j] < 0:
            became[j] = len(graph.entities)
            graph.entities.append(Entity(text[span.start : span.end], span.label, section, span.start, span.end))
    return became


def _owner(start: int, end: int, spans: Sequence[Span]) -> int | None:
    """The span that a phrase's last word is in, since that is its noun; else one that it touches."""
    touching = [j for j, span in enumerate(spans) if span.start < end and start < span.end]
    holding = [j for j in touching if spans[j].end >= end]
    return next(iter([*reversed(holding), *touching]), None)


def _says(label: str) -> Assertion:
    return Assertion(negated=label == ABSENT, possible=label == UNCERTAIN)
