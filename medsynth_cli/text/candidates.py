"""Phrases of a report that no term of the vocabulary covers: what a site's vocabulary may lack.

Runs of one to three content words. Words with digits, de-identification blanks and words with a capital inside a
sentence (names, above all) are never part of one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping

from medsynth_cli.text import entities
from medsynth_cli.text.graphs import Graph
from medsynth_cli.text.matching import PLACEHOLDERS
from medsynth_cli.text.modifiers import SEVERITIES, SIDES
from medsynth_cli.text.triggers import PHRASES
from medsynth_cli.text.vocabulary import ANATOMY, PATHOLOGY, Vocabulary, singular

LONGEST = 3
"""Words of the longest phrase."""
_PLACES = frozenset(("in", "at", "within", "over", "overlying", "of", "along", "near", "above", "below", "through"))
"""Words after which, with or without an article, a phrase names a place."""
_COMMON = """
    a able abnormal abnormalities abnormality about above active acute acutely adequate adjacent aerated again
    age air all along also although amount an and another anterior any apparent appear appearance appearing
    appropriate approximately are area as aspect assess assessment associated at available be because been
    before being below better between both but by can cardiopulmonary central change characterization chest
    chronic clear clearly clinical cm collection compare compared comparison compatible complete completely
    concern configuration consider consist consistent contour contours contrast convincing correlate correlation
    could current date day definite degree demonstrate demonstrated demonstrates density described despite
    detected develop diagnosis diameter difficult diffuse discussed disease distal do does done due during each
    early either end enlarged enlargement entire essentially evaluate evaluated evaluation evidence evident exam
    examination except exclude exhibit expanded extend extending few film finding findings first focal following
    followup for found from frontal further general given good great greater gross grossly had has have he
    helpful her high his history however identified if image images imaging impression improved in include
    included including increase increased indeterminate indicate indicated indication inflated injury intact
    interval into intrathoracic involving is it its known lateral least less level likely limit limited limits
    line long low lower made maintained may measured measuring medial mid midline mild mm more most multiple
    near new no non none normal normally not note noted now number numerous obscure obscured obtained of old on
    one only or other otherwise out over overall overlie overlying pa part partially patchy patient per
    performed persistent place placement please portable portion position possible possibly post posterior
    preoperative prior probable process project projecting projection projects prominent quadrant quite
    radiograph radiographic radiology reading recommend recommended redemonstrate redemonstrated redemonstration
    region related relatively remain remainder remaining remains remote report represent representing residual
    residuals result reveal review right satisfactory scan scattered second secondary see seen segment sequela
    several shape show shown shows side sided significant silhouette similar since single site size slight small
    some specifically stable status still structure structures study such suggest superior suspicious technique
    than that the their there these they thin third this thorax those though three through throughout time tip
    to too top two typical unchanged under unremarkable up upper upright very view views visible visualization
    visualized was well were when where whether which while widely will with within without would year years you
"""
"""Words of English and of reporting that name neither anatomy nor a finding."""
_BLANK = re.compile(r"\[\*\*.*?\*\*\]", re.DOTALL)
"""What de-identification leaves of a name in MIMIC; a word of its kind may stand in it."""
_TRIGGER_WORDS = frozenset(word for phrases in PHRASES.values() for word in phrases.replace("|", " ").split())
_SKIPPED = frozenset(_COMMON.split()) | _TRIGGER_WORDS | PLACEHOLDERS | SIDES.keys() | SEVERITIES.keys()


def phrases(report: Mapping[str, str], graph: Graph, vocabulary: Vocabulary) -> set[tuple[str, str]]:
    """The phrases of a report that may be terms, in the singular, each as ``anatomy`` or ``pathology``."""
    found = set[tuple[str, str]]()
    for section in entities.SECTIONS:
        text = report.get(section) or ""
        taken = {at for e in graph.entities if e.section == section and e.term for at in range(e.start, e.end)}
        taken |= {at for blank in _BLANK.finditer(text) for at in range(*blank.span())}
        for sentence in entities.sentences(text):
            for words, before in _runs(sentence, text, taken):
                kind = ANATOMY if before in _PLACES else PATHOLOGY
                found.update(
                    (" ".join(words[i : i + n]), kind)
                    for n in range(1, min(LONGEST, len(words)) + 1)
                    for i in range(len(words) - n + 1)
                )
    return found


def _runs(sentence: entities.Sentence, text: str, taken: set[int]) -> Iterator[tuple[list[str], str]]:
    """Runs of words that may be phrases, and the last word before each that is no article."""
    run, before = list[str](), ""
    for at, (word, (start, _)) in enumerate(zip(sentence.words, sentence.spans, strict=True)):
        content = _content(word)
        if content and start not in taken and not (at and text[start].isupper()):
            run.append(content)
            continue
        if run and start not in taken:  # an adjective before a known term is part of no new one
            yield run, before
        run = []
        if word not in ("the", "a", "an"):
            before = word
    if run:
        yield run, before


@functools.lru_cache(maxsize=50_000)
def _content(word: str) -> str:
    """The singular of a word that may be part of a term; empty for any other."""
    one = singular(word)
    return one if word.isalpha() and len(word) > 2 and word not in _SKIPPED and one not in _SKIPPED else ""
