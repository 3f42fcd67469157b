"""Wrong side: how often a one-sided finding is recognised on the other side.

The judge knows no sides. It is shown two chests made of one half and its mirror image each; the side whose
chest it finds the finding in more clearly is the recognised one. An image's left is the patient's right.

How far that can be trusted is in the floors of real images with boxes: the judge of cxr-mini is wrong on 35 % of
the findings boxed on one side in nih-test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from medsynth_cli.metrics import intervals
from medsynth_cli.metrics.comparison import Comparison, Floors, Row, row, unavailable
from medsynth_cli.metrics.imagesets import ImageSet
from medsynth_cli.recognition.observers import Observer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from medsynth_cli.recognition.judges import Judge

SIDES = ("right", "left")
METHOD = f"bootstrap over patients or records, {intervals.ROUNDS} rounds"
FEWEST = 5


def observer(judge: Judge) -> Observer:
    """What says the judge's probabilities for the patient's right and left half, mirrored: ``(2 L,)``."""

    def forward(images: Tensor) -> Tensor:
        half = images.shape[-1] // 2
        right, left = images[..., :half], images[..., -half:]
        chests = (torch.cat([right, right.flip(-1)], -1), torch.cat([left.flip(-1), left], -1))
        return torch.cat([judge.observer.forward(chest) for chest in chests], dim=1)

    return Observer("sides", judge.identity, forward, judge.device)


def wrong(said: NDArray[np.floating], columns: NDArray[np.integer], sides: NDArray[np.integer]) -> NDArray[np.float64]:
    """Which findings are recognised on the other side: ``(N,)``, 0 or 1.

    Args:
        said: of the observer, ``(N, 2 L)``.
        columns: numbers of the labels, ``(N,)``.
        sides: index of the requested side in `SIDES`, ``(N,)``.
    """
    rows, labels = np.arange(len(said)), said.shape[1] // 2
    there = said[rows, columns + sides * labels]
    other = said[rows, columns + (1 - sides) * labels]
    return (other > there).astype(float)


def score(comparison: Comparison) -> dict[str, Row]:
    """``wrong side``: share of the one-sided findings asked for that are recognised on the other side.

    The floors of real images are the shares for findings that radiologists boxed in one half only: what is left
    to the judge's own errors. One image over and over is right for one side only.
    """
    asked = [
        (index, comparison.labels.index(label), SIDES.index(finding["side"]))
        for index, record in enumerate(comparison.synthetic.meta)
        for finding in record.get("findings") or []
        for label in comparison.vocabulary.labels_of([finding])
        if finding.get("side") in SIDES and label in comparison.labels
    ]
    if len(asked) < FEWEST:
        return {"wrong side": unavailable(f"{len(asked)} one-sided findings were asked for; needs {FEWEST}")}
    found, groups = _wrong_in(comparison, comparison.synthetic, asked)
    floors: Floors = {"repeated": min(share := float(np.mean([side for *_, side in asked])), 1 - share)}
    for name, images in (("real", comparison.real), ("training", comparison.train)):
        boxed = [] if images is None else _boxed(images, comparison.labels)
        if images is not None and len(boxed) >= FEWEST:
            floors[name] = float(_wrong_in(comparison, images, boxed)[0].mean())
    bounds = intervals.of_mean(found, groups, comparison.seed)
    more = {"n": len(found), "extractor": "judge", "interval_method": METHOD}
    return {"wrong side": row(float(found.mean()), bounds, better="lower", floors=floors, **more)}


def _wrong_in(
    comparison: Comparison, images: ImageSet, findings: Sequence[tuple[int, int, int]]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """`wrong` for findings (image, label, side), and their groups."""
    index, columns, sides = np.array(findings).T
    said = images.take(index).of(observer(comparison.observers.judge))
    return wrong(said, columns, sides), images.groups[index]


def _boxed(images: ImageSet, labels: Sequence[str]) -> list[tuple[int, int, int]]:
    """Findings (image, label, side) that radiologists boxed in one half of an image only."""
    found = []
    for index, boxes in enumerate(images.field("boxes")):
        for label in {box["label"] for box in boxes or []} & set(labels):
            spans = [box["xywh"] for box in boxes if box["label"] == label]
            halves = {_half(x, width, images.size_px / 2) for x, _, width, _ in spans}
            if len(halves) == 1 and None not in halves:
                found.append((index, labels.index(label), int(halves.pop() or 0)))
    return found


def _half(x: float, width: float, middle: float) -> int | None:
    """Index in `SIDES` of the half that a span lies in; None if it crosses the middle."""
    return 0 if x + width <= middle else 1 if x >= middle else None
