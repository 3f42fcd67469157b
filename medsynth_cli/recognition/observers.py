"""Observers: what looks at one image at a time and says an array about it, such as features or probabilities."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from medsynth_cli.runtime.conversion import filled
from medsynth_cli.runtime.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 16


@dataclass(frozen=True)
class Observer:
    """Images -> one array an image.

    Attributes:
        name: what to call it in results.
        identity: whatever else changes what it says, such as the hash of its weights; never shown.
        forward: uint8 ``(B, H, W)`` on ``device`` -> ``(B, D)``, each row from its own image alone.
        device: where it computes.
    """

    name: str
    identity: str
    forward: Callable[[Tensor], Tensor]
    device: torch.device

    @property
    def key(self) -> str:
        """What names its results for ever: two observers with the same key say the same of an image."""
        text = f"{self.name}|{self.identity}|{self.device.type}|{torch.__version__}"
        return hashlib.sha256(text.encode()).hexdigest()

    def __call__(self, images: NDArray[np.uint8], batch_size: int = BATCH) -> NDArray[Any]:
        """Look at images uint8 ``(N, H, W)``, N >= 1, ``batch_size`` at a time -> ``(N, D)``."""
        found = []
        with Progress(self.name, len(images)) as progress:
            for start in range(0, len(images), batch_size):
                batch = images[start : start + batch_size]
                found.append(self.batch(batch, batch_size))
                progress.advance(len(batch))
        return np.concatenate(found)

    def batch(self, images: NDArray[np.uint8], size: int = BATCH) -> NDArray[Any]:
        """Look at one batch: uint8 ``(N, H, W)``, 1 <= N <= ``size`` -> ``(N, D)``.

        It is filled up to that size (`conversion.filled`). Half precision becomes float32.
        """
        batch = torch.from_numpy(filled(images, size)).to(self.device)
        with torch.inference_mode():
            found = self.forward(batch)[: len(images)]
        return (found.float() if found.dtype in (torch.float16, torch.bfloat16) else found).cpu().numpy()
