"""Which aligner: the bundle's own, another bundle's, or an image-text model of transformers.

All of them say where in an image a phrase is found, by `WordPatchAligner`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from medsynth_cli.alignment import aligner, hub
from medsynth_cli.runtime import bundles

if TYPE_CHECKING:
    from medsynth_cli.runtime.bundles import Bundle


class WordPatchAligner(Protocol):
    """Words and image patches as unit vectors in one space.

    Shapes: B images, W phrases, g grid, E embedding.
    """

    @property
    def grid(self) -> int:
        """Side of the patch grid."""

    @property
    def device(self) -> torch.device:
        """Where it computes, and where its tensors are."""

    def encode_patches(self, pixels: Tensor) -> Tensor:
        """Patches of pixels float32 ``(B, 1, H, W)``, [0, 1]: ``(B, E, g, g)``."""

    def encode_words(self, phrases: Sequence[str]) -> Tensor:
        """Phrases such as "left pleural effusion": ``(W, E)``."""

    def match(self, patches: Tensor, words: Tensor) -> Tensor:
        """Cosine of every phrase and patch: ``(B, W, g, g)``, [-1, 1]."""


def load(bundle: Bundle, name: str | None, device: torch.device, grid: int | None = None) -> WordPatchAligner:
    """Open an aligner.

    Args:
        bundle: its own is taken unless another is named.
        name: a bundle (name or folder), or a transformers image-text model (hub id or folder).
        device: where it computes.
        grid: the grid wanted of a model that has another; a bundle's aligner keeps its own.

    Raises:
        MedsynthError: there is no such aligner.
    """
    if name is None:
        return aligner.load(bundle, device)
    if name in bundles.embedded() or (Path(name) / bundles.MANIFEST).is_file():
        return aligner.load(bundles.load(name), device)
    return hub.load(name, device, grid)
