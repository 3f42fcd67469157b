"""The bundled feature extractor, for distances between sets of images.

It is EfficientNet-Lite2 with ImageNet weights: no model of the bundle was trained with it or on
it, so that no part of medsynth has learnt to please it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from medsynth_cli.recognition import trunks
from medsynth_cli.recognition.observers import Observer
from medsynth_cli.runtime import bundles

if TYPE_CHECKING:
    from medsynth_cli.runtime.bundles import Bundle

PART = "features"
TRUNK = "lite2"
EFFNET = "effnet-lite2"


def load(bundle: Bundle, device: torch.device) -> Observer:
    """The bundled extractor: pooled features behind the last convolution, at the images' own size.

    Raises:
        MedsynthError: the bundle has no part ``features``.
    """
    config, weights = bundle.config(PART), bundle.weights(PART)
    model: Any = trunks.build(config["trunk"], num_classes=0)
    model.load_state_dict(weights)
    model.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)

    def forward(images: Tensor) -> Tensor:
        pixels = trunks.normalise(images[:, None].float() / 255)
        return model(pixels.contiguous(memory_format=torch.channels_last))

    return Observer(str(config["name"]), bundle.part_sha256(PART), forward, device)


def export_features(bundle: Bundle) -> None:
    """Write the part ``features``: EfficientNet-Lite2 with ImageNet weights, without its classifier.

    Args:
        bundle: opened by `bundles.create`.

    Raises:
        MedsynthError: the package that carries the weights is not installed.
    """
    model: Any = trunks.imagenet(TRUNK, num_classes=0)
    config = {"name": EFFNET, "trunk": TRUNK, "dimension": int(model.num_features)}
    bundles.write_part(bundle, PART, model.state_dict(), config)
