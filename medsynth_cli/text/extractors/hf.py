"""Any token-classification model of transformers, from a folder or the hub, as an extractor: ``hf:MODEL``."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medsynth_cli.errors import MedsynthError
from medsynth_cli.text.entities import SECTIONS
from medsynth_cli.text.extractors import linking
from medsynth_cli.text.extractors.linking import Span
from medsynth_cli.text.graphs import LABELS, Graph
from medsynth_cli.text.vocabulary import Vocabulary

PREFIXES = ("B-", "I-", "E-", "S-", "L-", "U-")
"""Of the IOB, IOBES and BILOU schemes."""


class TokenClassifier:
    """Reads with a model whose labels are those of RadGraph, with ``B-``, ``I-`` and the like before them or not."""

    parallel = False

    @dataclass(frozen=True)
    class Options:
        """Settings of the hf extractor.

        Attributes:
            device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
            batch_size: sections that the model reads at once.
            labels: what the model's labels mean, such as ``finding=OBS-DP,absent=OBS-DA``; others mean themselves.
        """

        device: str = "cpu"
        batch_size: int = 32
        labels: str = ""

    def __init__(self, vocabulary: Vocabulary, model: str, options: Options) -> None:
        if not model:
            raise MedsynthError("extractor hf needs a model", "write hf:FOLDER or hf:OWNER/NAME")
        if options.batch_size < 1:
            raise MedsynthError("batch_size must be positive")
        self.name = f"hf:{model}"
        self._vocabulary = vocabulary
        self._model = model
        self._options = options

    def read(self, reports: Sequence[Mapping[str, str]]) -> list[Graph]:
        """Extract the entities of reports, and the places and modifiers that their words give."""
        graphs = [Graph() for _ in reports]
        texts = [(i, section, report.get(section) or "") for i, report in enumerate(reports) for section in SECTIONS]
        texts = [row for row in texts if row[2].strip()]
        answers = self._classify([text for _, _, text in texts], batch_size=self._options.batch_size)
        for (i, section, text), found in zip(texts, answers, strict=True):
            linking.add(graphs[i], text, section, self._spans(found), self._vocabulary)
        return graphs

    def _spans(self, tokens: list[dict[str, Any]]) -> list[Span]:
        """Neighbouring tokens of one label as one span.

        Not left to the pipeline, which takes everything before a hyphen for a prefix, and so OBS-DP for ANAT-DP.
        """
        spans = list[Span]()
        for token in tokens:
            start, end, label = int(token["start"]), int(token["end"]), self._meanings[_plain(token["entity"])]
            last = spans[-1] if spans else None
            new_word = last is None or start > last.end
            if last is not None and last.label == label and start <= last.end + 1 and not (_begins(token) and new_word):
                spans[-1] = Span(last.start, end, label)
            elif label:
                spans.append(Span(start, end, label))
        return spans

    @functools.cached_property
    def _classify(self) -> Any:
        from transformers import pipeline

        try:
            found = pipeline(
                "token-classification", model=self._model, device=self._options.device, aggregation_strategy="none"
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise MedsynthError(
                f"extractor {self.name}: {' '.join(str(error).split())[:300]}",
                "name a folder or a hub model with token classification",
            ) from error
        return found

    @functools.cached_property
    def _meanings(self) -> dict[str, str]:
        """Label of the model, without its prefix -> one of RadGraph's, or empty."""
        pairs = [pair.partition("=") for pair in self._options.labels.split(",") if pair.strip()]
        given = {name.strip(): label.strip() for name, _, label in pairs}
        names = {str(name) for name in self._classify.model.config.id2label.values()}
        plain = {_plain(name) for name in names}
        meanings = {name: given.get(name, "" if name == "O" else name) for name in plain}
        wrong = sorted(name for name, label in meanings.items() if label and label not in LABELS)
        wrong += sorted(given.keys() - plain)
        if wrong:
            raise MedsynthError(
                f"extractor {self.name}: label {', '.join(wrong)} is not of RadGraph, or not of the model",
                f"the model has {', '.join(sorted(plain))}; say what they mean by --set labels=NAME={LABELS[1]},...",
            )
        return meanings


def _plain(label: str) -> str:
    """A label without what says where in a span its token is."""
    return label[2:] if label[:2] in PREFIXES else label


def _begins(token: Mapping[str, Any]) -> bool:
    return str(token["entity"])[:2] in ("B-", "S-", "U-")
