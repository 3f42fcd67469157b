"""TorchXRayVision's DenseNet-121, trained on chest radiographs of several hospitals (Cohen et al., arXiv 2111.00595).

Its training images include NIH ChestX-ray14, RSNA and MIMIC-CXR: it may know the real images that it compares. The
library fetches the weights from its GitHub release; they are a pickle, which the library, not medsynth, unpacks.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from medsynth_cli.errors import MedsynthError
from medsynth_cli.recognition import trunks
from medsynth_cli.recognition.extractors import Extractor, weights_sha256
from medsynth_cli.recognition.observers import Observer

if TYPE_CHECKING:
    import torch

    from medsynth_cli.runtime.bundles import Bundle

WEIGHTS = "densenet121-res224-all"
RANGE = 1024
"""The library's networks take pixels in [-1024, 1024]."""


def load(bundle: Bundle, device: torch.device, model: str = "") -> Observer:
    """What says the 1024 pooled features of an image, at 224 px.

    Raises:
        MedsynthError: the library is not installed, or its weights cannot be fetched or read.
    """
    network = _open().to(device).eval().requires_grad_(False)
    size_px = int(network.input_resolution)
    del network.input_resolution  # with it, the network remarks on stdout on sizes and dark images

    def forward(images: Tensor) -> Tensor:
        return network.features2((trunks.resized(images, size_px) * 2 - 1) * RANGE)

    return Observer(WEIGHTS, weights_sha256(network), forward, device)


def _open() -> Any:
    """The library's network with its weights; what the library prints goes to stderr."""
    try:
        with warnings.catch_warnings():  # the library silences all warnings of the process when imported
            from torchxrayvision import models, utils
    except ImportError as error:
        raise MedsynthError("torchxrayvision is not installed", "pip install 'medsynth[xrv]'") from error
    url = models.model_urls[WEIGHTS]["weights_url"]
    file = Path(utils.get_cache_dir()) / Path(url).name
    there = file.is_file()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return models.DenseNet(weights=WEIGHTS)
    except Exception as error:  # whatever unpickling a file may raise
        kind = type(error).__name__
        if there:
            raise MedsynthError(f"{file}: not the weights of {WEIGHTS} ({kind})", f"fetch {url} again") from error
        raise MedsynthError(
            f"the torchxrayvision weights are not at {file} and could not be fetched ({kind})", f"put {url} there"
        ) from error


EXTRACTOR = Extractor("XRV", load)
