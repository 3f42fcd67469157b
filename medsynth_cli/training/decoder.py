"""Sharpening of the tokenizer's decoder.

Encoder and codebook stay as they are, to the bit, so that codes, and with them codebook and generator, keep
their meaning. Beside pixels and features place by place, two things can pull at the decoder: an adversary,
for crispness, and the features' means over the image, for being taken for the same kind of image as the real
one. Both cost a little exactness, so that the exported decoder may lie between the first and the last one.
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
from medsynth_cli.training import critic
from medsynth_cli.training.augment import jitter
from medsynth_cli.training.loop import batch_indices, cosine, draws, set_rate
from medsynth_cli.training.tokenizer import VqganTrainee

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.tokens.vqgan import VqganConfig

ALONE = 0.1
"""Share of the steps in which the adversary learns before it has a say, and in which its say then grows."""


@dataclass(frozen=True)
class DecoderOptions:
    """Settings of a run.

    Attributes:
        perceptual_weight: of the distance of features, place by place, beside that of pixels.
        pooled_weight: of the distance of the features' means over the image.
        adversary_weight: size of the adversary's gradient, as a multiple of that of the other losses; 0 is none.
        crop_px: side of the squares that features are taken of.
        blend: how far the exported decoder lies from the one that the run started from, as a fraction of the way
            to the trained one: between two decoders of the same codes, every point of the line is a decoder of
            its own (Wortsman et al. 2022, arXiv 2109.01903).
    """

    steps: int = 200
    batch_size: int = 8
    learning_rate: float = 1.5e-4
    perceptual_weight: float = 0.5
    pooled_weight: float = 1.0
    adversary_weight: float = 0.0
    crop_px: int = 256
    average_decay: float = 0.97
    blend: float = 0.5
    seed: int = 0


class DecoderTrainee(VqganTrainee):
    """A trained tokenizer and the adversary of its decoder.

    Args:
        train: uint8 ``(N, H, W)``.
        validation: uint8 ``(M, H, W)``.
        config: shape of the network.
        start: weights of the trained tokenizer.
        options: settings of the run.
        device: where to train.
    """

    def __init__(
        self,
        train: NDArray[np.uint8],
        validation: NDArray[np.uint8],
        config: VqganConfig,
        start: dict[str, Tensor],
        options: DecoderOptions,
        device: torch.device,
    ) -> None:
        super().__init__(train, validation, config, device, options.seed, options.average_decay, start)
        self.options = options
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
        """One step of the decoder, and one of its adversary if it has one."""
        options, random = self.options, draws(self.options.seed, step)
        batch = batch_indices(len(self.images), options.batch_size, options.seed, step)
        real = jitter(self._pixels(self.images[batch]), random)
        with devices.autocast(self.device):
            codes = self.model.encode(real).clone()  # one that gradients may pass
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

    def export(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights, blended with those that the run started from, and configuration of the bundle part."""
        weights = dict(self.start)
        for name, trained in self.average.weights.items():
            if not name.startswith(tokenizers.CODES):
                weights[name] = torch.lerp(weights[name], trained, self.options.blend)
        return tokenizers.export(weights, self.model.config)

    def state(self) -> dict[str, Any]:
        """See `loop.Trainee.state`."""
        return super().state() | {"heads": self.heads.state_dict(), "start": self.start}

    def restore(self, state: dict[str, Any]) -> None:
        """See `loop.Trainee.restore`."""
        super().restore(state)
        self.heads.load_state_dict(state["heads"])
        self.start = state["start"]

    def _output_gradient(
        self, leaf: Tensor, real: Tensor, random: np.random.Generator, step: int
    ) -> tuple[Tensor, dict[str, float]]:
        """Gradient of all losses with respect to the output ``leaf``."""
        options = self.options
        window = critic.window(real.shape[-1], options.crop_px, random)
        with devices.autocast(self.device):
            with torch.no_grad():
                features_real = self.trunk(real[window])
            features = self.trunk(leaf[window])
        perceptual, pooled = critic.distance(features, features_real), critic.pooled_distance(features, features_real)
        loss = critic.pixel_loss(leaf, real) + options.perceptual_weight * perceptual + options.pooled_weight * pooled
        gradient = torch.autograd.grad(loss, leaf, retain_graph=options.adversary_weight > 0)[0]
        losses = {
            "l1": float(F.l1_loss(leaf.detach(), real)),
            "perceptual": float(perceptual.detach()),
            "pooled": float(pooled.detach()),
        }
        if options.adversary_weight > 0:
            losses["discriminator"] = self._train_heads(features_real, [level.detach() for level in features])
            gradient = gradient + self._adversary(features, leaf, gradient, step)
        return gradient, losses

    def _adversary(self, features: list[Tensor], leaf: Tensor, others: Tensor, step: int) -> Tensor:
        """The adversary's gradient with respect to ``leaf``, scaled to the size of that of the ``others``."""
        self.heads.requires_grad_(False)
        pull = torch.autograd.grad(critic.generator_loss(self.heads(features)), leaf)[0]
        self.heads.requires_grad_(True)
        say = self.options.adversary_weight * float(np.clip((step / self.options.steps - ALONE) / ALONE, 0, 1))
        return say * others.norm() / pull.norm().clamp_min(1e-12) * pull

    def _train_heads(self, real: list[Tensor], ours: list[Tensor]) -> float:
        loss = critic.discriminator_loss(self.heads(real), self.heads(ours))
        _, optimiser = self.optimisers
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return float(loss.detach())
