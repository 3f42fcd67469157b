"""Copies: synthetic images that are a training image again, up to shift, brightness, compression and tokenizer.

Each image is compared with every training image by fingerprint. How alike the nearest training image may be
by chance is read off real images of other patients: the largest of many likenesses follows a Gumbel
distribution, whose far tail is the bar. A copy of any of these kinds lies far beyond it (benchmarks/privacy.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import intervals, memory, reference
from medsynth_cli.metrics.comparison import REPEATED, ROUND_TRIP, TRAINING, Comparison, Floors, Row, row, unavailable
from medsynth_cli.recognition.fingerprints import lengths_1

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from medsynth_cli.metrics.imagesets import ImageSet

CHANCE = 1e-3
"""Share of real images of other patients that pass for a copy."""
FEWEST = 50
"""Real images that the bar can be read off."""
CHUNK = 64
LISTED = 12
"""Closest pairs that are named in the score."""
METHOD = f"bootstrap over patients or records, {intervals.ROUNDS} rounds"


@dataclass(frozen=True)
class Nearest:
    """The nearest training image of each of N images: its likeness (cosine of fingerprints) and its number."""

    likeness: NDArray[np.float32]
    training: NDArray[np.int64]


def nearest(
    found: NDArray[np.int8],
    training: NDArray[np.int8],
    patients: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> Nearest:
    """Compare every image, at every shift, with every training image.

    Args:
        found: shifted fingerprints ``(N, K D)``, or plain ones with K = 1.
        training: fingerprints ``(M, D)``.
        patients: those of either, ``(N,)`` and ``(M,)``: only images of other patients are compared.
    """
    known = lengths_1(training).T
    views = found.reshape(len(found), -1, len(known))
    best, where = np.empty(len(found), np.float32), np.empty(len(found), np.int64)
    for start in range(0, len(found), CHUNK):
        part = slice(start, start + CHUNK)
        alike = (lengths_1(views[part]) @ known).max(axis=1)
        if patients is not None:
            alike[patients[0][part, None] == patients[1][None, :]] = -1
        where[part] = alike.argmax(axis=1)
        best[part] = alike.max(axis=1)
    return Nearest(best, where)


def bar(likeness: NDArray[np.floating], chance: float = CHANCE) -> float:
    """The likeness to the nearest training image that a real image passes with probability ``chance``.

    The Gumbel distribution is laid through the quartiles of Fisher's z of the likenesses: images among the
    real ones that are copies themselves, up to a fifth, do not move it much.

    Args:
        likeness: of real images, ``(N,)``, below 1.
        chance: share of real images.

    Raises:
        MedsynthError: there are fewer than `FEWEST`.
    """
    if len(likeness) < FEWEST:
        raise MedsynthError(f"{len(likeness)} real images say too little of chance; needs {FEWEST}")
    z = np.arctanh(np.clip(likeness, -0.999, 0.999))
    low, high = np.quantile(z, [0.25, 0.75])
    unit = stats.gumbel_r.ppf([0.25, 0.75, 1 - chance])
    scale = (high - low) / (unit[1] - unit[0])
    return math.tanh(low + scale * (unit[2] - unit[0]))


def score(comparison: Comparison) -> dict[str, Row]:
    """``copies``: share of the synthetic images whose nearest training image is too near for chance.

    Floors: the same share of real images, and of training images as they are and after the tokenizer, which a
    measure that sees copies must find; one of those is the image that is repeated.
    """
    try:
        remembered = memory.of(comparison.train, comparison.observers)
        look = comparison.observers.fingerprints.shifted
        real = strangers(comparison.real, remembered, comparison.real.of(look), remembered.fingerprints)
        limit = bar(real.likeness)
        ours = nearest(comparison.synthetic.of(look), remembered.fingerprints)
    except MedsynthError as error:
        return {"copies": unavailable(error)}
    copied = ours.likeness > limit
    floors = _found_again(comparison, remembered, limit)
    floors["real"] = float((real.likeness > limit).mean())
    bounds = intervals.of_mean(copied.astype(float), comparison.synthetic.groups, comparison.seed)
    more = {"n": len(copied), "n_train": len(remembered.ids), "extractor": "fingerprint", "bar": limit}
    more |= {"pairs": pairs(comparison.synthetic, ours, remembered.ids, limit), "interval_method": METHOD}
    return {"copies": row(float(copied.mean()), bounds, better="lower", floors=floors, **more)}


def pairs(images: ImageSet, found: Nearest, ids: Sequence[str], limit: float) -> list[Row]:
    """The closest pairs and all further copies, closest first."""
    order = np.argsort(-found.likeness, kind="stable")
    count = max(LISTED, int((found.likeness > limit).sum()))
    return [
        {
            "id": str(images.meta[index]["id"]),
            "training": ids[int(found.training[index])],
            "likeness": round(float(found.likeness[index]), 4),
            "copied": bool(found.likeness[index] > limit),
        }
        for index in order[:count]
    ]


def strangers(images: ImageSet, remembered: memory.Memory, found: NDArray[np.int8], known: NDArray[np.int8]) -> Nearest:
    """The nearest training image of another patient.

    Args:
        images: N real images.
        remembered: the training images.
        found: what is said of the real images, ``(N, K D)``.
        known: what is said of the first training images, ``(M, D)``.
    """
    own = [reference.patient_number(meta) if images.at_hand else int(meta["patient"]) for meta in images.meta]
    return nearest(found, known, (np.array(own), remembered.patients[: len(known)]))


def _found_again(comparison: Comparison, remembered: memory.Memory, limit: float) -> Floors:
    """Share of training images that are found, as they are and after the tokenizer, unshifted."""
    if comparison.train is None:
        return {}
    look, train, floors = comparison.observers.fingerprints.observer, comparison.floor_images, Floors()
    for name, observer in ((TRAINING, look), (ROUND_TRIP, comparison.observers.round_trip(look))):
        try:
            found = nearest(train.of(observer), remembered.fingerprints)
        except MedsynthError:
            continue
        floors[name] = float((found.likeness > limit).mean())
        floors[REPEATED] = float(found.likeness[0] > limit)
    return floors
