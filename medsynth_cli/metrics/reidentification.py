"""Re-identification: synthetic images that a same-patient network takes for a patient of the training images.

An image need not be copied for its patient to be recognised. How well the network knows patients is beside the
figure: the share of real images that it finds another image of the same patient for, at the same bar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import auroc, copies, intervals, memory
from medsynth_cli.metrics.comparison import Comparison, Floors, Row, row, unavailable
from medsynth_cli.recognition.fingerprints import lengths_1

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = "re-identified"
CHANCE = 0.01
"""Share of real images of other patients that are taken for a training patient."""
METHOD = f"bootstrap over patients or records, {intervals.ROUNDS} rounds"


def score(comparison: Comparison) -> dict[str, Row]:
    """``re-identified``: share of synthetic images whose nearest training patient is too near for chance."""
    try:
        remembered = memory.of(comparison.train, comparison.observers)
        look = comparison.observers.identities.observer
        known = remembered.identify()
        said = comparison.real.of(look)
        strangers = copies.strangers(comparison.real, remembered, said, known)
        limit = copies.bar(strangers.likeness, CHANCE)
        ours = copies.nearest(comparison.synthetic.of(look), known)
    except MedsynthError as error:
        return {NAME: unavailable(error)}
    taken = ours.likeness > limit
    floors: Floors = {"real": float((strangers.likeness > limit).mean())}
    more: Row = {"n": len(taken), "n_train": len(known), "extractor": "identity", "bar": limit}
    alike, same = _pairs(said, comparison.real.groups)
    if same.any():
        floors["same patient"] = _recognised(alike, same, limit)
        more["auroc"] = auroc.auroc(alike[np.triu_indices(len(same), 1)], same[np.triu_indices(len(same), 1)])
    bounds = intervals.of_mean(taken.astype(float), comparison.synthetic.groups, comparison.seed)
    more["note"] = "misses most: the floor `same patient` is the share of real patients that are recognised at this bar"
    return {NAME: row(float(taken.mean()), bounds, better="lower", floors=floors, interval_method=METHOD, **more)}


def _pairs(said: NDArray[np.int8], groups: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Likeness of all pairs of images ``(N, N)``, and whether they show the same patient; no image with itself."""
    x = lengths_1(said)
    same = groups[:, None] == groups[None, :]
    np.fill_diagonal(same, False)
    return x @ x.T, same


def _recognised(alike: NDArray[np.float32], same: NDArray[np.bool_], limit: float) -> float:
    """Share of the images of patients with several whose nearest other image of the patient passes the bar."""
    best = np.where(same, alike, -1).max(axis=1)
    return float((best[same.any(axis=1)] > limit).mean())
