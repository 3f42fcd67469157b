"""Fingerprints: short descriptions in which a copy of a radiograph stands out from all that merely look like it.

The centre of an image is reduced to 32 x 32 averages and written in the principal components of real
radiographs, each divided by its spread. What all chests share (brightness, pose, build) then counts no more than
what only one has, and what shifts of a pixel, noise, compression or the tokenizer change is not seen at all.
Divided components are the usual remedy against a descriptor that calls everything similar (Jegou and Chum 2012,
"Negative evidences and co-occurrences in image retrieval").
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medsynth_cli.recognition.observers import Observer

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 32
DIMENSIONS = 128
MARGIN, STEP = 1 / 16, 1 / 64
"""Border that is left out, and distance between two shifts, as parts of the image's side."""
SHIFTS = range(-2, 3)
"""In steps, down and across: a copy may be displaced by 2/64 of the side, 8 px of 256, and half a step more."""
FLOOR = 1e-3
"""Components that vary less than this part of the first are not lifted any further."""
SCALE = 256
"""Components of a vector of length 1 are stored as 8-bit integers of 1/256; hardly one exceeds 1/2."""


@dataclass(frozen=True)
class Fingerprints:
    """How to take fingerprints.

    Attributes:
        mean: mean of real reductions, float32 ``(SIDE²,)``.
        basis: their divided principal components, float32 ``(SIDE², D)``.
        device: where they are taken.
    """

    mean: Tensor
    basis: Tensor
    device: torch.device

    @property
    def observer(self) -> Observer:
        """What says the fingerprint of an image, int8 ``(D,)``."""
        return self._observer("fingerprint", (0,))

    @property
    def shifted(self) -> Observer:
        """What says its fingerprints at all shifts, one after the other, int8 ``(len(SHIFTS)² D,)``."""
        return self._observer("shifted fingerprints", SHIFTS)

    def _observer(self, name: str, shifts: tuple[int, ...] | range) -> Observer:
        digest = hashlib.sha256(self.mean.cpu().numpy().tobytes() + self.basis.cpu().numpy().tobytes())

        def forward(images: Tensor) -> Tensor:
            found = F.normalize((reduced(images, shifts) - self.mean) @ self.basis, dim=-1)
            return stored(found).flatten(1)

        return Observer(name, digest.hexdigest(), forward, self.device)


def reduced(images: Tensor, shifts: tuple[int, ...] | range = (0,)) -> Tensor:
    """Reductions of an image's centre and of what lies around it.

    Args:
        images: uint8 ``(B, H, H)``.
        shifts: in steps, used down and across.

    Returns:
        float32 ``(B, len(shifts)², SIDE²)``, each of mean 0 and length 1; 0 where the image is uniform.
    """
    size = images.shape[-1]
    margin, step = round(size * MARGIN), round(size * STEP)
    pixels, found = images[:, None].float(), []
    for down, across in itertools.product(shifts, repeat=2):
        top, left = margin + down * step, margin + across * step
        centre = pixels[..., top : top + size - 2 * margin, left : left + size - 2 * margin]
        found.append(F.adaptive_avg_pool2d(centre, SIDE).flatten(1))
    centred = torch.stack(found, dim=1)
    return F.normalize(centred - centred.mean(dim=-1, keepdim=True), dim=-1, eps=1e-3)


def reductions() -> Observer:
    """What says the reduction of an image, float32 ``(SIDE²,)``, to fit fingerprints to."""
    return Observer("reduction", f"{SIDE} {MARGIN}", lambda images: reduced(images)[:, 0], torch.device("cpu"))


def fit(found: NDArray[np.float32], device: torch.device) -> Fingerprints:
    """Fit to reductions ``(N, SIDE²)`` of real images; a small N gives ``min(DIMENSIONS, N - 1)`` dimensions."""
    x = torch.from_numpy(found).double()
    mean = x.mean(dim=0)
    covariance = (x - mean).T @ (x - mean) / len(x)
    variances, vectors = torch.linalg.eigh(covariance)
    count = min(DIMENSIONS, len(x) - 1)
    variances, vectors = variances.flip(0)[:count], vectors.flip(1)[:, :count]
    basis = vectors / (variances + FLOOR * variances[0]).sqrt()
    # Half precision is what a bundle keeps: fingerprints must not change by being written and read.
    return Fingerprints(mean.half().float().to(device), basis.half().float().to(device), device)


def restore(weights: dict[str, Any], device: torch.device) -> Fingerprints:
    """The same from tensors ``mean`` and ``basis``."""
    return Fingerprints(weights["mean"].to(device), weights["basis"].to(device), device)


def stored(vectors: Tensor) -> Tensor:
    """Vectors of length 1 as they are stored, int8; `lengths_1` gives them back."""
    return (vectors * SCALE).round().clamp(-127, 127).to(torch.int8)


def lengths_1(fingerprints: NDArray[np.int8]) -> NDArray[np.float32]:
    """Stored fingerprints ``(..., D)`` as vectors of length 1 again; 0 for a uniform image."""
    x = fingerprints.astype(np.float32)
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.divide(x, length, out=x, where=length > 0)
