"""Quality control: which candidates of a word become its patches."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medsynth_cli.alignment.pool import MARGIN, Caps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.alignment.pool import Rows

POOLED = 4
"""How many times as many candidates are pooled as are chosen, of a word and of a patient."""
ALIKE = 0.985
"""Correlation from which two patches are near-duplicates; benchmarks/codebook.md has that of copies and of others."""
SHIFTS = tuple(itertools.product(range(4 * MARGIN + 1), repeat=2))
"""In half pixels of a thumbnail, down and across."""


@dataclass(frozen=True)
class Rules:
    """What an entry may hold.

    Attributes:
        k1: patches a word, at most.
        per_patient: of these from one patient, at most.
        min_patients: distinct patients, at least; an entry with fewer is dropped.
    """

    k1: int = 64
    per_patient: int = 4
    min_patients: int = 3

    @property
    def caps(self) -> Caps:
        """How many candidates are pooled."""
        return Caps(POOLED * self.k1, POOLED * self.per_patient)


@dataclass(frozen=True)
class Entry:
    """The chosen candidates of a word, and why others were not.

    Attributes:
        rows: the chosen ones, best first.
        patients: how many patients they are of.
        alike: better-scored candidates that were left out as near-duplicates.
        crowded: those that were left out because their patient had enough.
        cut_short: whether the pool ran out before the entry was full, and had to leave candidates out itself.
    """

    rows: Rows
    patients: int
    alike: int
    crowded: int
    cut_short: bool


def choose(rows: Rows, rules: Rules) -> Entry:
    """Take candidates in their order, but for near-duplicates of those taken and what a patient has too much of.

    Args:
        rows: the pooled candidates of one word, best first.
        rules: what the entry may hold.
    """
    similar = alike(rows["thumbnail"]) if len(rows) else np.empty((0, 0), bool)
    taken, alike_count, crowded = list[int](), 0, 0
    of_patient: dict[int, int] = {}
    for index, patient in enumerate(rows["patient"].tolist()):
        if len(taken) == rules.k1:
            break
        if similar[taken, index].any():
            alike_count += 1
        elif of_patient.get(patient, 0) >= rules.per_patient:
            crowded += 1
        else:
            taken.append(index)
            of_patient[patient] = of_patient.get(patient, 0) + 1
    full = len(rows) >= rules.caps.word
    return Entry(rows[taken], len(of_patient), alike_count, crowded, full and len(taken) < rules.k1)


def alike(thumbnails: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of N patches are near-duplicates: bool ``(N, N)``, [i, j] for j laid over i at the best of all shifts.

    Two patches are compared by zero-mean correlation, so that brightness and contrast do not count, at every shift
    by half a pixel that the margin allows. Sums of products of grey values are whole numbers far below 2⁵³: double
    precision gives them exactly, whatever the order of summation, so that the answer is the same on every machine.

    Args:
        thumbnails: ``(N, s, s)``, with `MARGIN` around the patch.
    """
    inner = shifted(thumbnails, 2 * MARGIN, 2 * MARGIN)
    found = np.zeros((len(thumbnails), len(thumbnails)), bool)
    for down, across in SHIFTS:
        found |= correlation(shifted(thumbnails, down, across), inner) >= ALIKE
    return found


def shifted(thumbnails: NDArray[np.uint8], down: int, across: int) -> NDArray[np.float64]:
    """Patches in thumbnails ``(N, s, s)`` from some half pixels down and across: whole numbers, ``(N, D)``."""
    side = thumbnails.shape[1] - 2 * MARGIN
    rows, columns = (np.arange(side) + start // 2 for start in (down, across))
    x = thumbnails.astype(np.float64)
    x = x[:, rows] + x[:, rows + down % 2]
    return (x[:, :, columns] + x[:, :, columns + across % 2]).reshape(len(x), -1)


def correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Zero-mean correlation of all pairs of whole-numbered patches ``(N, D)`` and ``(M, D)``; 1 if both are uniform."""
    count = one.shape[1]
    covariance = count * (one @ other.T) - one.sum(1)[:, None] * other.sum(1)
    spread = (_spread(one)[:, None] * _spread(other)) ** 0.5
    both = (_spread(one)[:, None] == 0) & (_spread(other) == 0)
    return np.where(both, 1.0, covariance / np.maximum(spread, 1.0))


def _spread(patches: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared count times the variance."""
    return patches.shape[1] * np.square(patches).sum(1) - patches.sum(1) ** 2
