"""CLIP's image embeddings, which CMMD measures on (Jayasumana et al. 2024, arXiv 2401.09603).

``clip`` is the published ViT-L/14 at 336 px; ``clip:<model>`` any CLIP-like model of transformers. Embeddings are
projected and of length 1, after the model's own processor, as in the reference implementation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medsynth_cli.errors import MedsynthError
from medsynth_cli.recognition.extractors import Extractor, hub

if TYPE_CHECKING:
    import torch

    from medsynth_cli.recognition.observers import Observer
    from medsynth_cli.runtime.bundles import Bundle

MODEL = "openai/clip-vit-large-patch14-336"


def load(bundle: Bundle, device: torch.device, model: str) -> Observer:
    """What says the embedding of an image.

    Raises:
        MedsynthError: there is no such model, it cannot be fetched, or it embeds no images.
    """
    processor, network, _ = hub.open_model(f"clip:{model}", model, device)
    if not hub.is_clip(network):
        raise MedsynthError(f"clip:{model}: not a CLIP model", f"hub:{model} takes any image model")
    return hub.observer(f"clip:{model}", processor, network, hub.embedding, device)


EXTRACTOR = Extractor("CLIP", load, MODEL, {"MMD": "CMMD"})
