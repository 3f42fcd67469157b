"""The tokenizer of a bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from medsynth_cli.tokens.vqgan import Vqgan, VqganConfig

if TYPE_CHECKING:
    from medsynth_cli.runtime.bundles import Bundle

PART = "tokenizer"
CODES = ("encoder.", "quant_conv.", "quantize.")
"""Weights that decide which codes an image has; the others only decide how they look."""


def load(bundle: Bundle, device: torch.device) -> Vqgan:
    """The trained tokenizer, in evaluation mode and float32."""
    model = Vqgan(config(bundle.config(PART)))
    model.load_state_dict(bundle.weights(PART))
    return model.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)


def export(weights: Mapping[str, Tensor], shape: VqganConfig) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and configuration of the bundle part; see `Bundle.tokenizer_sha256` for ``codes_sha256``."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        if name.startswith(CODES):
            digest.update(name.encode() + weights[name].half().cpu().contiguous().numpy().tobytes())
    return dict(weights), asdict(shape) | {"codes_sha256": digest.hexdigest()}


def config(values: dict[str, Any]) -> VqganConfig:
    """The configuration in a manifest."""
    shape = {field.name: values[field.name] for field in fields(VqganConfig)}
    return VqganConfig(**shape | {"block_out_channels": tuple(shape["block_out_channels"])})
