"""Weights from outside: safetensors files, diffusers folders and pickles, for ``medsynth models import`` only."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsynth_cli.errors import MedsynthError

if TYPE_CHECKING:
    from torch import Tensor

DIFFUSERS_FILE = "diffusion_pytorch_model.safetensors"
NESTED_UNDER = ("state_dict", "model", "weights")


def read(path: Path) -> dict[str, Tensor]:
    """Read the weights of a file or diffusers folder: name -> tensor.

    Pickles are read with ``weights_only=True``, which runs no code of theirs.

    Raises:
        MedsynthError: there is no such file, or it holds no plain mapping of names to tensors.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = path / DIFFUSERS_FILE if path.is_dir() else path
    if not file.is_file():
        raise MedsynthError(f"{file}: no such file", "name a safetensors file, a diffusers folder or a pickle")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise MedsynthError(
            f"{file}: cannot be read as plain weights ({str(error).splitlines()[0]})",
            "save a state dict of tensors, best as safetensors",
        ) from error
    return _state_dict(loaded, file)


def read_config(path: Path) -> dict[str, Any]:
    """Read a JSON mapping, such as diffusers' ``config.json``.

    Raises:
        MedsynthError: there is no such file, or it is no JSON mapping.
    """
    try:
        config = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise MedsynthError(f"{path}: {error.strerror}", "name it with --model-config") from error
    except ValueError as error:
        raise MedsynthError(f"{path}: not JSON ({error})") from error
    if not isinstance(config, dict):
        raise MedsynthError(f"{path}: not a JSON object")
    return config


def _state_dict(loaded: Any, file: Path) -> dict[str, Tensor]:
    import torch

    for key in NESTED_UNDER:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise MedsynthError(f"{file}: holds no mapping of names to tensors", "save a state dict, best as safetensors")
    return loaded
