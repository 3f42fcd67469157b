"""NIQE, a score of naturalness without a reference (Mittal et al. 2013); lower is more natural.

Printed for comparison with other work only, and never a gate: its released parameters describe photographs,
not radiographs, and at 256 px its 96-px blocks see only the top left 192 x 192 pixels. Computed by pyiqa,
whose licence (PolyForm Noncommercial 1.0.0) allows noncommercial use only; the parameters are the released
ones as BasicSR distributes them (Apache-2.0, see the notice beside them).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics.comparison import Comparison, Row, mean_row, unavailable
from medsynth_cli.runtime import bundles
from medsynth_cli.runtime.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_PX = 96
BATCH = 16


def values(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """NIQE of each image: uint8 ``(N, H, W)`` -> ``(N,)``; NaN where an image has no structure at all.

    Raises:
        MedsynthError: the images are too small for two blocks.
    """
    if (images.shape[1] // BLOCK_PX) * (images.shape[2] // BLOCK_PX) < 2:
        raise MedsynthError(
            f"images of {images.shape[1]}x{images.shape[2]} px hold fewer than two {BLOCK_PX}-px blocks"
        )
    import torch

    model, found = _model(), []
    with torch.inference_mode(), Progress("NIQE", len(images)) as progress:
        for start in range(0, len(images), BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(images[start : start + BATCH]))
            found.append(np.atleast_1d(model(batch[:, None].double() / 255).numpy()))
            progress.advance(len(batch))
    return np.concatenate(found)


def score(comparison: Comparison) -> dict[str, Row]:
    """Mean ``NIQE`` of the synthetic images, beside that of the real ones."""
    try:
        found = values(comparison.images)
    except MedsynthError as error:
        return {"NIQE": unavailable(error)}
    kept = found[np.isfinite(found)]
    if not len(kept):
        return {"NIQE": unavailable("no image has any structure")}
    real = comparison.real
    there = real.niqe if real.niqe is not None else values(real.images) if real.images is not None else np.empty(0)
    there = there[np.isfinite(there)]
    more = {"real": float(there.mean())} if len(there) else {}
    note = "for comparison only: parameters of photographs, top left 192 px of 256"
    return {"NIQE": mean_row(kept, extractor="pyiqa", n=len(kept), note=note, **more)}


@functools.cache
def _model() -> Any:
    from pyiqa.archs.niqe_arch import NIQE

    return NIQE(pretrained_model_path=str(bundles.assets() / "niqe" / "niqe_params.mat")).eval()
