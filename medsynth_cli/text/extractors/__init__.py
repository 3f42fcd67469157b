"""Extractors: what finds entities and relations in reports. A new one is one file and one row in `EXTRACTORS`."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping, Sequence
from typing import Protocol

from medsynth_cli.errors import MedsynthError
from medsynth_cli.runtime import options
from medsynth_cli.text.graphs import Graph
from medsynth_cli.text.vocabulary import Vocabulary

EXTRACTORS = {
    "rules": "medsynth_cli.text.extractors.rules:Rules",
    "negspacy": "medsynth_cli.text.extractors.negspacy:Negspacy",
    "radgraph": "medsynth_cli.text.extractors.radgraph:RadGraph",
    "hf": "medsynth_cli.text.extractors.hf:TokenClassifier",
}
"""Name -> ``module:Class``. ``hf`` is written with a model: ``hf:MODEL``."""


class Extractor(Protocol):
    """Reads reports. Built as ``Class(vocabulary, model, Options(...))`` with a frozen dataclass ``Options``.

    Attributes:
        name: as the user wrote it.
        parallel: whether several processes may each have one; those that hold a large model take batches instead.
    """

    name: str
    parallel: bool

    def read(self, reports: Sequence[Mapping[str, str]]) -> list[Graph]:
        """Extract the entities and relations of reports (texts ``findings`` and ``impression``), one graph each."""
        ...


def load(name: str, vocabulary: Vocabulary, **settings: str) -> Extractor:
    """Build an extractor; no other ever takes its place.

    Args:
        name: a key of `EXTRACTORS`, with a model behind a colon where it takes one: ``hf:path/or/hub-name``.
        vocabulary: the terms that entities are linked to.
        settings: fields of its ``Options``, as text.

    Raises:
        MedsynthError: unknown extractor or setting, a package that it needs is missing, or its model cannot be loaded.
    """
    kind, _, model = name.partition(":")
    if kind not in EXTRACTORS:
        raise MedsynthError(f"unknown extractor {name!r}", f"known: {', '.join(EXTRACTORS)} (as hf:MODEL)")
    extractor_class = pkgutil.resolve_name(EXTRACTORS[kind])
    built: Extractor = extractor_class(
        vocabulary, model, options.build(extractor_class.Options, settings, f"extractor {kind}")
    )
    return built
