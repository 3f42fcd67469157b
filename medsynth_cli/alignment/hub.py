"""Aligners from image-text models of transformers: CLIP and SigLIP, whose patches can be seen in the space of texts.

CLIP's patches go through what its class token goes through, the last normalisation and the projection (as in
MaskCLIP, arXiv 2112.01071, which also changes the last attention). SigLIP pools its patches by attention: here each
patch is pooled alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from medsynth_cli.alignment.aligner import cosines
from medsynth_cli.errors import MedsynthError
from medsynth_cli.recognition.extractors import hub as models


@dataclass(frozen=True)
class HubAligner:
    """Words and patches of an image-text model; see `aligners.WordPatchAligner`.

    Attributes:
        network: the model.
        processor: makes its pixels.
        tokenizer: makes its words.
        patches_of: network and its pixels -> patches in the space of texts, ``(B, T, E)``.
        grid: side of the patch grid; the model's own grid is interpolated to it.
        device: where it computes.
    """

    network: Any
    processor: Any
    tokenizer: Any
    patches_of: Callable[[Any, Tensor], Tensor]
    grid: int
    device: torch.device

    def encode_patches(self, pixels: Tensor) -> Tensor:
        """See `aligners.WordPatchAligner.encode_patches`; the gray image is shown three times as a channel."""
        inputs = prepare(self.processor, pixels).to(self.device)
        found = self.patches_of(self.network, inputs).float()
        own = math.isqrt(found.shape[1])
        patches = found.transpose(1, 2).unflatten(2, (own, own))
        if own != self.grid:
            patches = F.interpolate(patches, (self.grid, self.grid), mode="bilinear", align_corners=False)
        return F.normalize(patches, dim=1)

    def encode_words(self, phrases: Sequence[str]) -> Tensor:
        """See `aligners.WordPatchAligner.encode_words`."""
        # SigLIP was trained on texts padded to their full length, CLIP does not see its padding.
        tokens = self.tokenizer(list(phrases), padding="max_length", truncation=True, return_tensors="pt")
        found = self.network.get_text_features(**tokens.to(self.device))
        vectors = found if isinstance(found, Tensor) else found.pooler_output
        return F.normalize(vectors.float(), dim=1)

    def match(self, patches: Tensor, words: Tensor) -> Tensor:
        """See `aligners.WordPatchAligner.match`."""
        return cosines(patches, words)


def load(name: str, device: torch.device, grid: int | None = None) -> HubAligner:
    """Open a model by hub id or folder.

    Raises:
        MedsynthError: there is no such model, or its patches have no place in the space of texts.
    """
    from transformers import AutoTokenizer

    processor, network, _ = models.open_model(name, name, device)
    patches_of = PATCHES.get(network.config.model_type)
    if patches_of is None:
        raise MedsynthError(
            f"{name}: a {network.config.model_type} model has no patches beside texts",
            f"name a bundle, or a model of kind {', '.join(PATCHES)}",
        )
    tokenizer = AutoTokenizer.from_pretrained(name)
    # Some tokenizers do not say how long the model's texts are.
    tokenizer.model_max_length = network.config.text_config.max_position_embeddings
    probe = torch.zeros(1, 1, 64, 64, device=device)
    with torch.inference_mode():
        own = math.isqrt(patches_of(network, prepare(processor, probe).to(device)).shape[1])
    return HubAligner(network, processor, tokenizer, patches_of, grid or own, device)


def prepare(processor: Any, pixels: Tensor) -> Tensor:
    """What a model sees of pixels ``(B, 1, H, W)``, [0, 1]: ``(B, 3, h, w)``."""
    gray = [(image * 255).round().byte().cpu().expand(3, -1, -1) for image in pixels]
    return processor(gray, return_tensors="pt")["pixel_values"]


def clip_tokens(network: Any, pixels: Tensor) -> Tensor:
    """CLIP's class token, then its patches, in the space of texts: ``(B, 1 + T, E)``."""
    found = network.vision_model(pixel_values=pixels).last_hidden_state
    return network.visual_projection(network.vision_model.post_layernorm(found))


def siglip_patches(network: Any, pixels: Tensor) -> Tensor:
    """SigLIP's patches, each pooled alone: ``(B, T, E)``."""
    found = network.vision_model(pixel_values=pixels).last_hidden_state
    return network.vision_model.head(found.flatten(0, 1)[:, None]).unflatten(0, found.shape[:2])


PATCHES: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "clip": lambda network, pixels: clip_tokens(network, pixels)[:, 1:],
    "siglip": siglip_patches,
}
"""How models of a kind say their patches."""
