"""The models of the radgraph package as an extractor: entities and relations as RadGraph defines them.

Needs the package radgraph (extra ``radgraph``); its weights come from a hub on first use, or from ``cache``.
"""

from __future__ import annotations

import contextlib
import functools
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medsynth_cli.errors import MedsynthError
from medsynth_cli.text.entities import SECTIONS
from medsynth_cli.text.extractors import linking
from medsynth_cli.text.extractors.linking import Span
from medsynth_cli.text.graphs import (
    ABSENT,
    ANATOMY_PRESENT,
    LABELS,
    LOCATED_AT,
    MODIFIES,
    PRESENT,
    SUGGESTIVE_OF,
    UNCERTAIN,
    Graph,
    Relation,
)  # fmt: skip
from medsynth_cli.text.vocabulary import Vocabulary

XL_LABELS = {
    "Anatomy::definitely present": ANATOMY_PRESENT,
    "Observation::definitely present": PRESENT,
    "Observation::definitely absent": ABSENT,
    "Observation::uncertain": UNCERTAIN,
}
"""Label of RadGraph-XL -> that of RadGraph; ``Observation::measurement`` and anatomy that is absent have none."""

KINDS = {"located_at": LOCATED_AT, "modify": MODIFIES, "suggestive_of": SUGGESTIVE_OF}
"""Relation of the package -> ours."""


class RadGraph:
    """Reads with `radgraph.RadGraph`."""

    name = "radgraph"
    parallel = False

    @dataclass(frozen=True)
    class Options:
        """Settings of the radgraph extractor.

        Attributes:
            cache: folder with the models, unpacked as ``<cache>/<model>/``; default: the package's own cache.
            cuda: number of the GPU, -1 for the processor.
        """

        cache: str | None = None
        cuda: int = -1

    def __init__(self, vocabulary: Vocabulary, model: str, options: Options) -> None:
        self.name = f"radgraph:{model}" if model else "radgraph"
        self._vocabulary = vocabulary
        self._model_type = model or "radgraph-xl"
        self._options = options

    def read(self, reports: Sequence[Mapping[str, str]]) -> list[Graph]:
        """Extract the entities and relations of reports."""
        graphs = [Graph() for _ in reports]
        texts = [(i, section, report.get(section) or "") for i, report in enumerate(reports) for section in SECTIONS]
        texts = [row for row in texts if row[2].strip()]
        if not texts:
            return graphs
        with _chatter_to_stderr():
            answers = self._network([text for _, _, text in texts])
        for number, (i, section, text) in enumerate(texts):
            answer = answers.get(str(number))
            if answer is None:
                raise MedsynthError(
                    f"extractor {self.name} gave no answer for a {section} section", "--debug shows why"
                )
            self._add(graphs[i], answer, text, section)
        return graphs

    def _add(self, graph: Graph, answer: Mapping[str, Any], text: str, section: str) -> None:
        """Add the annotations of a text; where spans became entities, relations go with them."""
        tokens = list(_places(answer["text"].split(), text))
        rows = [
            (key, row, XL_LABELS.get(row["label"], row["label"]), tokens[row["start_ix"]], tokens[row["end_ix"]])
            for key, row in answer["entities"].items()
        ]
        rows = [row for row in rows if row[2] in LABELS]
        spans = [Span(first[0], last[1], label) for _, _, label, first, last in rows]
        first_relation = len(graph.relations)
        became = dict(
            zip((row[0] for row in rows), linking.add(graph, text, section, spans, self._vocabulary), strict=True)
        )
        own = [
            Relation(KINDS[kind], became[key], became[target])
            for key, row, *_ in rows
            for kind, target in row["relations"]
            if kind in KINDS and target in became
        ]
        placed = {relation.source for relation in own if relation.kind == LOCATED_AT}
        # Where the model says nothing of a finding's place, the words do.
        inferred = [r for r in graph.relations[first_relation:] if r.kind != LOCATED_AT or r.source not in placed]
        graph.relations[first_relation:] = list(dict.fromkeys([*inferred, *own]))

    @functools.cached_property
    def _network(self) -> Any:
        _add_transformers_4()
        try:
            import radgraph
        except ImportError as error:
            raise MedsynthError(
                f"extractor radgraph needs the package {error.name}", "pip install 'medsynth[radgraph]'"
            ) from error
        try:
            with _chatter_to_stderr():
                return radgraph.RadGraph(
                    model_type=self._model_type, model_cache_dir=self._options.cache, cuda=self._options.cuda
                )
        except Exception as error:  # the package raises bare exceptions, and assertions for unknown models
            raise MedsynthError(
                f"extractor {self.name}: its model cannot be loaded ({' '.join(str(error).split())[:300]})",
                "unpack the model's archive to FOLDER/radgraph-xl, and add --set cache=FOLDER",
            ) from error


def _places(tokens: Sequence[str], text: str) -> Iterator[tuple[int, int]]:
    """Where each token is in a text that was cut at spaces and punctuation; quotes may have been rewritten."""
    at = 0
    for token in tokens:
        found = re.compile(re.escape(token)).search(text, at)
        start, at = found.span() if found else (at, at)
        yield start, at


def _add_transformers_4() -> None:
    """Give tokenizers the methods of transformers 4 that radgraph 0.1.18 calls and transformers 5 has dropped."""
    from transformers import PreTrainedTokenizerBase

    def with_special_tokens(self: Any, first: list[int], second: list[int] | None = None) -> list[int]:
        rest = [] if second is None else [*second, self.sep_token_id]
        return [self.cls_token_id, *first, self.sep_token_id, *rest]

    dropped = {
        "encode_plus": PreTrainedTokenizerBase.__call__,
        "batch_encode_plus": PreTrainedTokenizerBase.__call__,
        "build_inputs_with_special_tokens": with_special_tokens,
    }
    for name, method in dropped.items():
        if not hasattr(PreTrainedTokenizerBase, name):
            setattr(PreTrainedTokenizerBase, name, method)


@contextlib.contextmanager
def _chatter_to_stderr() -> Iterator[None]:
    """The package prints; stdout carries results only."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
