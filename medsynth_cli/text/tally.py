"""Counts over a corpus of reports: what `medsynth vocab build` knows of it.

A tally is the same in whatever parts the corpus was counted, and its size does not grow with the corpus: phrases that
stay rare are forgotten when there are too many (lossy counting, Manku and Motwani, VLDB 2002).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from medsynth_cli.text import candidates, graphs
from medsynth_cli.text.graphs import ANATOMY_PRESENT, Graph
from medsynth_cli.text.matching import BETWEEN
from medsynth_cli.text.modifiers import SIDES
from medsynth_cli.text.vocabulary import WORD, Vocabulary

MOST_PHRASES = 100_000
"""Phrases that are remembered at once, of either sort."""
PRESENT, ABSENT, UNCERTAIN, MENTIONED = "present", "absent", "uncertain", "mentioned"

_UNSIDED = BETWEEN - SIDES.keys()

Counts = Counter[Any]


def _counters() -> defaultdict[str, Counts]:
    return defaultdict(Counter)


@dataclass
class Tally:
    """Counts of reports, unless said otherwise.

    Attributes:
        reports: all of them.
        empty: without findings and impression.
        mentions: key of a term -> mentions, not reports.
        documents: key -> reports that mention it, and in which it is present (hedged or not), absent, merely possible.
        sides: key -> side -> reports in which it is present there.
        severities: key -> severity -> reports in which it is present so.
        located: key of a pathology -> key of an anatomy -> reports in which it is present there.
        together: pair of keys of pathologies, in order -> reports in which both are present; without the lexicon.
        findings: number of pathologies that are present -> reports; without the lexicon.
        forms: key -> how it is written, without sides and degrees -> reports.
        phrases: (words that no term has, ``anatomy`` or ``pathology``) -> reports.
    """

    reports: int = 0
    empty: int = 0
    mentions: Counts = field(default_factory=Counter)
    documents: defaultdict[str, Counts] = field(default_factory=_counters)
    sides: defaultdict[str, Counts] = field(default_factory=_counters)
    severities: defaultdict[str, Counts] = field(default_factory=_counters)
    located: defaultdict[str, Counts] = field(default_factory=_counters)
    together: Counts = field(default_factory=Counter)
    findings: Counts = field(default_factory=Counter)
    forms: Counts = field(default_factory=Counter)
    phrases: Counts = field(default_factory=Counter)

    def add(self, report: Mapping[str, str], graph: Graph, vocabulary: Vocabulary) -> None:
        """Count one report."""
        self.reports += 1
        if not (report.get("findings") or report.get("impression")):
            self.empty += 1
            return
        seen, present, sided, severe, forms = set(), set(), set(), set(), set()
        for entity in graph.entities:
            if entity.term is None:
                continue
            self.mentions[entity.term] += 1
            forms.add((entity.term, _form(entity.text, vocabulary.terms[entity.term].sided)))
            seen.add((entity.term, MENTIONED))
            if entity.label == ANATOMY_PRESENT:
                continue
            if entity.meant:
                present.add(entity.term)
                sided.add((entity.term, entity.side))
                severe.add((entity.term, entity.severity))
            else:
                seen.add((entity.term, ABSENT if entity.label == graphs.ABSENT else UNCERTAIN))
        for key, what in seen:
            if what == MENTIONED or key not in present:
                self.documents[key][what] += 1
        for key in present:
            self.documents[key][PRESENT] += 1
        _count(self.sides, sided)
        _count(self.severities, severe)
        _count(self.located, {(o.term, a.term) for o, a in graph.located() if o.meant and o.term and a.term})
        ordered = sorted(present - vocabulary.lexicon)
        self.together.update((one, other) for i, one in enumerate(ordered) for other in ordered[i + 1 :])
        self.findings[len(ordered)] += 1
        self.forms.update(forms)
        self.phrases.update(candidates.phrases(report, graph, vocabulary))
        self._forget()

    def merge(self, other: Tally) -> None:
        """Add the counts of another part of the corpus."""
        self.reports += other.reports
        self.empty += other.empty
        for name in ("mentions", "together", "findings", "forms", "phrases"):
            getattr(self, name).update(getattr(other, name))
        for name in ("documents", "sides", "severities", "located"):
            for key, counts in getattr(other, name).items():
                getattr(self, name)[key].update(counts)
        self._forget()

    def _forget(self) -> None:
        for name in ("forms", "phrases"):
            counts, least = getattr(self, name), 1
            while len(counts) > MOST_PHRASES:
                counts = Counter({key: count for key, count in counts.items() if count > least})
                setattr(self, name, counts)
                least *= 2


def _count(counters: defaultdict[str, Counts], pairs: Iterable[tuple[str, Any]]) -> None:
    for key, value in pairs:
        if value is not None:
            counters[key][value] += 1


def _form(text: str, sided: bool) -> str:
    """How a term is written, without what may interrupt it; sides belong to one that has none ("left atrium")."""
    left_out = BETWEEN if sided else _UNSIDED
    return " ".join(word for word in WORD.findall(text.lower()) if word not in left_out)
