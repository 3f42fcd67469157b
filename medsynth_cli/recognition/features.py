"""Feature extractors for distances between sets of images.

The bundled one is EfficientNet-Lite2 with ImageNet weights: no model of the bundle was trained with it or on
it, so that no part of medsynth has learnt to please it.
"""

from __future__ import annotations

import hashlib
import platform
import socket
import urllib.error
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medsynth_cli.errors import MedsynthError
from medsynth_cli.recognition import trunks
from medsynth_cli.recognition.observers import Observer
from medsynth_cli.runtime import bundles

if TYPE_CHECKING:
    from medsynth_cli.runtime.bundles import Bundle

PART = "features"
TRUNK = "lite2"
EFFNET = "effnet-lite2"
INCEPTION = "inception-v3"
INCEPTION_FILE = "inception-2015-12-05.pt"
FETCH_SECONDS = 10.0


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


def inception(device: torch.device) -> Observer:
    """Clean-fid's Inception-v3, the network of the published FID, at 299 px after clean-fid's resizing.

    Its weights are looked for, and fetched to, where clean-fid keeps them.

    Raises:
        MedsynthError: they are not there and cannot be fetched.
    """
    folder = Path("./" if platform.system() == "Windows" else "/tmp")
    _fetch_inception(folder)
    from cleanfid.inception_torchscript import InceptionV3W
    from cleanfid.resize import make_resizer

    model = InceptionV3W(str(folder), download=False).to(device).eval()
    resize = make_resizer("PIL", quantize_after=False, filter="bicubic", output_size=(299, 299))

    def forward(images: Tensor) -> Tensor:
        gray = [resize(image[..., None].repeat(3, axis=-1)) for image in images.cpu().numpy()]
        return model(torch.from_numpy(np.stack(gray)).permute(0, 3, 1, 2).float().to(device))

    return Observer(INCEPTION, "clean-fid", forward, device)


def hub(name: str, device: torch.device) -> Observer:
    """Any image model of transformers, by hub id or folder: its pooled output, or its first token's.

    CLIP-like models give their projected image embedding of length 1, as CMMD wants it.

    Raises:
        MedsynthError: there is no such model, or it cannot be fetched.
    """
    from transformers import AutoImageProcessor, AutoModel

    try:
        processor = AutoImageProcessor.from_pretrained(name)
        model = AutoModel.from_pretrained(name).to(device).eval()
    except (OSError, ValueError) as error:
        raise MedsynthError(
            f"hub:{name}: {str(error).splitlines()[0]}", "name a model of the Hugging Face hub, or its folder"
        ) from error

    def forward(images: Tensor) -> Tensor:
        gray = [image.repeat(3, 1, 1) for image in images.cpu()]
        pixels = processor(gray, return_tensors="pt")["pixel_values"].to(device)
        if hasattr(model, "get_image_features"):
            found = model.get_image_features(pixel_values=pixels)
            return F.normalize(found if isinstance(found, Tensor) else found.pooler_output)
        found = model(pixel_values=pixels)
        pooled = getattr(found, "pooler_output", None)
        return pooled.flatten(1) if pooled is not None else found.last_hidden_state[:, 0]

    return Observer(f"hub:{name}", _weights_sha256(model), forward, device)


def _weights_sha256(model: Any) -> str:
    """Hash of a model's weights: a hub id or a folder may hold others tomorrow."""
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode() + value.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


def _fetch_inception(folder: Path) -> None:
    """Let clean-fid fetch the weights, without leaving half a file when that fails."""
    file = folder / INCEPTION_FILE
    if file.is_file():
        return
    from cleanfid.downloads_helper import check_download_inception

    usual = socket.getdefaulttimeout()
    socket.setdefaulttimeout(FETCH_SECONDS)
    complete = False
    try:
        check_download_inception(fpath=str(folder))
        complete = True
    except (urllib.error.URLError, OSError) as error:
        raise MedsynthError(
            f"the Inception weights are not at {file} and could not be fetched ({error})",
            f"copy {INCEPTION_FILE} there, as clean-fid's documentation says",
        ) from error
    finally:
        socket.setdefaulttimeout(usual)
        if not complete:
            file.unlink(missing_ok=True)
