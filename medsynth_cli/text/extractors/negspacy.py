"""The NegEx of negspacy on a spaCy pipeline, with the phrases of the vocabulary.

Needs the packages spacy and negspacy (extra ``negspacy``). Slower and less exact on chest reports than ``rules``
(benchmarks/vocab.md), and independent of its rules: a second opinion.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medsynth_cli.errors import MedsynthError
from medsynth_cli.text import entities, triggers
from medsynth_cli.text.assertion import Assertion
from medsynth_cli.text.entities import SECTIONS, Sentence, Statement
from medsynth_cli.text.graphs import Graph
from medsynth_cli.text.matching import Mention
from medsynth_cli.text.vocabulary import Vocabulary, singular

KINDS = {"negated": "no", "probable": "probable", "possible": "possible", "past": "past", "other": "other"}
"""Extension of a span -> what the triggers do that set it (`triggers.PHRASES`)."""
BATCH = 64
"""Texts that spaCy takes at once."""


class Negspacy:
    """Reads with spaCy's `PhraseMatcher`, and a `negspacy.Negex` each for negation, doubt, history and experiencer."""

    name = "negspacy"
    parallel = True

    @dataclass(frozen=True)
    class Options:
        """Settings of the negspacy extractor.

        Attributes:
            termset: negations that negspacy brings, such as ``en_clinical``; empty takes those of the rules.
        """

        termset: str = "en_clinical"

    def __init__(self, vocabulary: Vocabulary, model: str, options: Options) -> None:
        if model:
            raise MedsynthError("extractor negspacy has no model", "write negspacy, or hf:MODEL for a model")
        self._vocabulary = vocabulary
        self._termset = options.termset

    def read(self, reports: Sequence[Mapping[str, str]]) -> list[Graph]:
        """Extract the entities and relations of reports."""
        graphs = [Graph() for _ in reports]
        texts = [(report.get(section) or "", (i, section)) for i, report in enumerate(reports) for section in SECTIONS]
        for doc, (i, section) in self._pipeline.pipe(texts, as_tuples=True, batch_size=BATCH):
            for sentence, statements in self._sentences(doc):
                graphs[i].add(statements, sentence, doc.text, section)
        return graphs

    def _sentences(self, doc: Any) -> list[tuple[Sentence, list[Statement]]]:
        """The sentences of a document, with what negspacy says of each term."""
        rows = []
        for span in doc.sents:
            tokens = [token for token in span if not token.is_space]
            place = {token.i: at for at, token in enumerate(tokens)}
            words = [token.lower_ for token in tokens]
            sentence = Sentence(words, [(token.idx, token.idx + len(token)) for token in tokens])
            found = [self._mention(entity, place) for entity in span.ents]
            said = [Assertion(**{kind: entity._.get(kind) for kind in KINDS}) for entity in span.ents]
            rows.append((sentence, entities.compose(sentence, doc.text, found, said)))
        return rows

    def _mention(self, entity: Any, place: Mapping[int, int]) -> Mention:
        term = self._vocabulary.terms[entity.label_]
        return Mention(term, place[entity.start], place[entity.end - 1] + 1)

    @functools.cached_property
    def _pipeline(self) -> Any:
        try:
            import spacy
            from negspacy.negation import Negex
            from negspacy.termsets import termset
        except ImportError as error:
            raise MedsynthError(f"extractor negspacy needs {error.name}", "pip install 'medsynth[negspacy]'") from error
        from spacy.attrs import NORM

        _register()
        nlp = spacy.blank("en")
        words: Any = nlp.vocab
        words.lex_attr_getters[NORM] = lambda text: singular(text.lower())
        nlp.add_pipe("sentencizer", config={"punct_chars": [".", "!", "?", ";"]})
        nlp.add_pipe("medsynth_terms", config={"phrases": _phrases(self._vocabulary)})
        for extension, kind in KINDS.items():
            own = _termset(kind)
            if kind == "no" and self._termset:
                own = termset(self._termset).get_patterns()
            nlp.add_pipe("negex", name=extension, config={"neg_termset": own, "extension_name": extension})
        assert Negex is not None  # importing it is what registers "negex"
        return nlp


def _phrases(vocabulary: Vocabulary) -> dict[str, list[str]]:
    """Key of a term -> its phrases."""
    return {key: list(term.phrases) for key, term in vocabulary.terms.items()}


def _termset(kind: str) -> dict[str, list[str]]:
    """The triggers of one kind, as negspacy wants them."""
    preceding, following = list[str](), list[str]()
    for name in triggers.PHRASES:
        for part in name.split():
            what, _, reach = part.partition("_")
            if what == kind:
                (preceding if reach in ("before", "whole") else following).extend(triggers.phrases(name))
    return {
        "pseudo_negations": triggers.phrases(triggers.PSEUDO),
        "preceding_negations": preceding,
        "following_negations": following,
        "termination": triggers.phrases(triggers.TERMINATOR),
    }


def _register() -> None:
    from spacy.language import Language
    from spacy.matcher import PhraseMatcher
    from spacy.tokens import Span
    from spacy.util import filter_spans

    @Language.factory("medsynth_terms")
    def build(nlp: Any, name: str, phrases: dict[str, list[str]]) -> Any:
        matcher = PhraseMatcher(nlp.vocab, attr="NORM")
        for key, texts in phrases.items():
            matcher.add(key, list(nlp.tokenizer.pipe(texts)))

        def find(doc: Any) -> Any:
            spans = [Span(doc, start, end, label=label) for label, start, end in matcher(doc)]
            doc.set_ents(filter_spans(spans))
            return doc

        return find
