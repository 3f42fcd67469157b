"""Sharpening of the tokenizer's decoder against an adversary.

Encoder and codebook stay as they are, so that codes, and with them codebook and generator, keep their meaning.
Beside images that are compared with their round trip, the decoder sees codes that the bundle's generator wrote,
for which only the adversary has an opinion: otherwise it would meet their small inconsistencies unprepared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medsynth_cli.runtime import devices
from medsynth_cli.tokens import tokenizer as tokenizers
from medsynth_cli.tokens.vqgan import VqganConfig
from medsynth_cli.training import critic
from medsynth_cli.training.augment import jitter
from medsynth_cli.training.loop import batch_indices, cosine, draws, set_rate
from medsynth_cli.training.tokenizer import VqganTrainee

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALONE = 0.1
"""Share of the steps in which the adversary learns before it has a say, and in which its say then grows."""


@dataclass(frozen=True)
class DecoderOptions:
    """Settings of a run.

    Attributes:
        perceptual_weight: of the distance of features, beside that of pixels.
        adversary_weight: size of the adversary's gradient, as a multiple of that of the other losses.
        written: images written by the generator in each batch, beside the ``batch_size`` real ones; 0 does
            without a generator.
        written_of: how many of them are made, for as many training images.
        crop_px: side of the squares that are compared by features and shown to the adversary.
        blend: how far the exported decoder lies from the one that the run started from, as a fraction of the way
            to the trained one: between an exact and a sharp decoder of the same codes, every point of the line
            is a decoder of its own (Wortsman et al. 2022, arXiv 2109.01903).
        sharpen: amount of unsharp masking that the bundle's decoded images get; training is without.
    """

    steps: int = 850
    batch_size: int = 8
    learning_rate: float = 2e-4
    perceptual_weight: float = 0.5
    adversary_weight: float = 2.0
    written: int = 4
    written_of: int = 1024
    crop_px: int = 128
    average_decay: float = 0.995
    blend: float = 0.75
    sharpen: float = 0.5
    seed: int = 0


class DecoderTrainee(VqganTrainee):
    """A trained tokenizer and the adversary of its decoder.

    Args:
        train: uint8 ``(N, H, W)``.
        validation: uint8 ``(M, H, W)``.
        config: shape of the network.
        start: weights of the trained tokenizer.
        written: codes that the generator wrote, ``(S, g, g)``; S may be 0 where ``options.written`` is.
        options: settings of the run.
        device: where to train.
    """

    def __init__(
        self,
        train: NDArray[np.uint8],
        validation: NDArray[np.uint8],
        config: VqganConfig,
        start: dict[str, Tensor],
        written: NDArray[np.uint16],
        options: DecoderOptions,
        device: torch.device,
    ) -> None:
        super().__init__(train, validation, config, device, options.seed, options.average_decay, start)
        self.written, self.options = written, options
        self.start = {name: value.clone() for name, value in self.average.weights.items()}
        self.model.requires_grad_(False)
        self.trained = [*self.model.post_quant_conv.parameters(), *self.model.decoder.parameters()]
        for weight in self.trained:
            weight.requires_grad_(True)
        self.heads = critic.Heads().to(device)
        self.optimisers = [
            torch.optim.AdamW(self.trained, betas=(0.9, 0.98), weight_decay=1e-4),
            torch.optim.AdamW(self.heads.parameters(), lr=4e-4, betas=(0.5, 0.99), weight_decay=0),
        ]

    def step(self, step: int) -> dict[str, float]:
        """One step of the decoder and one of its adversary."""
        options, random = self.options, draws(self.options.seed, step)
        batch = batch_indices(len(self.images), options.batch_size, options.seed, step)
        real = jitter(self._pixels(self.images[batch]), random)
        with devices.autocast(self.device):
            codes = self.model.encode(real).clone()
            if options.written:
                chosen = self.written[random.integers(0, len(self.written), options.written)]
                codes = torch.cat([codes, torch.from_numpy(chosen.astype(np.int64)).to(self.device)])
            ours = self.model.reconstruct(self.model.quantize.lookup(codes))
        gradient, losses = self._output_gradient(ours.detach().requires_grad_(), real, random, step)
        optimiser, _ = self.optimisers
        set_rate(optimiser, cosine(step, options.steps, options.learning_rate, 50, 0.1))
        optimiser.zero_grad(set_to_none=True)
        ours.backward(gradient)
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        optimiser.step()
        self.average.update(self.model, step)
        return losses

    def _output_gradient(
        self, leaf: Tensor, real: Tensor, random: np.random.Generator, step: int
    ) -> tuple[Tensor, dict[str, float]]:
        """Gradient of all losses with respect to the output ``leaf``, whose first images belong to ``real``."""
        options, count = self.options, len(real)
        window = critic.window(real.shape[-1], options.crop_px, random)
        with devices.autocast(self.device):
            with torch.no_grad():
                features_real = self.trunk(real[window])
            features = self.trunk(leaf[window])
        pixel = critic.pixel_loss(leaf[:count], real)
        perceptual = critic.distance([level[:count] for level in features], features_real)
        gradient = torch.autograd.grad(pixel + options.perceptual_weight * perceptual, leaf, retain_graph=True)[0]
        discriminator = self._train_heads(features_real, [level.detach() for level in features])
        self.heads.requires_grad_(False)
        pull = torch.autograd.grad(critic.generator_loss(self.heads(features)), leaf)[0]
        self.heads.requires_grad_(True)
        ramp = float(np.clip((step / options.steps - ALONE) / ALONE, 0, 1))
        scale = options.adversary_weight * ramp * gradient.norm() / pull[:count].norm().clamp_min(1e-12)
        return gradient + scale * pull, {
            "l1": float(F.l1_loss(leaf[:count].detach(), real)),
            "perceptual": float(perceptual.detach()),
            "discriminator": discriminator,
        }

    def _train_heads(self, real: list[Tensor], ours: list[Tensor]) -> float:
        loss = critic.discriminator_loss(self.heads(real), self.heads(ours))
        _, optimiser = self.optimisers
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    def export(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights, blended with those that the run started from, and configuration of the bundle part."""
        weights = dict(self.start)  # what gives codes their meaning stays, to the bit
        for name, trained in self.average.weights.items():
            if not name.startswith(tokenizers.CODES):
                weights[name] = torch.lerp(weights[name], trained, self.options.blend)
        return tokenizers.export(weights, replace(self.model.config, sharpen=self.options.sharpen))

    def state(self) -> dict[str, Any]:
        """See `loop.Trainee.state`."""
        return super().state() | {"heads": self.heads.state_dict(), "start": self.start}

    def restore(self, state: dict[str, Any]) -> None:
        """See `loop.Trainee.restore`."""
        super().restore(state)
        self.heads.load_state_dict(state["heads"])
        self.start = state["start"]
