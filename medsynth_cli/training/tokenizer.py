"""Training of the VQGAN tokenizer.

Three phases, because each makes the next one cheap:
1. an autoencoder without codes; its latents seed the codebook by k-means, so that all codes are in use;
2. vector quantisation with a codebook of running means (van den Oord et al. 2017, arXiv 1711.00937) and
   gradients through the rotation trick (Fifty et al. 2024, arXiv 2410.06424);
3. encoder and codebook frozen, so that codes are final, and the decoder sharpened against an adversary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

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


@dataclass(frozen=True)
class TokenizerOptions:
    """Settings of a run; ``*_until`` and ``*_from`` are fractions of ``steps``."""

    steps: int = 6000
    batch_size: int = 8
    learning_rate: float = 5e-4
    adversary_rate: float = 1e-4
    autoencoder_until: float = 0.05
    perceptual_from: float = 0.2
    adversary_from: float = 0.6
    perceptual_weight: float = 0.15
    adversary_weight: float = 0.5
    commitment: float = 0.25
    crop_px: int = 128
    average_decay: float = 0.998
    seed: int = 0


class TokenizerTrainee(Trainee[Vqgan]):
    """The tokenizer, its codebook statistics, its critic and its data.

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
        torch.manual_seed(options.seed)
        self.images, self.validation = train, validation
        self.options, self.device = options, device
        self.model = Vqgan(config).to(device).to(memory_format=torch.channels_last)
        self.seeded, self.frozen = start is not None, False
        if start is not None:
            self.model.load_state_dict(start)
        self.trunk = critic.Trunk().to(device)
        self.trunk.calibrate(self._pixels(train[:: max(1, len(train) // 32)][:32]))
        self.heads = critic.Heads().to(device)
        self.optimisers = [
            torch.optim.AdamW(self.model.parameters(), betas=(0.9, 0.98), weight_decay=1e-4),
            torch.optim.AdamW(self.heads.parameters(), lr=4e-4, betas=(0.5, 0.99), weight_decay=0),
        ]
        self.average = Average(self.model, options.average_decay)
        table = self.model.quantize.embedding.weight
        table.requires_grad_(False)
        self.counts = torch.ones(config.num_vq_embeddings, device=device)
        self.sums = table.detach().clone()

    def step(self, step: int) -> dict[str, float]:
        """One optimiser step on one batch."""
        options, random = self.options, draws(self.options.seed, step)
        progress = step / options.steps
        adversarial = progress >= options.adversary_from
        if not self.seeded and progress >= options.autoencoder_until:
            self._seed_codebook()
        batch = batch_indices(len(self.images), options.batch_size, options.seed, step)
        real = jitter(self._pixels(self.images[batch]), random)
        if adversarial and not self.frozen:
            self._freeze()
        with self._autocast(), torch.set_grad_enabled(not adversarial):
            latents = self.model.latents(real).float()
        vectors, losses = latents, {}
        commitment = latents.new_zeros(())
        if self.seeded:
            codes = self.model.quantize.nearest(latents.detach())
            nearest = self.model.quantize.lookup(codes)
            commitment = F.mse_loss(latents, nearest)
            vectors = nearest if adversarial else rotate(latents, nearest)
            losses["commitment"] = float(commitment.detach())
            if not adversarial:
                self._update_codebook(latents.detach(), codes, random)
        with self._autocast():
            ours = self.model.reconstruct(vectors)
        gradient, measured = self._output_gradient(ours, real, random, progress)
        self._descend(ours, gradient, None if adversarial else options.commitment * commitment, step, adversarial)
        return losses | measured

    def _output_gradient(
        self, ours: Tensor, real: Tensor, random: np.random.Generator, progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        """Gradient of all losses with respect to the output, the adversary's scaled to the others' size."""
        options = self.options
        leaf = ours.detach().requires_grad_()
        pixel = F.l1_loss(leaf, real) + 4 * F.mse_loss(leaf, real)
        measured = {"l1": float(F.l1_loss(leaf.detach(), real))}
        if progress < options.perceptual_from:
            return torch.autograd.grad(pixel, leaf)[0], measured
        side, crop = real.shape[-1], min(options.crop_px, real.shape[-1])
        top, left = random.integers(0, side - crop + 1, 2)
        window = (..., slice(top, top + crop), slice(left, left + crop))
        with self._autocast():
            with torch.no_grad():
                features_real = self.trunk(real[window])
            features = self.trunk(leaf[window])
        perceptual = critic.distance(features, features_real)
        measured["perceptual"] = float(perceptual.detach())
        adversarial = progress >= options.adversary_from
        loss = pixel + options.perceptual_weight * perceptual
        gradient = torch.autograd.grad(loss, leaf, retain_graph=adversarial)[0]
        if adversarial:
            measured |= self._train_heads(features_real, [f.detach() for f in features])
            self.heads.requires_grad_(False)
            pull = torch.autograd.grad(critic.generator_loss(self.heads(features)), leaf)[0]
            self.heads.requires_grad_(True)
            ramp = min(1.0, (progress - options.adversary_from) / 0.05)
            scale = options.adversary_weight * ramp * gradient.norm() / pull.norm().clamp_min(1e-12)
            gradient = gradient + scale * pull
        return gradient, measured

    def _train_heads(self, real: list[Tensor], ours: list[Tensor]) -> dict[str, float]:
        loss = critic.discriminator_loss(self.heads(real), self.heads(ours))
        _, optimiser = self.optimisers
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return {"discriminator": float(loss.detach())}

    def _descend(self, ours: Tensor, gradient: Tensor, extra: Tensor | None, step: int, adversarial: bool) -> None:
        options = self.options
        switch = int(options.adversary_from * options.steps)
        if adversarial:
            rate = cosine(step - switch, options.steps - switch, options.adversary_rate, 50, 0.1)
        else:
            rate = cosine(step, switch, options.learning_rate, 100, 0.1)
        optimiser, _ = self.optimisers
        set_rate(optimiser, rate)
        optimiser.zero_grad(set_to_none=True)
        if extra is not None and extra.requires_grad:
            torch.autograd.backward([ours, extra], [gradient, torch.ones_like(extra)])
        else:
            ours.backward(gradient)
        torch.nn.utils.clip_grad_norm_([p for p in self.model.parameters() if p.grad is not None], 1.0)
        optimiser.step()
        self.average.update(self.model, step)

    def _freeze(self) -> None:
        """Make the codes final: go on from the averaged weights, and train the decoder alone."""
        self.model.load_state_dict(self.average.weights)
        self._freeze_codes()

    def _freeze_codes(self) -> None:
        self.model.encoder.requires_grad_(False)
        self.model.quant_conv.requires_grad_(False)
        self.frozen = True

    @torch.no_grad()
    def _seed_codebook(self) -> None:
        """Place the codes by k-means on the latents of training images."""
        random = np.random.default_rng([self.options.seed, 2])
        chosen = random.permutation(len(self.images))[:400]
        found = []
        for part in np.array_split(chosen, max(1, len(chosen) // 16)):
            with self._autocast():
                found.append(self.model.latents(self._pixels(self.images[part])).float())
        vectors = torch.cat(found).permute(0, 2, 3, 1).flatten(0, 2)
        centres = kmeans(vectors, len(self.counts), random)
        self.model.quantize.embedding.weight.copy_(centres)
        self.sums.copy_(centres)
        self.counts.fill_(1.0)
        for name, value in self.model.state_dict().items():
            self.average.weights[name].copy_(value)
        self.seeded = True

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

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """PSNR in dB, perceptual distance and number of codes used, on the validation images."""
        errors, distances, used = [], [], set[int]()
        with self.average.applied(self.model), self._autocast():
            for start in range(0, len(self.validation), 16):
                real = self._pixels(self.validation[start : start + 16])
                latents = self.model.latents(real).float()
                codes = self.model.quantize.nearest(latents)
                vectors = self.model.quantize.lookup(codes) if self.seeded else latents
                ours = self.model.reconstruct(vectors).clamp(0, 1)
                distances.append(float(critic.distance(self.trunk(ours), self.trunk(real))))
                errors.append((ours.float() - real).square().mean(dim=(1, 2, 3)))
                used |= set(codes.flatten().tolist())
        psnr = -10 * torch.log10(torch.cat(errors).clamp_min(1e-10))
        return {"val_psnr": float(psnr.mean()), "val_perceptual": float(np.mean(distances)), "val_codes": len(used)}

    def state(self) -> dict[str, Any]:
        """See `loop.Trainee.state`."""
        return super().state() | {
            "heads": self.heads.state_dict(),
            "counts": self.counts,
            "sums": self.sums,
            "seeded": self.seeded,
            "frozen": self.frozen,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """See `loop.Trainee.restore`."""
        super().restore(state)
        self.heads.load_state_dict(state["heads"])
        self.counts.copy_(state["counts"])
        self.sums.copy_(state["sums"])
        self.seeded = state["seeded"]
        if state["frozen"]:
            self._freeze_codes()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16)


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
