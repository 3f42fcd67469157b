"""The generator of a bundle: language model, sequence layout and text tokenizer, which belong together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from medsynth_cli.errors import MedsynthError
from medsynth_cli.tokens.decoder import Decoder
from medsynth_cli.tokens.language_model import LanguageModel, LanguageModelConfig
from medsynth_cli.tokens.sequence import Layout, SequenceEncoder

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

    from medsynth_cli.runtime.bundles import Bundle

PART = "generator"
TEXT = "text_tokenizer"
"""Name of the tensor that holds the text tokenizer's JSON, as bytes."""


@dataclass(frozen=True)
class Generator:
    """What turns aligned records into codes.

    Attributes:
        decoder: the language model, arranged for decoding.
        encoder: writes the prefixes of its sequences, and knows their layout.
    """

    decoder: Decoder
    encoder: SequenceEncoder


def load(bundle: Bundle, device: torch.device, label_of: Mapping[str, str]) -> Generator:
    """The trained generator, in float32.

    Args:
        bundle: an opened bundle.
        device: where it runs.
        label_of: vocabulary key -> label; see `SequenceEncoder`.

    Raises:
        MedsynthError: the model's vocabulary does not fit its sequence layout.
    """
    model, encoder = language_model(bundle, label_of)
    layout = encoder.layout
    with torch.inference_mode():
        return Generator(Decoder(model.to(device), layout.codes, layout.length), encoder)


def language_model(bundle: Bundle, label_of: Mapping[str, str]) -> tuple[LanguageModel, SequenceEncoder]:
    """The trained language model, in evaluation mode and float32, and what writes its prefixes; see `load`.

    Raises:
        MedsynthError: the model's vocabulary does not fit its sequence layout.
    """
    values, weights = bundle.config(PART), bundle.weights(PART)
    text = text_tokenizer(bytes(weights.pop(TEXT).numpy()))
    layout = layout_from(values["layout"])
    config = LanguageModelConfig(**values["model"])
    if config.vocab_size != layout.vocab_size or text.get_vocab_size() > layout.text_size:
        raise MedsynthError(
            f"bundle {bundle.name}: the language model has {config.vocab_size} tokens, its layout {layout.vocab_size}"
        )
    # Not on the meta device: drawing its embeddings there makes torch import its compiler, for four seconds.
    model = LanguageModel(config)
    model.load_state_dict(weights)
    return model.eval().requires_grad_(False), SequenceEncoder(layout, text, label_of)


def export(
    weights: Mapping[str, Tensor], model: LanguageModelConfig, encoder: SequenceEncoder, tokenizer_sha256: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and configuration of the bundle part; the reverse of `load`."""
    data = np.frombuffer(encoder.text.to_str().encode(), dtype=np.uint8)
    config = {
        "model": asdict(model) | {"dropout": 0.0},
        "layout": asdict(encoder.layout),
        "codes": encoder.layout.codes,
        "tokenizer_sha256": tokenizer_sha256,
    }
    return dict(weights) | {TEXT: torch.from_numpy(data.copy())}, config


def layout_from(values: Mapping[str, Any]) -> Layout:
    """A layout from its JSON form."""
    return Layout(**dict(values) | {"labels": tuple(values["labels"]), "views": tuple(values["views"])})


def text_tokenizer(data: bytes) -> Tokenizer:
    """A text tokenizer from its JSON."""
    from tokenizers import Tokenizer

    return Tokenizer.from_str(json.dumps(json.loads(data)))
