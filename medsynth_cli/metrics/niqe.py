"""NIQE, a score of naturalness without a reference (Mittal et al. 2013); lower is more natural.

Three sets of parameters, a row each. ``NIQE`` has the released ones, which describe photographs. ``NIQE-MATLAB`` has
those of MATLAB's own ``niqe``, which pyiqa calls ``niqe_matlab``; they are not ours to ship. ``NIQE-radiographs`` was
fitted to chest radiographs, or to what a bundle's part ``niqe`` was fitted to. All are printed for comparison only
and never gates: at 256 px the 96-px blocks see only the top left 192 x 192 pixels. pyiqa computes them; its licence
(PolyForm Noncommercial 1.0.0) allows noncommercial use only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import intervals, naturalness
from medsynth_cli.metrics.comparison import Comparison, Row, row, unavailable
from medsynth_cli.metrics.naturalness import Gaussian
from medsynth_cli.recognition.observers import Observer
from medsynth_cli.runtime import bundles

if TYPE_CHECKING:
    from medsynth_cli.metrics.imagesets import ImageSet
    from medsynth_cli.runtime.bundles import Bundle

PART = "niqe"
MATLAB_FILE = "niqe_matlab_params.mat"
WHERE = "top left 192 px of 256"


def released(bundle: Bundle) -> Gaussian:
    """The parameters that the authors of NIQE released, fitted to photographs."""
    return _read_mat(_folder() / "niqe_params.mat")


def matlab(bundle: Bundle) -> Gaussian:
    """MATLAB's parameters, where pyiqa keeps them. They are not fetched.

    Raises:
        MedsynthError: they are not there.
    """
    file = Path(torch.hub.get_dir()) / "pyiqa" / MATLAB_FILE
    if not file.is_file():
        hint = "python -c \"import pyiqa; pyiqa.create_metric('niqe_matlab')\" fetches them"
        raise MedsynthError(f"MATLAB's parameters of NIQE are not at {file}", hint)
    return _read_mat(file)


def radiographs(bundle: Bundle) -> Gaussian:
    """The bundle's part ``niqe`` where it has one, else the parameters fitted to NIH chest radiographs."""
    if PART in bundle.parts():
        stored = {name: value.numpy() for name, value in bundle.weights(PART).items()}
    else:
        from safetensors.numpy import load_file

        stored = load_file(_folder() / "radiographs.safetensors")
    return Gaussian(stored["mean"], stored["covariance"])


PARAMETERS: Mapping[str, Callable[[Bundle], Gaussian]] = {
    "NIQE": released,
    "NIQE-MATLAB": matlab,
    "NIQE-radiographs": radiographs,
}
"""Names of the rows, and where the parameters of each come from."""


def observer(bundle: Bundle, name: str = "NIQE") -> Observer:
    """What says a kind of NIQE ``(1,)`` of an image, float64; NaN where it has no structure at all.

    Args:
        bundle: whose parameters to take, if it has any of its own.
        name: in `PARAMETERS`.

    Raises:
        MedsynthError: the parameters are not there.
    """
    gaussian = PARAMETERS[name](bundle)

    def forward(images: Tensor) -> Tensor:
        return torch.tensor([[gaussian.distance(image)] for image in images.numpy()], dtype=torch.float64)

    identity = f"pyiqa {metadata.version('pyiqa')}|{gaussian.sha256}"
    return Observer(name, identity, forward, torch.device("cpu"))


def score(comparison: Comparison) -> dict[str, Row]:
    """Mean ``NIQE`` of the synthetic images, beside that of the real ones."""
    return _score(comparison, "NIQE", f"for comparison only: parameters of photographs, {WHERE}")


def score_matlab(comparison: Comparison) -> dict[str, Row]:
    """Mean ``NIQE-MATLAB``, likewise."""
    return _score(comparison, "NIQE-MATLAB", f"for comparison only: MATLAB's parameters of photographs, {WHERE}")


def score_radiographs(comparison: Comparison) -> dict[str, Row]:
    """Mean ``NIQE-radiographs``, likewise."""
    fitted = radiographs(comparison.observers.bundle).sha256[:8]  # other parameters are another figure
    note = f"for comparison only: parameters of radiographs, {WHERE}"
    return _score(comparison, "NIQE-radiographs", note, f"pyiqa, parameters {fitted}")


def export(images: ImageSet, bundle: Bundle) -> int:
    """Fit parameters to real images and write them as the part ``niqe``, which ``NIQE-radiographs`` then takes.

    Args:
        images: good ones, with all their detail: no enlarged ones.
        bundle: opened by `bundles.create`.

    Returns:
        The number of blocks that went in.

    Raises:
        MedsynthError: there are too few.
    """

    def forward(pixels: Tensor) -> Tensor:
        return torch.from_numpy(np.stack([naturalness.blocks(image).ravel() for image in pixels.numpy()]))

    found = images.of(Observer("NIQE blocks", f"pyiqa {metadata.version('pyiqa')}", forward, torch.device("cpu")))
    gaussian, count = naturalness.fit(found.reshape(len(images), -1, naturalness.DIMENSIONS + 1))
    tensors = {"mean": torch.from_numpy(gaussian.mean), "covariance": torch.from_numpy(gaussian.covariance)}
    config = {"images": len(images), "blocks": count, "block_px": naturalness.BLOCK_PX, "sharp": naturalness.SHARP}
    bundles.write_part(bundle, PART, tensors, config, half=False)
    return count


def _score(comparison: Comparison, name: str, note: str, extractor: str = "pyiqa") -> dict[str, Row]:
    try:
        look = observer(comparison.observers.bundle, name)
        found = comparison.synthetic.of(look)[:, 0]
    except MedsynthError as error:
        return {name: unavailable(error)}
    kept = np.isfinite(found)
    if not kept.any():
        return {name: unavailable("no image has any structure")}
    floors = comparison.floors_of(look, lambda values: float(np.nanmean(values)))
    bounds = intervals.of_mean(found[kept], comparison.synthetic.groups[kept], comparison.seed)
    more = {"n": int(kept.sum()), "extractor": extractor, "better": None, "note": note}
    return {name: row(float(found[kept].mean()), bounds, floors=floors, **more)}


def _folder() -> Path:
    return bundles.assets() / "niqe"


def _read_mat(file: Path) -> Gaussian:
    """A file of parameters as pyiqa reads it."""
    from scipy.io import loadmat

    stored = loadmat(file)
    return Gaussian(np.ravel(stored["mu_prisparam"]).astype(np.float64), stored["cov_prisparam"].astype(np.float64))
