"""The default extractor: phrases of the vocabulary, and rules after NegEx and ConText for what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medsynth_cli.errors import MedsynthError
from medsynth_cli.text import entities
from medsynth_cli.text.graphs import Graph
from medsynth_cli.text.vocabulary import Vocabulary


class Rules:
    """Reads with `entities.statements`: offline, some thousand reports a second on one core."""

    name = "rules"
    parallel = True

    @dataclass(frozen=True)
    class Options:
        """No settings."""

    def __init__(self, vocabulary: Vocabulary, model: str, options: Options) -> None:
        if model:
            raise MedsynthError("extractor rules has no model", "write rules, or hf:MODEL for a model")
        self._vocabulary = vocabulary

    def read(self, reports: Sequence[Mapping[str, str]]) -> list[Graph]:
        """Extract the entities and relations of reports."""
        return [self._read(report) for report in reports]

    def _read(self, report: Mapping[str, str]) -> Graph:
        graph = Graph()
        for section in entities.SECTIONS:
            text = report.get(section) or ""
            for sentence in entities.sentences(text):
                graph.add(entities.statements(sentence, text, self._vocabulary), sentence, text, section)
        return graph
