"""Nested tensors in one safetensors file: checkpoints without pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor


def save_tree(path: Path, tree: Any) -> None:
    """Write nested dicts, lists, tensors and JSON values; the file appears only when complete."""
    tensors: dict[str, Tensor] = {}
    outline = _outline(tree, "", tensors)
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial, metadata={"outline": json.dumps(outline)})
    os.replace(partial, path)


def load_tree(path: Path) -> Any:
    """Read what `save_tree` wrote."""
    with safe_open(path, framework="pt") as handle:
        return _restore(json.loads(handle.metadata()["outline"]), handle.get_tensor)


def _outline(node: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Replace tensors by their names and dicts by pair lists, so that integer keys survive JSON."""
    if isinstance(node, Tensor):
        tensors[name] = node.detach().to("cpu", memory_format=torch.contiguous_format).clone()
        return {"tensor": name}
    if isinstance(node, dict):
        return {"dict": [[key, _outline(value, f"{name}/{key}", tensors)] for key, value in node.items()]}
    if isinstance(node, list | tuple):
        return {"list": [_outline(value, f"{name}/{i}", tensors) for i, value in enumerate(node)]}
    return {"value": node}


def _restore(node: dict[str, Any], tensor: Any) -> Any:
    ((kind, content),) = node.items()
    if kind == "tensor":
        return tensor(content)
    if kind == "dict":
        return {key: _restore(value, tensor) for key, value in content}
    if kind == "list":
        return [_restore(value, tensor) for value in content]
    return content
