"""The word-patch aligner: words and image patches in one space.

The patch encoder's grid is the code grid, so that a patch that matches a word is also a place in the
image's codes (arXiv 2312.08078). A word matches an image as well as its best patch does.

Shapes: B images, W words, g grid, E embedding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medsynth_cli.recognition import trunks

if TYPE_CHECKING:
    from medsynth_cli.runtime.bundles import Bundle

PART = "aligner"
FEATURE_CHANNELS = {"lite0": (112, 320)}
"""Channels of a trunk at strides 16 and 32."""


@dataclass(frozen=True)
class AlignerConfig:
    """Shape of an aligner.

    Attributes:
        words: the word list of the word encoder; other words count as unknown.
        trunk: name of the image trunk.
        embedding: size of the common space.
        grid: side of the patch grid.
    """

    words: tuple[str, ...]
    trunk: str = "lite0"
    embedding: int = 128
    grid: int = 16


class Aligner(nn.Module):
    """Word encoder and patch encoder."""

    def __init__(self, config: AlignerConfig, trunk: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.trunk = trunk
        size = config.embedding
        self.project = nn.Conv2d(sum(FEATURE_CHANNELS[config.trunk]), size, 1)
        self.mix = nn.Conv2d(size, size, 3, padding=1)
        self.word_table = nn.Embedding(len(config.words) + 1, size)
        self.word_mlp = nn.Sequential(nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size))
        self.log_scale = nn.Parameter(torch.tensor(2.3))
        self.bias = nn.Parameter(torch.tensor(-4.0))

    def encode_patches(self, pixels: Tensor) -> Tensor:
        """Patches of pixels float32 ``(B, 1, H, W)``, [0, 1]: unit vectors ``(B, E, g, g)``."""
        fine, coarse = self.trunk(trunks.normalise(pixels).contiguous(memory_format=torch.channels_last))
        side = self.config.grid
        maps = [F.interpolate(f, size=(side, side), mode="bilinear", align_corners=False) for f in (fine, coarse)]
        x = self.project(torch.cat(maps, dim=1))
        return F.normalize((x + self.mix(F.gelu(x))).float(), dim=1)

    def encode_words(self, phrases: Sequence[str]) -> Tensor:
        """Words of phrases such as "left pleural effusion": unit vectors ``(W, E)``."""
        device = self.word_table.weight.device
        rows = []
        for phrase in phrases:
            ids = torch.tensor([self._index(word) for word in split(phrase)], device=device)
            rows.append(self.word_table(ids).mean(0))
        x = torch.stack(rows)
        return F.normalize((x + self.word_mlp(x)).float(), dim=1)

    def match(self, patches_BEgg: Tensor, words_WE: Tensor) -> Tensor:
        """See `cosines`."""
        return cosines(patches_BEgg, words_WE)

    @property
    def grid(self) -> int:
        """Side of the patch grid."""
        return self.config.grid

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.word_table.weight.device

    def _index(self, word: str) -> int:
        try:
            return self.config.words.index(word) + 1
        except ValueError:
            return 0


def cosines(patches_BEgg: Tensor, words_WE: Tensor) -> Tensor:
    """Cosine of every word and patch, both unit vectors: ``(B, W, g, g)``, [-1, 1]."""
    return torch.einsum("behw,ne->bnhw", patches_BEgg, words_WE)


def split(phrase: str) -> list[str]:
    """The words of a phrase, in lower case."""
    return re.findall(r"[a-z]+", phrase.lower()) or [""]


def load(bundle: Bundle, device: torch.device) -> Aligner:
    """The trained aligner of a bundle, in evaluation mode and float32."""
    values = bundle.config(PART)
    config = AlignerConfig(**values | {"words": tuple(values["words"])})
    trunk = trunks.build(config.trunk, features_only=True, out_indices=(3, 4))
    model = Aligner(config, trunk)
    model.load_state_dict(bundle.weights(PART))
    return model.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
