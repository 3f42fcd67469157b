"""Training sets for probes: the same number of images of each kind, drawn again by patient or record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medsynth_cli.metrics import probe

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEEDS = 8
"""Training sets of a kind."""
SYNTHETIC, REAL, BOTH = "synthetic", "real", "both"
MORE_REAL, REAL_ROUND_TRIP, MORE_ROUND_TRIP = "more real", "real round trip", "more round trip"
SHUFFLED, BOTH_SHUFFLED, BOTH_REPEATED = "shuffled", "both shuffled", "both repeated"


@dataclass(frozen=True)
class Side:
    """Images of one kind.

    Attributes:
        features: ``(N, D)``.
        truth: ``(N, L)``, 0 or 1.
        groups: ``(N,)``, which images are drawn together.
    """

    features: NDArray[np.floating]
    truth: NDArray[np.generic]
    groups: NDArray[np.integer]

    def lessons(self, seed: int) -> list[Lesson]:
        """`SEEDS` draws of N images; of two sides with the same groups, the same images."""
        return [Lesson(self.features, self.truth, weights) for weights in probe.draws(self.groups, SEEDS, seed)]

    def shuffled(self, seed: int) -> Side:
        """The same images with each other's labels."""
        order = np.random.default_rng([seed, 9]).permutation(len(self.truth))
        return Side(self.features, self.truth[order], self.groups)

    def repeated(self) -> Side:
        """The first image, N times."""
        first = np.zeros(len(self.truth), int)
        return Side(self.features[first], self.truth[first], self.groups)


@dataclass(frozen=True)
class Lesson:
    """Images that one probe learns from: as in `Side`, with how often each counts, ``(N,)``."""

    features: NDArray[np.floating]
    truth: NDArray[np.generic]
    weights: NDArray[np.generic]

    def __add__(self, other: Lesson) -> Lesson:
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("features", "truth", "weights"))
        return Lesson(*(np.concatenate(pair) for pair in pairs))


def plan(sides: Mapping[str, Side], seed: int = 0) -> dict[str, list[Lesson]]:
    """Every kind of training set that there are images for.

    Args:
        sides: ``synthetic``; perhaps ``real``, ``more real`` (other real images), and either after the tokenizer,
            ``real round trip`` and ``more round trip``.
        seed: of the draws.

    Returns:
        Kind -> `SEEDS` training sets: ``synthetic``, ``real``, ``both``; and for floors ``shuffled`` (synthetic
        images with each other's labels), ``real round trip``, and beside the real images: ``more real``, ``more
        round trip``, ``both shuffled`` and ``both repeated``.
    """
    synthetic = sides[SYNTHETIC]
    alone = {name: side.lessons(seed) for name, side in sides.items()}
    alone[SHUFFLED] = synthetic.shuffled(seed).lessons(seed)
    if REAL not in sides:
        return alone
    real = alone[REAL]
    beside = {BOTH: alone[SYNTHETIC], BOTH_SHUFFLED: alone[SHUFFLED]}
    beside |= {name: alone.pop(name) for name in (MORE_REAL, MORE_ROUND_TRIP) if name in alone}
    beside[BOTH_REPEATED] = synthetic.repeated().lessons(seed)
    return alone | {name: _sums(real, others) for name, others in beside.items()}


def _sums(ones: Iterable[Lesson], others: Iterable[Lesson]) -> list[Lesson]:
    return [one + other for one, other in zip(ones, others, strict=True)]
