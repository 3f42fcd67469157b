"""Draws term sets: which findings, where, how severe, in whom.

Every draw of a record depends on the seed and the record's number alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.text import pairwise
from medsynth_cli.text.likeness import Likeness
from medsynth_cli.text.modifiers import SEVERITY_NAMES, SIDE_NAMES
from medsynth_cli.text.people import Distribution
from medsynth_cli.text.vocabulary import PATHOLOGY, Term, Vocabulary

STRATEGIES = ("mixed", "frequency", "uniform", "balanced", "pairs")
MOST_FINDINGS = 3
LABELLED = 0.8
"""Share of the draws of ``mixed`` that go to findings with a label."""
NORMAL = 0.25
"""Share of term sets without a finding, where neither the user nor a corpus says it."""
TRIES = 50
"""Draws of a finding that may clash with those drawn before it; then the term set stays as it is."""

Finding = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What to draw.

    Attributes:
        strategy: ``mixed`` (findings with labels four times in five), ``frequency`` (as a corpus has them, together
            as there), ``uniform`` (all alike), ``balanced`` (inversely to their frequency in a corpus), ``pairs``.
        likeness: the corpus of ``frequency`` and ``balanced``; with it, places, sides, severities and absences too.
        require: findings that every term set has that is not normal.
        exclude: keys of terms that none has, neither present nor absent.
        normal_fraction: share of term sets without a finding; None goes by the corpus, or is `NORMAL`.
        view: distribution of views; None draws from those of the modality.
        sex: distribution of ``M`` and ``F``.
        age: distribution of years.
    """

    strategy: str = "mixed"
    likeness: Likeness | None = None
    require: Sequence[Finding] = ()
    exclude: frozenset[str] = frozenset()
    normal_fraction: float | None = None
    view: Distribution | None = None
    sex: Distribution = field(default_factory=lambda: Distribution.even(("M", "F")))
    age: Distribution = field(default_factory=lambda: Distribution.between(18, 90))

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise MedsynthError(f"unknown strategy {self.strategy!r}", f"known: {', '.join(STRATEGIES)}")
        if self.strategy in ("frequency", "balanced") and self.likeness is None:
            raise MedsynthError(
                f"strategy {self.strategy} needs the frequencies of a corpus", "add --like statistics.json"
            )
        if self.strategy == "pairs" and self.require:
            raise MedsynthError(
                "strategy pairs has every finding once", "leave --require out, or choose another strategy"
            )
        clash = {finding["term"] for finding in self.require} & self.exclude
        if clash:
            raise MedsynthError(f"{', '.join(sorted(clash))} is required and excluded", "leave one of the two out")


def sample(vocabulary: Vocabulary, count: int | None, seed: int, plan: Plan) -> Iterator[dict[str, Any]]:
    """Draw term sets.

    Args:
        vocabulary: the terms to draw from.
        count: number of records, ids ``terms-<seed>-0000`` ...; for ``pairs`` None, which takes all it needs.
        seed: seed of the draws.
        plan: what to draw.

    Yields:
        ``terms`` records.
    """
    drawer = _Drawer(vocabulary, plan)
    sets = pairwise.sets(drawer.pathologies, vocabulary, MOST_FINDINGS) if plan.strategy == "pairs" else None
    numbers = range(count) if count is not None else itertools.count()
    for number, chosen in zip(numbers, itertools.repeat(None) if sets is None else sets, strict=False):
        random = np.random.default_rng([seed, number])
        findings = drawer.findings(random) if chosen is None else drawer.of_pairs(chosen, random)
        views = plan.view or (Distribution.even(vocabulary.views) if vocabulary.views else None)
        yield {
            "kind": "terms",
            "id": f"terms-{seed}-{number:04d}",
            "modality": vocabulary.modality,
            "findings": findings,
            "labels": vocabulary.labels_of(findings),
            "view": views.draw(random) if views is not None else None,
            "sex": plan.sex.draw(random),
            "age": plan.age.draw(random),
        }


