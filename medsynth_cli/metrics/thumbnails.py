"""Thumbnails: what is wrong with a file as a whole, such as inverted or nearly black images, shows in them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsynth_cli.recognition import trunks
from medsynth_cli.recognition.observers import Observer

SIDE_PX = 32
CHUNK = 4096


def observer() -> Observer:
    """What says the thumbnail of an image, uint8 ``(SIDE_PX²,)``, row by row."""

    def forward(images: Tensor) -> Tensor:
        return (trunks.resized(images, SIDE_PX) * 255).round().to(torch.uint8).flatten(1)

    return Observer("thumbnail", str(SIDE_PX), forward, torch.device("cpu"))


def likeness(thumbnails: NDArray[np.uint8], wanted: NDArray[np.floating]) -> NDArray[np.float64]:
    """Correlation of thumbnails ``(N, D)`` with one ``(D,)``: [-1, 1], 0 for a uniform one."""
    b, found = wanted - wanted.mean(), np.zeros(len(thumbnails))
    for start in range(0, len(thumbnails), CHUNK):
        part = thumbnails[start : start + CHUNK]
        a = part - part.mean(axis=1, keepdims=True, dtype=np.float64)
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b)
        np.divide(a @ b, lengths, out=found[start : start + CHUNK], where=lengths > 0)
    return found
