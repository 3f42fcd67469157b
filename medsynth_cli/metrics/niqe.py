"""NIQE, a score of naturalness without a reference (Mittal et al. 2013); lower is more natural.

Printed for comparison with other work only, and never a gate: its released parameters describe photographs,
not radiographs, and at 256 px its 96-px blocks see only the top left 192 x 192 pixels. Computed by pyiqa,
whose licence (PolyForm Noncommercial 1.0.0) allows noncommercial use only; the parameters are the released
ones as BasicSR distributes them (Apache-2.0, see the notice beside them).
"""

from __future__ import annotations

import functools
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import intervals
from medsynth_cli.metrics.comparison import Comparison, Row, row, unavailable
from medsynth_cli.recognition.observers import Observer
from medsynth_cli.runtime import bundles

BLOCK_PX = 96


def observer() -> Observer:
    """What says the NIQE ``(1,)`` of an image, float64; NaN where it has no structure at all."""

    def forward(images: Tensor) -> Tensor:
        if (images.shape[1] // BLOCK_PX) * (images.shape[2] // BLOCK_PX) < 2:
            raise MedsynthError(
                f"images of {images.shape[1]}x{images.shape[2]} px hold fewer than two {BLOCK_PX}-px blocks"
            )
        return torch.stack([_of(image) for image in images])[:, None]

    return Observer("NIQE", f"pyiqa {metadata.version('pyiqa')}", forward, torch.device("cpu"))


def score(comparison: Comparison) -> dict[str, Row]:
    """Mean ``NIQE`` of the synthetic images, beside that of the real ones."""
    try:
        found = comparison.synthetic.of(observer())[:, 0]
    except MedsynthError as error:
        return {"NIQE": unavailable(error)}
    kept = np.isfinite(found)
    if not kept.any():
        return {"NIQE": unavailable("no image has any structure")}
    floors = comparison.floors_of(observer(), lambda values: float(np.nanmean(values)))
    bounds = intervals.of_mean(found[kept], comparison.synthetic.groups[kept], comparison.seed)
    note = "for comparison only: parameters of photographs, top left 192 px of 256"
    more = {"n": int(kept.sum()), "extractor": "pyiqa", "better": None, "note": note}
    return {"NIQE": row(float(found[kept].mean()), bounds, floors=floors, **more)}


def _of(image: Tensor) -> Tensor:
    """NIQE of one image, alone: pyiqa fails on a batch with a uniform image in it."""
    if image.min() == image.max():
        return torch.tensor(torch.nan, dtype=torch.float64)
    try:
        return _model()(image[None, None].double() / 255).squeeze()
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        return torch.tensor(torch.nan, dtype=torch.float64)


@functools.cache
def _model() -> Any:
    from pyiqa.archs.niqe_arch import NIQE

    return NIQE(pretrained_model_path=str(bundles.assets() / "niqe" / "niqe_params.mat")).eval()