class _Drawer:
    """Draws the findings of one term set at a time."""

    def __init__(self, vocabulary: Vocabulary, plan: Plan) -> None:
        self._vocabulary, self._plan, self._likeness = vocabulary, plan, plan.likeness
        self.pathologies = [term for term in vocabulary.of_kind(PATHOLOGY) if term.key not in plan.exclude]
        if plan.strategy == "frequency" and plan.likeness is not None:
            self.pathologies = [term for term in self.pathologies if plan.likeness.share(term.key) > 0]
        if not self.pathologies:
            raise MedsynthError("no finding is left to draw", "exclude fewer, or name another corpus with --like")

    def findings(self, random: np.random.Generator) -> list[Finding]:
        """Findings that are present, then some absences; or absences alone."""
        plan, likeness = self._plan, self._likeness
        corpus = likeness if plan.strategy == "frequency" else None
        normal = plan.normal_fraction
        if normal is None:
            normal = corpus.normal_fraction if corpus is not None else NORMAL
        if random.random() < normal:
            return self._absences([], int(random.integers(0, 3)), random)
        most = corpus.draw_number(random) if corpus is not None else int(random.integers(1, MOST_FINDINGS + 1))
        chosen = [self._vocabulary.terms[finding["term"]] for finding in plan.require]
        required = len(chosen)
        for _ in range(TRIES):
            if len(chosen) >= max(most, 1):
                break
            term = self._draw_term(chosen, random)
            alike = corpus is None and any(set(term.groups) & set(other.groups) for other in chosen)
            if term not in chosen and not alike:
                chosen.append(term)
        drawn = [*plan.require, *(self._draw_finding(term, random) for term in chosen[required:])]
        return drawn + self._absences(chosen, int(random.integers(0, 3)), random)

    def of_pairs(self, pairs: Sequence[tuple[Term, str]], random: np.random.Generator) -> list[Finding]:
        """One finding for each pair of a pathology and the key of an anatomy."""
        return [self._draw_finding(term, random, anatomy) for term, anatomy in pairs]

    def _draw_term(self, chosen: Sequence[Term], random: np.random.Generator) -> Term:
        pool, likeness = self.pathologies, self._likeness
        if self._plan.strategy == "mixed" and random.random() < LABELLED:
            pool = [term for term in pool if term.label] or pool
        if likeness is None or self._plan.strategy not in ("frequency", "balanced"):
            return pool[int(random.integers(len(pool)))]
        keys = [term.key for term in pool]
        if self._plan.strategy == "balanced":
            return pool[_weighted(random, likeness.inverse(keys))]
        return pool[_weighted(random, likeness.given(keys, [term.key for term in chosen]))]

    def _draw_finding(self, term: Term, random: np.random.Generator, anatomy: str | None = None) -> Finding:
        likeness, terms = self._likeness, self._vocabulary.terms
        if anatomy is None and likeness is not None:
            anatomy = likeness.draw_place(term, random)
            anatomy = anatomy if anatomy in term.anatomy else None
        elif anatomy is None and term.anatomy and random.random() < 0.7:
            anatomy = term.anatomy[int(random.integers(len(term.anatomy)))]
        side, severity = None, None
        if term.sided and (anatomy is None or terms[anatomy].sided):
            odds = likeness.sides(term.key) if likeness is not None else None
            side = SIDE_NAMES[_weighted(random, odds)] if odds else str(random.choice(SIDE_NAMES, p=(0.4, 0.4, 0.2)))
        if likeness is not None:
            severity = likeness.draw_severity(term.key, random)
        elif random.random() >= 0.3:
            severity = SEVERITY_NAMES[int(random.integers(len(SEVERITY_NAMES)))]
        return {"term": term.key, "anatomy": anatomy, "side": side, "severity": severity, "present": True}

    def _absences(self, present: Sequence[Term], count: int, random: np.random.Generator) -> list[Finding]:
        return absences(self._vocabulary, present, count, random, self._plan.exclude)


def absences(
    vocabulary: Vocabulary,
    present: Sequence[Term],
    count: int,
    random: np.random.Generator,
    exclude: frozenset[str] = frozenset(),
) -> list[Finding]:
    """Up to ``count`` common findings that nothing present resembles, as absent."""
    groups = {group for term in present for group in term.groups}
    common = [term for term in vocabulary.of_kind(PATHOLOGY) if term.common and term.key not in exclude]
    pool = [term for term in common if not groups & set(term.groups)]
    order = random.permutation(len(pool))[:count]
    return [
        {"term": pool[i].key, "anatomy": None, "side": None, "severity": None, "present": False} for i in sorted(order)
    ]


def _weighted(random: np.random.Generator, weights: Sequence[float] | Mapping[Any, float]) -> int:
    values = np.asarray(list(weights.values()) if isinstance(weights, Mapping) else weights, dtype=float)
    return int(random.choice(len(values), p=values / values.sum()))
