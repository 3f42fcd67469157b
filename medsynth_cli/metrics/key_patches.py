"""Copies of key patches: how often a synthetic image repeats a patch that it was shown.

A key patch is a window of codes of a real radiograph. It is laid over the codes of the image at every place; how
alike their vectors are at the best place (`copies.likeness`) is compared with what the key patches of other records
reach by chance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from medsynth_cli.alignment.copies import likeness, vectors_of
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


def score(comparison: Comparison) -> dict[str, Row]:
    """``key patches copied``: share of key patches that are more like their own image than chance allows.

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
    own, chance = _alike(grids, shown, comparison)
    if not len(chance):
        return {NAME: unavailable("all records were shown the same key patches: nothing tells chance")}
    limit = float(np.quantile(chance, 1 - CHANCE, method="higher"))
    values = np.array([value > limit for values in own for value in values], float)
    groups = np.repeat(ours.groups, [len(values) for values in own])
    floors = {"shuffled": float((chance > limit).mean())}
    bounds = intervals.of_mean(values, groups, comparison.seed)
    more = {"n": len(ours), "patches": len(values), "bar": limit, "extractor": "codes", "interval_method": METHOD}
    return {NAME: row(float(values.mean()), bounds, better="lower", floors=floors, **more)}


def _alike(
    grids: NDArray[np.integer], shown: list[list[NDArray[np.integer]]], comparison: Comparison
) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """Likeness of key patches to their own image, by image, and to images whose records were not shown them."""
    random = np.random.default_rng([comparison.seed, 11])
    names = [{patch.tobytes() for patch in patches} for patches in shown]
    table = comparison.observers.tokenizer.quantize.embedding.weight
    own, chance = [], [np.empty(0, np.float32)]
    for index, patches in enumerate(shown):
        others = random.permutation(len(grids))[: OTHERS + 1]
        others = others[others != index][:OTHERS]
        if not patches:
            own.append(np.empty(0, np.float32))
            continue
        images = torch.from_numpy(grids[[index, *others]].astype(np.int64)).to(table.device)
        codes = torch.from_numpy(np.stack(patches).astype(np.int64)).to(table.device)
        vectors, kernels = vectors_of(table, images), vectors_of(table, codes)
        z = likeness(vectors, kernels)[0].cpu().numpy()
        own.append(z[0])
        strange = [[patch.tobytes() not in names[other] for patch in patches] for other in others]
        chance.append(z[1:][np.array(strange, bool)])
    return own, np.concatenate(chance)
