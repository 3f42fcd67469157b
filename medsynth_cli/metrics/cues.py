"""How well findings can be told from a cue that should not tell them: in synthetic images beside real ones.

More positives make a better probe, so both sets are taken at the same numbers of positives and of negatives, finding
by finding; what is left between them is how closely the cue and the finding go together in either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import intervals, probe
from medsynth_cli.metrics.comparison import REPEATED, Row, row

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST = 10
"""Images of either class that a finding needs in both sets: two a fold."""
MOST = 250
"""Images of either class that are taken."""
SEEDS = 4
"""Draws of images and folds."""
EXCESS = " excess"
METHOD = f"bootstrap over patients or records and {SEEDS} probes, {intervals.ROUNDS} rounds, widened for shared folds"
TOGETHER = f"{METHOD}; that of a single finding holds for all findings together (Bonferroni)"


@dataclass(frozen=True)
class Cues:
    """What is known of one set of images.

    Attributes:
        features: the cue, ``(N, D)``.
        truth: which findings they show or were asked to show, ``(N, L)``, 0 or 1.
        groups: ``(N,)``, which images belong together, numbers from 0.
    """

    features: NDArray[np.floating]
    truth: NDArray[np.generic]
    groups: NDArray[np.integer]


@dataclass(frozen=True)
class Told:
    """How well a finding is told from the cue: AUROC over folds, 0.5 is chance.

    Attributes:
        value: in synthetic images.
        real: in real ones.
        others: in what stands in for the synthetic ones.
        drawn: ``value`` and ``real`` again in rounds of a bootstrap over patients or records, ``(R, 2)``.
    """

    value: float
    real: float
    others: Mapping[str, float]
    drawn: NDArray[np.float64]

    @property
    def excess(self) -> float:
        """By how much it is told better in synthetic images."""
        return self.value - self.real

    @property
    def interval(self) -> tuple[float, float] | None:
        """Interval of the value."""
        return probe.cross_validated(self.value, self.drawn[:, 0])

    def excess_interval(self, findings: int = 1) -> tuple[float, float] | None:
        """Interval of the excess, at 95 % for so many findings together (Bonferroni)."""
        error = probe.WIDER * float(np.nanstd(self.drawn[:, 0] - self.drawn[:, 1], ddof=1))
        reach = NormalDist().inv_cdf(1 - (1 - intervals.LEVEL) / (2 * findings)) * error
        return (self.excess - reach, self.excess + reach) if np.isfinite(reach) else None


def compare(
    ours: Cues, real: Cues, labels: Sequence[str], seed: int = 0, others: Mapping[str, Cues] | None = None
) -> dict[str, Told]:
    """Every finding that both sets show often enough -> how well it is told.

    Args:
        ours: of synthetic images.
        real: of real images.
        labels: names of the L findings.
        seed: of random draws.
        others: what stands in for the synthetic images, at the same numbers; as many of either class as ``real`` has.

    Raises:
        MedsynthError: there is no such finding.
    """
    found = {}
    for column, label in enumerate(labels):
        shown = [(len(cues.truth), np.count_nonzero(cues.truth[:, column])) for cues in (ours, real)]
        counts = tuple(min(*own, MOST) for own in zip(*((size - there, there) for size, there in shown), strict=True))
        if min(counts) < FEWEST:
            continue
        sides = [_rankings(cues, column, counts, seed) for cues in (ours, real)]
        value, floor = (_mean(side) for side in sides)
        stand_ins = {name: _mean(_rankings(cues, column, counts, seed)) for name, cues in (others or {}).items()}
        drawn = [probe.drawn(sides[0], ours.groups, seed), probe.drawn(sides[1], real.groups, seed + 1)]
        found[label] = Told(value, floor, stand_ins, np.column_stack(drawn))
    if not found:
        raise MedsynthError(f"no finding that {FEWEST} synthetic and {FEWEST} real images show, and as many do not")
    return found


def rows(told: Mapping[str, Told]) -> dict[str, Row]:
    """The mean over findings, and its excess over real images, each with the findings' own.

    Returns:
        Ends of the rows' names -> rows: the empty string, and ``EXCESS``.
    """
    every = list(told.values())
    value, real = (float(np.mean([getattr(one, side) for one in every])) for side in ("value", "real"))
    others = {name: float(np.mean([one.others[name] for one in every])) for name in every[0].others}
    mean = Told(value, real, others, np.mean([one.drawn for one in every], axis=0))
    absolute = {label: {"value": one.value, "interval": one.interval} for label, one in told.items()}
    over = {label: {"value": one.excess, "interval": one.excess_interval(len(told))} for label, one in told.items()}
    floors = {"real": real, REPEATED: 0.5} | others
    excesses = {name: other - real for name, other in others.items()}
    more = {"better": "lower", "interval_method": METHOD}
    return {
        "": row(value, mean.interval, floors=floors, findings=absolute, **more),
        EXCESS: row(
            mean.excess, mean.excess_interval(), floors=excesses, findings=over, **more | {"interval_method": TOGETHER}
        ),
    }


def _rankings(cues: Cues, column: int, counts: Sequence[int], seed: int) -> list[probe.FoldedRanking]:
    """Out-of-fold rankings of `SEEDS` draws of so many negatives and positives."""
    random = np.random.default_rng([seed, 11, column])
    wanted = np.asarray(cues.truth)[:, column] > 0
    found = []
    for _ in range(SEEDS):
        parts = [random.permutation(np.flatnonzero(wanted == there))[:count] for there, count in enumerate(counts)]
        images = np.concatenate(parts)
        fold = probe.folds(cues.groups[images], int(random.integers(2**31)))
        logits = probe.out_of_fold(cues.features[images], wanted[images, None], fold)[:, 0]
        found.append(probe.FoldedRanking(logits, wanted[images], fold, images))
    return found


def _mean(rankings: Sequence[probe.FoldedRanking]) -> float:
    return float(np.mean([ranking.auroc() for ranking in rankings]))
