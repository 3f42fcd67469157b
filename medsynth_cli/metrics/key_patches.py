"""Copies of key patches: how often a synthetic image repeats the codes of a patch that it was shown.

A key patch is a window of codes of a real radiograph. It is laid over the codes of the image at every place;
the share of codes that agree, at the best place, is compared with what the key patches of other records reach
by chance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import intervals
from medsynth_cli.metrics.comparison import Comparison, Row, row, unavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = "key patches copied"
CHANCE = 1e-3
"""Share of other records' key patches that pass for copied."""
OTHERS = 20
"""Other images that each record's key patches are laid over."""
METHOD = f"bootstrap over records, {intervals.ROUNDS} rounds"


def agreement(codes: NDArray[np.integer], patch: NDArray[np.integer]) -> float:
    """Share of a patch's codes ``(p, p)`` found in codes ``(g, g)`` at the best place, in [0, 1]."""
    windows = np.lib.stride_tricks.sliding_window_view(codes, patch.shape)
    return float((windows == patch).mean(axis=(2, 3)).max())


def score(comparison: Comparison) -> dict[str, Row]:
    """``key patches copied``: share of key patches that agree with their own image more than chance allows.

    The floor ``shuffled`` is the share among key patches of other records, at most `CHANCE`.
    """
    ours = comparison.synthetic
    shown = [[np.array(patch["codes"]) for patch in record.get("key_patches") or []] for record in ours.meta]
    if not any(shown) or len(ours) < 2:
        return {NAME: unavailable("the records name no key patches")}
    try:
        codes = ours.of(comparison.observers.codes)
    except MedsynthError as error:
        return {NAME: unavailable(error)}
    side = int(codes.shape[1] ** 0.5)
    grids = codes.reshape(-1, side, side)
    own = [[agreement(grid, patch) for patch in patches] for grid, patches in zip(grids, shown, strict=True)]
    chance = _by_chance(grids, shown, comparison)
    if not len(chance):
        return {NAME: unavailable("all records were shown the same key patches: nothing tells chance")}
    limit = float(np.quantile(chance, 1 - CHANCE, method="higher"))
    values = np.array([value > limit for values in own for value in values], float)
    groups = np.repeat(ours.groups, [len(values) for values in own])
    floors = {"shuffled": float((chance > limit).mean())}
    bounds = intervals.of_mean(values, groups, comparison.seed)
    more = {"n": len(ours), "patches": len(values), "bar": limit, "extractor": "codes", "interval_method": METHOD}
    return {NAME: row(float(values.mean()), bounds, better="lower", floors=floors, **more)}


def _by_chance(
    grids: NDArray[np.integer], shown: list[list[NDArray[np.integer]]], comparison: Comparison
) -> NDArray[np.float64]:
    """Agreement of key patches with images whose records were not shown them."""
    random = np.random.default_rng([comparison.seed, 11])
    names = [{patch.tobytes() for patch in patches} for patches in shown]
    found = []
    for index, patches in enumerate(shown):
        others = random.permutation(len(grids))[: OTHERS + 1]
        for other in others[others != index][:OTHERS]:
            found += [agreement(grids[other], patch) for patch in patches if patch.tobytes() not in names[other]]
    return np.array(found)
