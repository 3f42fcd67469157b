"""Sameness of a set: mean MS-SSIM of random pairs (Wang et al. 2003); 1 is one image over and over.

Also of pairs within and between the classes of images that were asked to show the same findings: within alone, a
generator can repeat itself for each request and still look varied as a whole (Odena et al. 2017, arXiv 1610.09585).

Computed by pyiqa's function: pyiqa is here for NIQE anyway, and this saves another dependency or our own copy
of a formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import intervals
from medsynth_cli.metrics.comparison import Comparison, Floors, Row, label_truth, row, unavailable
from medsynth_cli.metrics.imagesets import ImageSet
from medsynth_cli.runtime.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

SMALLEST_PX = 176
"""Five scales of halving and an 11-px window: 11 * 2^4."""
BATCH = 8
PAIRS = 500
LISTED = 1000
"""Up to so many images, all pairs are listed and some chosen."""
DRAWS = 50
"""Times that pairs of more images are drawn until enough of them are allowed."""
KINDS = {"MS-SSIM": None, "MS-SSIM within": True, "MS-SSIM between": False}
"""Row -> whether its pairs show the same findings, different ones, or (None) either."""
UNKNOWN = -1
METHOD = f"bootstrap over patients or records, {intervals.ROUNDS} rounds"


def of_pairs(
    read: Callable[[int], NDArray[np.uint8]], pairs: NDArray[np.int64], title: str = "MS-SSIM"
) -> NDArray[np.float64]:
    """MS-SSIM of pairs of images.

    Args:
        read: number of an image -> uint8 ``(H, W)``.
        pairs: ``(P, 2)``.
        title: of the progress bar.

    Returns:
        ``(P,)``, at most 1.

    Raises:
        MedsynthError: the images are too small for five scales.
    """
    from pyiqa.archs.ssim_arch import ms_ssim

    found = []
    with torch.inference_mode(), Progress(title, len(pairs)) as progress:
        for part in np.array_split(pairs, -(-len(pairs) // BATCH)):
            x, y = (np.stack([read(index) for index in part[:, side]]) for side in (0, 1))
            if min(x.shape[1:]) < SMALLEST_PX:
                raise MedsynthError(f"needs images of at least {SMALLEST_PX} px")
            shown = (torch.from_numpy(side)[:, None].float() for side in (x, y))
            found.append(ms_ssim(*shown, data_range=255).numpy())
            progress.advance(len(part))
    return np.concatenate(found).astype(np.float64)


def draw_pairs(
    count: int,
    pairs: int = PAIRS,
    seed: int = 0,
    allowed: Callable[[NDArray[np.int64]], NDArray[np.bool_]] | None = None,
) -> NDArray[np.int64]:
    """Different pairs of different images, in random order.

    Args:
        count: number of images.
        pairs: number of pairs that are wanted.
        seed: of the draws.
        allowed: pairs ``(P, 2)`` -> which of them may be taken, ``(P,)``; None: all.

    Returns:
        ``(P, 2)``, P <= ``pairs``: less only if there are no more, or, of more than `LISTED` images, if most pairs are
        not allowed.

    Raises:
        MedsynthError: there is no pair.
    """
    if count < 2:
        raise MedsynthError("needs at least two images")
    found = np.empty((0, 2), np.int64)
    for candidates in _candidates(count, pairs, np.random.default_rng([seed, 9])):
        found = np.concatenate([found, candidates if allowed is None else candidates[allowed(candidates)]])
        found = found[np.sort(np.unique(found, axis=0, return_index=True)[1])]
        if len(found) >= pairs:
            break
    if not len(found):
        raise MedsynthError("no such pair of images was found")
    return found[:pairs]


def _candidates(count: int, pairs: int, random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """All pairs in random order, or of many images some at a time."""
    if count <= LISTED:
        yield random.permutation(np.stack(np.triu_indices(count, 1), axis=1))
        return
    for _ in range(DRAWS):
        drawn = np.sort(random.integers(0, count, (4 * pairs, 2)), axis=1)
        yield random.permutation(np.unique(drawn[drawn[:, 0] < drawn[:, 1]], axis=0))


def score(comparison: Comparison) -> dict[str, Row]:
    """``MS-SSIM`` among the synthetic images, beside that among real ones if they are at hand.

    ``MS-SSIM within`` is that of pairs that were asked to show the same findings, ``MS-SSIM between`` that of pairs
    that were asked to show different ones; real images go by their labels. Each is the mean of `PAIRS` pairs, or of
    all there are.
    """

    def asked() -> NDArray[np.int64]:
        index, wanted = comparison.requested
        classes = np.full(len(comparison.synthetic), UNKNOWN)
        classes[index] = _classes(wanted)
        return classes

    def shown(images: ImageSet) -> Callable[[], NDArray[np.int64]]:
        return lambda: _classes(label_truth(images, comparison.labels))

    ours, seed = _similarities(comparison.synthetic, asked, comparison.seed), comparison.seed
    others = {"real": _similarities(comparison.real, shown(comparison.real), seed)}
    if comparison.train is not None:
        images = comparison.floor_images
        others["training"] = _similarities(images, shown(images), seed)
    rows = {}
    for name in KINDS:
        found = ours[name]
        floors = {other: _mean(values[name]) for other, values in others.items()} | {"repeated": 1.0}
        rows[name] = unavailable(found) if isinstance(found, MedsynthError) else _row(found, floors, comparison)
    return rows


@dataclass(frozen=True)
class Similarity:
    """Pairs of images ``(P, 2)`` and their MS-SSIM ``(P,)``."""

    pairs: NDArray[np.int64]
    values: NDArray[np.float64]


def _similarities(
    images: ImageSet, classes: Callable[[], NDArray[np.int64]], seed: int
) -> dict[str, Similarity | MedsynthError]:
    """Pairs of each of `KINDS`, or why there are none; a pair of several kinds is looked at once.

    Args:
        images: N images.
        classes: numbers of the sets of findings that they show, ``(N,)``; `UNKNOWN` where nothing says.
        seed: of the draws.
    """
    drawn: dict[str, NDArray[np.int64]] = {}
    found: dict[str, Similarity | MedsynthError] = {}
    for name, same in KINDS.items():
        try:
            allowed = None if same is None else _alike(classes(), same)
            drawn[name] = draw_pairs(len(images), seed=seed, allowed=allowed)
        except MedsynthError as error:
            found[name] = error
    if not drawn:
        return found
    every, place = np.unique(np.concatenate([*drawn.values()]), axis=0, return_inverse=True)
    try:
        values = of_pairs(images.pixels, every, f"{images.name}: MS-SSIM")[place.ravel()]
    except MedsynthError as error:
        return dict.fromkeys(KINDS, error)
    parts = np.split(values, np.cumsum([len(pairs) for pairs in drawn.values()])[:-1])
    return found | {name: Similarity(drawn[name], part) for name, part in zip(drawn, parts, strict=True)}


def _alike(classes: NDArray[np.int64], same: bool) -> Callable[[NDArray[np.int64]], NDArray[np.bool_]]:
    """Which pairs are of one class, or of two."""
    known, sizes = np.unique(classes[classes != UNKNOWN], return_counts=True)
    if len(known) < 2:
        raise MedsynthError("no two images are known to show different findings")
    if same and sizes.max() < 2:
        raise MedsynthError("no two images are known to show the same findings")

    def allowed(pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
        found = classes[pairs]
        return (found != UNKNOWN).all(axis=1) & ((found[:, 0] == found[:, 1]) == same)

    return allowed


def _classes(labels_NL: NDArray[np.float32]) -> NDArray[np.int64]:
    """Numbers of the sets of labels that images have, ``(N,)``."""
    return np.unique(labels_NL, axis=0, return_inverse=True)[1].ravel().astype(np.int64)


def _row(found: Similarity, floors: Floors, comparison: Comparison) -> Row:
    """Mean and interval; in a bootstrap round, a pair counts as often as both of its images are drawn."""
    times = (w[found.pairs].prod(axis=1) for w in intervals.weights(comparison.synthetic.groups, seed=comparison.seed))
    drawn = [float(np.average(found.values, weights=w)) for w in times if w.any()]
    more = {"n": len(comparison.synthetic), "extractor": "pyiqa", "better": None, "interval_method": METHOD}
    return row(float(found.values.mean()), intervals.percentile(drawn), floors=floors, **more)


def _mean(found: Similarity | MedsynthError) -> float | None:
    return None if isinstance(found, MedsynthError) else float(found.values.mean())
