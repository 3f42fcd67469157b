"""Distributions of views, sexes and ages, as they are written on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medsynth_cli.errors import MedsynthError

OLDEST = 130
"""Years."""


@dataclass(frozen=True)
class Distribution:
    """Values, or ranges of years from the first to the last, each with its share."""

    values: tuple[str | tuple[int, int], ...]
    shares: tuple[float, ...]

    @classmethod
    def even(cls, values: Sequence[str]) -> Distribution:
        """The same share for each value."""
        return cls(tuple(values), (1 / len(values),) * len(values))

    @classmethod
    def between(cls, first: int, last: int) -> Distribution:
        """Every year alike."""
        return cls(((first, last),), (1.0,))

    def draw(self, random: np.random.Generator) -> str | int:
        """One value, or one year of a range."""
        at = int(random.choice(len(self.shares), p=self.shares)) if len(self.shares) > 1 else 0
        value = self.values[at]
        return value if isinstance(value, str) else int(random.integers(value[0], value[1] + 1))


def names(text: str, known: Sequence[str], what: str) -> Distribution:
    """A distribution of names, such as ``PA`` or ``PA:0.7,AP:0.3``.

    Raises:
        MedsynthError: an unknown name, or shares that are no shares.
    """
    pairs = _pairs(text, what)
    unknown = next((name for name, _ in pairs if name not in known), None)
    if unknown is not None:
        raise MedsynthError(f"unknown {what} {unknown!r}", f"known: {', '.join(known)}")
    return Distribution(tuple(name for name, _ in pairs), _shares(pairs, text, what))


def ages(text: str) -> Distribution:
    """A distribution of years, such as ``54``, ``18-90`` or ``0-17:0.1,18-90:0.9``.

    Raises:
        MedsynthError: something that is neither years nor a range of them.
    """
    pairs = _pairs(text, "age")
    ranges = tuple(_years(name) for name, _ in pairs)
    return Distribution(ranges, _shares(pairs, text, "age"))


def _pairs(text: str, what: str) -> list[tuple[str, float | None]]:
    pairs = list[tuple[str, float | None]]()
    for part in text.split(","):
        name, colon, share = (piece.strip() for piece in part.partition(":"))
        try:
            pairs.append((name, float(share) if colon else None))
        except ValueError as error:
            raise MedsynthError(f"{what} {text!r}: {share!r} is no share", f"such as {what} A:0.7,B:0.3") from error
    return pairs


def _shares(pairs: Sequence[tuple[str, float | None]], text: str, what: str) -> tuple[float, ...]:
    given = [share for _, share in pairs if share is not None]
    if given and (len(given) < len(pairs) or min(given) < 0 or not 0 < sum(given) < float("inf")):
        raise MedsynthError(f"{what} {text!r}: give all shares, none negative, or none at all", "such as A:0.7,B:0.3")
    total = sum(given)
    return tuple(share / total for share in given) if given else (1 / len(pairs),) * len(pairs)


def _years(text: str) -> tuple[int, int]:
    first, dash, last = (piece.strip() for piece in text.partition("-"))
    try:
        years = int(first), int(last if dash else first)
    except ValueError as error:
        raise MedsynthError(f"age {text!r}: not years", "such as 54, 18-90 or 0-17:0.1,18-90:0.9") from error
    if not 0 <= years[0] <= years[1] <= OLDEST:
        raise MedsynthError(f"age {text!r}: not between 0 and {OLDEST}, the lower first", "such as 18-90")
    return years
