"""Thumbnails: what is wrong with a file as a whole, such as inverted or nearly black images, shows in them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsynth_cli.recognition import trunks
from medsynth_cli.recognition.observers import Observer

SIDE_PX = 32


def observer() -> Observer:
    """What says the thumbnail of an image, uint8 ``(SIDE_PX²,)``, row by row."""

    def forward(images: Tensor) -> Tensor:
        return (trunks.resized(images, SIDE_PX) * 255).round().to(torch.uint8).flatten(1)

    return Observer("thumbnail", str(SIDE_PX), forward, torch.device("cpu"))


def likeness(thumbnails: NDArray[np.uint8], wanted: NDArray[np.floating]) -> NDArray[np.float64]:
    """Correlation of thumbnails ``(N, D)`` with one ``(D,)``: [-1, 1], 0 for a uniform one."""
    a = thumbnails - thumbnails.mean(axis=1, keepdims=True, dtype=np.float64)
    b = wanted - wanted.mean()
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b)
    return np.divide(a @ b, lengths, out=np.zeros(len(a)), where=lengths > 0)
