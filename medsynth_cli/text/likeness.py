"""A corpus to sample like, from its ``statistics.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medsynth_cli.text import comparing
from medsynth_cli.text.modifiers import SEVERITY_NAMES, SIDE_NAMES
from medsynth_cli.text.vocabulary import Term

UNSEEN = 0.5
"""Reports that a pair or finding is taken to be in which the corpus does not have, or which it is silent about."""


class Likeness:
    """How often findings are in a corpus, alone and together, and where, on which side and how severe.

    Args:
        statistics: the values of ``statistics.json``.
    """

    def __init__(self, statistics: Mapping[str, Any]) -> None:
        self._reports = max(int(statistics["reports"]) - int(statistics["empty"]), 1)
        self._terms: Mapping[str, Any] = statistics["terms"]
        self._located: Mapping[str, Mapping[str, int]] = statistics["located"]
        self._together = dict[tuple[str, str], int]()
        for one, others in statistics["together"].items():
            for other, count in others.items():
                self._together[one, other] = self._together[other, one] = count
        self._numbers = {int(number): count for number, count in statistics["findings"].items()}

    @property
    def normal_fraction(self) -> float:
        """Share of the reports without a finding."""
        return self._numbers.get(0, 0) / max(sum(self._numbers.values()), 1)

    def share(self, key: str) -> float:
        """Share of the reports that have a finding."""
        return float(self._terms.get(key, {}).get("present", 0)) / self._reports

    def draw_number(self, random: np.random.Generator) -> int:
        """Number of findings of a report that has any."""
        numbers = [number for number in self._numbers if number > 0] or [1]
        odds = np.array([self._numbers.get(number, 1) for number in numbers], float)
        return int(random.choice(numbers, p=odds / odds.sum()))

    def inverse(self, keys: Sequence[str]) -> list[float]:
        """Weights of findings inverse to how often the corpus has them."""
        return [1 / (self.share(key) * self._reports + 1) for key in keys]

    def given(self, keys: Sequence[str], chosen: Sequence[str]) -> list[float]:
        """Weights of findings beside those that are chosen: their share, and the lift of each pair.

        The lift of a pair is how much more often it is together than chance would have it; those of several pairs are
        multiplied, as if the chosen findings were independent of each other.
        """
        weights = []
        for key in keys:
            weight = 0.0 if key in chosen else self.share(key)
            for other in chosen:
                expected = self.share(key) * self.share(other) * self._reports
                weight *= (self._together.get((key, other), 0) + UNSEEN) / (expected + UNSEEN)
            weights.append(weight)
        return weights if sum(weights) > 0 else [1.0] * len(keys)

    def draw_place(self, term: Term, random: np.random.Generator) -> str | None:
        """The anatomy that a finding sits in, None as often as the corpus says none."""
        return _draw(self._located.get(term.key, {}), self._present(term.key), random)

    def sides(self, key: str) -> dict[str, float]:
        """Weights of left, right and bilateral; empty if the corpus does not say."""
        found = self._terms.get(key, {}).get("sides", {})
        return {side: float(found.get(side, 0)) for side in SIDE_NAMES} if found else {}

    def draw_severity(self, key: str, random: np.random.Generator) -> str | None:
        """How severe a finding is, None as often as the corpus says nothing."""
        found = self._terms.get(key, {}).get("severities", {})
        return _draw({name: found.get(name, 0) for name in SEVERITY_NAMES}, self._present(key), random)

    def _present(self, key: str) -> int:
        return int(self._terms.get(key, {}).get("present", 0))


def load(path: Path) -> Likeness:
    """The corpus of a ``statistics.json``.

    Raises:
        MedsynthError: it cannot be read.
    """
    return Likeness(comparing.statistics(path))


def _draw(counts: Mapping[str, int], total: int, random: np.random.Generator) -> str | None:
    """One of the names by its count; None for what is left of the total."""
    names = list(counts)
    odds = np.array([*counts.values(), max(total - sum(counts.values()), 0)], float)
    if odds.sum() == 0:
        return None
    at = int(random.choice(len(odds), p=odds / odds.sum()))
    return names[at] if at < len(names) else None
