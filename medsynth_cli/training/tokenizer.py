"""Training of the VQGAN tokenizer.

Two phases, because the first makes the second cheap:
1. an autoencoder without codes; its latents seed the codebook by k-means, so that all codes are in use;
2. vector quantisation with a codebook of running means (van den Oord et al. 2017, arXiv 1711.00937) and
   gradients through the rotation trick (Fifty et al. 2024, arXiv 2410.06424).

What comes out is exact but soft; `training.decoder` makes it sharp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medsynth_cli.runtime import devices
from medsynth_cli.tokens import tokenizer as tokenizers
from medsynth_cli.tokens.vqgan import Vqgan, VqganConfig
from medsynth_cli.training import critic
from medsynth_cli.training.augment import jitter
from medsynth_cli.training.loop import Average, Trainee, batch_indices, cosine, draws, set_rate

if TYPE_CHECKING:
    from numpy.typing import NDArray

CODEBOOK_DECAY = 0.98
DEAD_BELOW = 0.1
"""A code whose running count per batch falls below this is placed on a random latent. The latents move
fast early on, and codes left behind come back only this way: with a fifth of this threshold the codebook
shrank to 160 codes within 600 steps."""
REVIVED = 0.2
"""Running count of a code that was just placed: it has 35 batches to find its latents."""


class VqganTrainee(Trainee[Vqgan]):
    """A VQGAN with its images and what looks at them.

    Attributes:
        images: training images, uint8 ``(N, H, W)``.
        validation: validation images, uint8 ``(M, H, W)``.
        trunk: the network whose features images are compared by.
        quantised: whether the decoder gets codes, and not yet the latents themselves.
    """

    quantised = True

    def __init__(
        self,
        train: NDArray[np.uint8],
        validation: NDArray[np.uint8],
        config: VqganConfig,
        device: torch.device,
        seed: int,
        average_decay: float,
        start: dict[str, Tensor] | None,
    ) -> None:
        torch.manual_seed(seed)
        self.images, self.validation, self.device = train, validation, device
        self.model = Vqgan(config).to(device).to(memory_format=torch.channels_last)
        if start is not None:
            self.model.load_state_dict(start)
        self.trunk = critic.Trunk().to(device)
        self.trunk.calibrate(self._pixels(train[:: max(1, len(train) // 32)][:32]))
        self.average = Average(self.model, average_decay)

    def export(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights and configuration of the bundle part."""
        return tokenizers.export(self.average.weights, self.model.config)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """PSNR in dB, perceptual distance and number of codes used, on the validation images."""
        errors, distances, used = [], [], set[int]()
        with self.average.applied(self.model), devices.autocast(self.device):
            for start in range(0, len(self.validation), 16):
                real = self._pixels(self.validation[start : start + 16])
                latents = self.model.latents(real).float()
                codes = self.model.quantize.nearest(latents)
                vectors = self.model.quantize.lookup(codes) if self.quantised else latents
                ours = self.model.reconstruct(vectors).clamp(0, 1)
                distances.append(float(critic.distance(self.trunk(ours), self.trunk(real))))
                errors.append((ours.float() - real).square().mean(dim=(1, 2, 3)))
                used |= set(codes.flatten().tolist())
        psnr = -10 * torch.log10(torch.cat(errors).clamp_min(1e-10))
        return {"val_psnr": float(psnr.mean()), "val_perceptual": float(np.mean(distances)), "val_codes": len(used)}


@dataclass(frozen=True)
class TokenizerOptions:
    """Settings of a run; ``*_until`` and ``*_from`` are fractions of ``steps``."""

    steps: int = 4300
    batch_size: int = 8
    learning_rate: float = 5e-4
    autoencoder_until: float = 0.05
    perceptual_from: float = 0.2
    perceptual_weight: float = 0.15
    commitment: float = 0.25
    crop_px: int = 128
    average_decay: float = 0.998
    seed: int = 0


