"""Sampling of image codes.

A row's result must not depend on what else is in the batch. So every batch has the same shape (rows are
padded with repetitions), and every row brings its own noise, drawn from a generator of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.tokens.decoder import Decoder
    from medsynth_cli.tokens.sequence import Layout

ROWS = {"cpu": 16, "cuda": 64, "mps": 16}
"""Images decoded at a time by kind of device, whatever the batch size asked for."""


@dataclass(frozen=True)
class Sampling:
    """How codes are drawn.

    Attributes:
        temperature: divides the logits; 0 takes the likeliest code.
        top_k: only the likeliest codes are drawn; 0 is all.
        cfg: classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598): 1 is none, more follows the
            prompt more closely. It leads away from the same person without findings rather than from any
            image whatsoever, so that it strengthens what was asked for and leaves the person's looks alone.
    """

    temperature: float = 0.9
    top_k: int = 0
    cfg: float = 3.0


@torch.inference_mode()
def sample(
    decoder: Decoder,
    layout: Layout,
    prefixes: NDArray[np.int64],
    persons: NDArray[np.int64],
    noise: NDArray[np.float32],
    sampling: Sampling,
) -> NDArray[np.int64]:
    """Write the codes of up to as many images as the device's `ROWS`.

    Args:
        decoder: the language model.
        layout: its sequence layout.
        prefixes: int64 ``(N, prefix)``.
        persons: int64 ``(N, prefix)``, the prefixes that guidance leads away from: see `SequenceEncoder.person`.
        noise: Gumbel noise, float32 ``(N, grid², codes)``; see `gumbel`.
        sampling: how to draw.

    Returns:
        int64 ``(N, grid, grid)``, [0, codes).
    """
    count, steps = len(prefixes), layout.grid**2
    size = ROWS[decoder.device.type]
    rows = np.arange(size) % count
    guided = sampling.cfg != 1.0
    noise_SNK = torch.from_numpy(noise[rows].swapaxes(0, 1)).to(decoder.device)
    codes = torch.empty(size, steps, dtype=torch.int64, device=decoder.device)
    tokens = torch.from_numpy(prefixes[rows]).to(decoder.device)
    against = torch.from_numpy(persons[rows]).to(decoder.device) if guided else None
    logits, cache = decoder.begin(tokens, against, layout.person_at)
    for step in range(steps):
        if guided:
            asked, unasked = logits.chunk(2)
            logits = unasked + sampling.cfg * (asked - unasked)
        codes[:, step] = draw(logits, noise_SNK[step], sampling)
        if step + 1 < steps:
            newest = codes[:, step : step + 1]
            logits = decoder.logits(torch.cat([newest, newest]) if guided else newest, cache)
    return codes[:count].view(count, layout.grid, layout.grid).cpu().numpy()


def draw(logits: torch.Tensor, noise: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Draw one code a row from logits ``(N, K)`` by the Gumbel-max trick: int64 ``(N,)``."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    if 0 < sampling.top_k < logits.shape[-1]:
        least = logits.topk(sampling.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, float("-inf"))
    return (logits / sampling.temperature + noise).argmax(-1)


def gumbel(seed: tuple[int, ...], steps: int, codes: int) -> NDArray[np.float32]:
    """Gumbel noise of one image: float32 ``(steps, codes)``, the same wherever and whenever it is drawn."""
    uniform = np.random.default_rng(seed).random((steps, codes))
    return -np.log(-np.log(uniform.clip(1e-12, 1 - 1e-12))).astype(np.float32)
