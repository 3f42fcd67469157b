"""Any image model of transformers, by hub id or folder: ``hub:microsoft/rad-dino``.

Images go through the model's own processor, so that size and scaling are those it was trained with. CLIP-like
models say their projected image embedding, of length 1. All others say their pooled output, which is the class
token behind the last normalisation in DINOv2 models, or the class token itself where nothing was trained to pool.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from medsynth_cli.errors import MedsynthError
from medsynth_cli.recognition.extractors import Extractor, weights_sha256
from medsynth_cli.recognition.observers import Observer

if TYPE_CHECKING:
    from medsynth_cli.runtime.bundles import Bundle

REACH_SECONDS = 10.0
UNUSED = ("text", "logit", "head", "mask_token")
"""Words in the names of weights that no image feature passes through: a checkpoint may come without them."""


def load(bundle: Bundle, device: torch.device, model: str) -> Observer:
    """What says the features of an image.

    Raises:
        MedsynthError: there is no such model, it cannot be fetched, or parts of it have no weights.
    """
    processor, network, pooled = open_model(f"hub:{model}", model, device)
    return observer(f"hub:{model}", processor, network, embedding if is_clip(network) else pooled, device)


def open_model(label: str, name: str, device: torch.device) -> tuple[Any, Any, Callable[[Any, Tensor], Tensor]]:
    """A processor, its model, and how to get pooled features of pixels ``(B, 3, H, W)`` from it.

    Raises:
        MedsynthError: see `load`; the message begins with ``label``.
    """
    try:
        processor, (network, report) = _kept_or_fetched(name)
    except (OSError, ValueError) as error:
        raise MedsynthError(
            f"{label}: {str(error).splitlines()[0]}", "name a model of the Hugging Face hub, or its folder"
        ) from error
    missing = [key for key in report["missing_keys"] if not any(word in key for word in UNUSED)]
    untrained_pooler = bool(missing) and all("pooler" in key for key in missing)
    if missing and not untrained_pooler:
        raise MedsynthError(f"{label}: no weights for {missing[0]}", "name a checkpoint of the whole model")
    return processor, network.to(device).eval(), class_token if untrained_pooler else pooled_output


def is_clip(network: Any) -> bool:
    """Whether a model embeds images beside texts."""
    return hasattr(network, "get_image_features")


def embedding(network: Any, pixels: Tensor) -> Tensor:
    """Projected image embeddings of length 1 of a CLIP-like model, as CMMD wants them."""
    found = network.get_image_features(pixel_values=pixels)
    return F.normalize(found if isinstance(found, Tensor) else found.pooler_output)


def pooled_output(network: Any, pixels: Tensor) -> Tensor:
    """What a model has learnt to say of a whole image, or its class token."""
    found = network(pixel_values=pixels)
    pooled = getattr(found, "pooler_output", None)
    return pooled.flatten(1) if pooled is not None else found.last_hidden_state[:, 0]


def class_token(network: Any, pixels: Tensor) -> Tensor:
    """The first token behind the last layer."""
    return network(pixel_values=pixels).last_hidden_state[:, 0]


def observer(
    name: str, processor: Any, network: Any, features: Callable[[Any, Tensor], Tensor], device: torch.device
) -> Observer:
    """What says ``features`` of gray images, three times the same channel, after the model's processor."""

    def forward(images: Tensor) -> Tensor:
        gray = [image.repeat(3, 1, 1) for image in images.cpu()]
        return features(network, processor(gray, return_tensors="pt")["pixel_values"].to(device))

    identity = f"{weights_sha256(network)}|{features.__name__}|{processor.to_json_string()}"
    return Observer(name, identity, forward, device)


def _kept_or_fetched(name: str) -> tuple[Any, Any]:
    """Processor and model of a folder or of the hub's cache, else fetched.

    Whether the hub can be reached is found out first: transformers tries for minutes.
    """
    from transformers import AutoImageProcessor, AutoModel

    def opened(**options: Any) -> tuple[Any, Any]:
        processor = AutoImageProcessor.from_pretrained(name, **options)
        return processor, AutoModel.from_pretrained(name, output_loading_info=True, **options)

    try:
        return opened(local_files_only=True)
    except (OSError, ValueError):
        if Path(name).exists():
            raise
    _reach_hub()
    return opened()


def _reach_hub() -> None:
    from huggingface_hub import constants

    try:
        urllib.request.urlopen(constants.ENDPOINT, timeout=REACH_SECONDS).close()
    except urllib.error.HTTPError:
        return  # it answers
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise OSError(f"not in the cache, and {constants.ENDPOINT} cannot be reached ({reason})") from error


EXTRACTOR = Extractor("hub", load, model="")
