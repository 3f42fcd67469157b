"""Tokenizers trained elsewhere: a `diffusers.VQModel` on pixel-unshuffled gray images becomes a bundle part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from medsynth_cli.errors import MedsynthError
from medsynth_cli.tokens.vqgan import Vqgan, VqganConfig

FIXED = {"act_fn": "silu", "norm_type": "group", "mid_block_add_attention": True, "lookup_from_codebook": False}
"""What `Vqgan` does, as diffusers names it."""


def vqgan_config(values: Mapping[str, Any], resolution_px: int) -> VqganConfig:
    """The shape of a tokenizer from a ``config.json`` of diffusers, or of ours.

    Args:
        values: fields of `VqganConfig`, or of `diffusers.VQModel` with ``in_channels`` a square number: images are
            cut into blocks of ``patch_px * patch_px`` pixels, one channel each.
        resolution_px: side of an image, where ``values`` does not say.

    Raises:
        MedsynthError: a field of another kind of network, or one that makes no sense.
    """
    known = {field.name for field in fields(VqganConfig)}
    config = {"resolution_px": resolution_px} | {name: value for name, value in values.items() if name in known}
    if "patch_px" not in config and "in_channels" in values:
        config["patch_px"] = math.isqrt(int(values["in_channels"]))
    try:
        shape = VqganConfig(**config | {"block_out_channels": tuple(config["block_out_channels"])})
        wanted = shape.diffusers_config()
    except (KeyError, TypeError, ValueError) as error:
        raise MedsynthError(
            f"the configuration lacks or misspells {error}", f"needed: {', '.join(sorted(known))}"
        ) from error
    for name, value in (wanted | FIXED).items():
        given = values.get(name, value)
        if (tuple(given) if isinstance(value, tuple) else given) != value:
            raise MedsynthError(
                f"a tokenizer with {name} {given!r} cannot be imported, only with {value!r}",
                "see medsynth_cli/tokens/vqgan.py for the network",
            )
    return shape


def vqgan_weights(weights: Mapping[str, Tensor], config: VqganConfig) -> dict[str, Tensor]:
    """Check that weights fit a tokenizer, and return them as its state dict, float32.

    Raises:
        MedsynthError: names or shapes do not fit.
    """
    try:
        with torch.device("meta"):
            expected = Vqgan(config).state_dict()
    except ValueError as error:
        raise MedsynthError(f"no network has this configuration: {error}", "check --model-config") from error
    for name in sorted({*expected, *weights}):
        ours, theirs = (tuple(table[name].shape) if name in table else "absent" for table in (expected, weights))
        if ours != theirs:
            raise MedsynthError(
                f"weight {name}: {theirs} in the file, {ours} by the configuration", "check --model-config"
            )
    return {name: weights[name].float() for name in expected}