class TokenizerTrainee(VqganTrainee):
    """The tokenizer and its codebook statistics.

    Args:
        train: uint8 ``(N, H, W)``.
        validation: uint8 ``(M, H, W)``.
        config: shape of the network.
        options: settings of the run.
        device: where to train.
        start: weights to go on from; the autoencoder phase is left out.
    """

    def __init__(
        self,
        train: NDArray[np.uint8],
        validation: NDArray[np.uint8],
        config: VqganConfig,
        options: TokenizerOptions,
        device: torch.device,
        start: dict[str, Tensor] | None = None,
    ) -> None:
        super().__init__(train, validation, config, device, options.seed, options.average_decay, start)
        self.options, self.quantised = options, start is not None
        self.optimisers = [torch.optim.AdamW(self.model.parameters(), betas=(0.9, 0.98), weight_decay=1e-4)]
        table = self.model.quantize.embedding.weight
        table.requires_grad_(False)
        self.counts = torch.ones(config.num_vq_embeddings, device=device)
        self.sums = table.detach().clone()

    def step(self, step: int) -> dict[str, float]:
        """One optimiser step on one batch."""
        options, random = self.options, draws(self.options.seed, step)
        progress = step / options.steps
        if not self.quantised and progress >= options.autoencoder_until:
            self._seed_codebook()
        batch = batch_indices(len(self.images), options.batch_size, options.seed, step)
        real = jitter(self._pixels(self.images[batch]), random)
        with devices.autocast(self.device):
            latents = self.model.latents(real).float()
        losses = {}
        vectors, commitment = latents, latents.new_zeros(())
        if self.quantised:
            codes = self.model.quantize.nearest(latents.detach())
            nearest = self.model.quantize.lookup(codes)
            vectors, commitment = rotate(latents, nearest), F.mse_loss(latents, nearest)
            losses["commitment"] = float(commitment.detach())
            self._update_codebook(latents.detach(), codes, random)
        with devices.autocast(self.device):
            ours = self.model.reconstruct(vectors)
        loss = critic.pixel_loss(ours, real) + options.commitment * commitment
        losses["l1"] = float(F.l1_loss(ours.detach(), real))
        if progress >= options.perceptual_from:
            window = critic.window(real.shape[-1], options.crop_px, random)
            perceptual = self._perceptual(ours[window], real[window])
            losses["perceptual"] = float(perceptual.detach())
            loss = loss + options.perceptual_weight * perceptual
        (optimiser,) = self.optimisers
        set_rate(optimiser, cosine(step, options.steps, options.learning_rate, 100, 0.1))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in self.model.parameters() if p.grad is not None], 1.0)
        optimiser.step()
        self.average.update(self.model, step)
        return losses

    def _perceptual(self, ours: Tensor, real: Tensor) -> Tensor:
        with devices.autocast(self.device):
            with torch.no_grad():
                wanted = self.trunk(real)
            return critic.distance(self.trunk(ours), wanted)

    @torch.no_grad()
    def _seed_codebook(self) -> None:
        """Place the codes by k-means on the latents of training images."""
        random = np.random.default_rng([self.options.seed, 2])
        chosen = random.permutation(len(self.images))[:400]
        found = []
        for part in np.array_split(chosen, max(1, len(chosen) // 16)):
            with devices.autocast(self.device):
                found.append(self.model.latents(self._pixels(self.images[part])).float())
        vectors = torch.cat(found).permute(0, 2, 3, 1).flatten(0, 2)
        centres = kmeans(vectors, len(self.counts), random)
        self.model.quantize.embedding.weight.copy_(centres)
        self.sums.copy_(centres)
        self.counts.fill_(1.0)
        for name, value in self.model.state_dict().items():
            self.average.weights[name].copy_(value)
        self.quantised = True

    @torch.no_grad()
    def _update_codebook(self, latents_BDhw: Tensor, codes: Tensor, random: np.random.Generator) -> None:
        flat, index = latents_BDhw.permute(0, 2, 3, 1).flatten(0, 2), codes.flatten()
        ones = torch.ones(len(index), device=index.device)
        self.counts.mul_(CODEBOOK_DECAY).index_add_(0, index, ones, alpha=1 - CODEBOOK_DECAY)
        self.sums.mul_(CODEBOOK_DECAY).index_add_(0, index, flat, alpha=1 - CODEBOOK_DECAY)
        dead = torch.nonzero(self.counts < DEAD_BELOW)[:, 0]
        if len(dead):
            fresh = flat[torch.as_tensor(random.integers(0, len(flat), len(dead)), device=flat.device)]
            self.counts[dead], self.sums[dead] = REVIVED, REVIVED * fresh
        self.model.quantize.embedding.weight.copy_(self.sums / self.counts[:, None])

    def state(self) -> dict[str, Any]:
        """See `loop.Trainee.state`."""
        return super().state() | {"counts": self.counts, "sums": self.sums, "quantised": self.quantised}

    def restore(self, state: dict[str, Any]) -> None:
        """See `loop.Trainee.restore`."""
        super().restore(state)
        self.counts.copy_(state["counts"])
        self.sums.copy_(state["sums"])
        self.quantised = state["quantised"]


def rotate(latents: Tensor, nearest: Tensor) -> Tensor:
    """Code vectors whose gradient reaches the latents rotated and scaled as latent -> code (arXiv 2410.06424).

    Both ``(B, D, h, w)``; the value equals ``nearest``.
    """
    e, q = latents, nearest.detach()
    norm_e, norm_q = (v.detach().norm(dim=1, keepdim=True).clamp_min(1e-6) for v in (e, q))
    unit_e, unit_q = e.detach() / norm_e, q / norm_q
    r = F.normalize(unit_e + unit_q, dim=1)
    turned = e - 2 * r * (r * e).sum(1, keepdim=True) + 2 * unit_q * (unit_e * e).sum(1, keepdim=True)
    return turned * (norm_q / norm_e)


def kmeans(vectors: Tensor, count: int, random: np.random.Generator, rounds: int = 15) -> Tensor:
    """Lloyd's algorithm from random vectors: ``(N, D)`` -> centres ``(count, D)``; empty centres move."""

    def pick(count: int) -> Tensor:
        return vectors[torch.as_tensor(random.permutation(len(vectors))[:count], device=vectors.device)]

    centres = pick(count).clone()
    for _ in range(rounds):
        nearest = (vectors @ centres.T - 0.5 * centres.square().sum(1)).argmax(1)
        counts = torch.bincount(nearest, minlength=count)
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        centres = sums / counts[:, None].clamp_min(1)
        empty = counts == 0
        centres[empty] = pick(int(empty.sum()))
    return centres
