"""Training of the judge: EfficientNet-Lite0 from ImageNet, fine-tuned to name findings.

Few images and noisy labels (one in ten of ChestX-ray14's is wrong) ask for the same thing: stay close to
ImageNet. Layers nearer the pixels learn more slowly, labels are softened, features and whole blocks are
dropped at random, and the average of the weights is what the bundle gets.

The running statistics of batch normalisation are set to those of radiographs before the first step and
stay there: small batches estimate them badly, and a network that sees the same statistics while learning
and while judging does not depend on its batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medsynth_cli.metrics import auroc
from medsynth_cli.recognition import trunks
from medsynth_cli.training.augment import jitter
from medsynth_cli.training.loop import Average, Trainee, batch_indices, cosine, draws, set_rate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

TRUNK = "lite0"
STAGES = ("conv_stem", "bn1", *(f"blocks.{number}" for number in range(7)), "conv_head", "bn2", "classifier")
"""Names of the trunk's layers from the pixels to the labels, for their learning rates."""


@dataclass(frozen=True)
class JudgeOptions:
    """Settings of a run.

    ``steps * batch_size`` images are seen; ``size_px`` is the side the network sees, while training and
    later. The rate of a layer is ``learning_rate * layer_decay ** (layers between it and the labels)``.
    A positive counts ``(negatives / positives) ** positive_power`` times, at most ``positive_most``.
    """

    steps: int = 1250
    batch_size: int = 16
    size_px: int = 224
    learning_rate: float = 2e-4
    layer_decay: float = 0.8
    weight_decay: float = 0.02
    warmup: int = 50
    drop_rate: float = 0.3
    drop_path_rate: float = 0.1
    label_smoothing: float = 0.05
    positive_power: float = 0.5
    positive_most: float = 5.0
    mirror: bool = True
    average_decay: float = 0.99
    seed: int = 0


class JudgeTrainee(Trainee[nn.Module]):
    """The classifier and its data, for `loop.run`.

    Args:
        train: uint8 ``(N, H, W)``.
        train_labels: float32 ``(N, L)``, 0 or 1.
        validation: uint8 ``(M, H, W)``.
        validation_labels: float32 ``(M, L)``.
        labels: the names of the L labels.
        options: settings of the run.
        device: where to train.
    """

    def __init__(
        self,
        train: NDArray[np.uint8],
        train_labels: NDArray[np.float32],
        validation: NDArray[np.uint8],
        validation_labels: NDArray[np.float32],
        labels: tuple[str, ...],
        options: JudgeOptions,
        device: torch.device,
    ) -> None:
        torch.manual_seed(options.seed)
        self.images, self.truth = train, torch.from_numpy(train_labels).float().to(device)
        self.validation, self.validation_truth = validation, validation_labels
        self.labels, self.options, self.device = labels, options, device
        self.model = _classifier(len(labels), options).to(device).to(memory_format=torch.channels_last)
        self._calibrate()
        self.weight = positive_weights(self.truth, options.positive_power, options.positive_most)
        self.optimisers = [torch.optim.AdamW(list(_groups(self.model, options)), betas=(0.9, 0.98))]
        self.average = Average(self.model, options.average_decay)

    def step(self, step: int) -> dict[str, float]:
        """One optimiser step on one batch."""
        options, random = self.options, draws(self.options.seed, step)
        batch = batch_indices(len(self.images), options.batch_size, options.seed, step)
        pixels = jitter(self._pixels(self.images[batch]), random, shift=0.06, zoom=0.1, tone=0.3)
        if options.mirror:
            turned = torch.as_tensor(random.random(len(batch)) < 0.5, device=self.device).view(-1, 1, 1, 1)
            pixels = torch.where(turned, pixels.flip(-1), pixels)
        truth = self.truth[torch.as_tensor(batch, device=self.device)]
        soft = truth * (1 - options.label_smoothing) + options.label_smoothing * truth.new_tensor(0.1)
        torch.manual_seed(int(random.integers(2**31)))
        self.model.train()
        _freeze_statistics(self.model)
        with self._autocast():
            logits = self.model(trunks.normalise(pixels).contiguous(memory_format=torch.channels_last)).float()
        loss = F.binary_cross_entropy_with_logits(logits, soft, pos_weight=self.weight)
        (optimiser,) = self.optimisers
        set_rate(optimiser, cosine(step, options.steps, options.learning_rate, options.warmup))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        optimiser.step()
        self.average.update(self.model, step)
        return {"loss": float(loss.detach())}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Macro AUROC of the averaged weights on the validation images, over labels seen both ways there."""
        with self.average.applied(self.model), self._autocast():
            parts = torch.from_numpy(self.validation).split(16)
            found = [self.model(trunks.normalise(self._pixels(part.numpy()))).float() for part in parts]
        return {"val_auroc": auroc.macro(torch.cat(found).cpu().numpy(), self.validation_truth)}

    def export(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The averaged weights and the config of a bundle's part ``judge``; see `recognition.judges`."""
        config = {"trunk": TRUNK, "labels": list(self.labels), "size_px": self.options.size_px}
        return dict(self.average.weights), config

    @torch.no_grad()
    def _calibrate(self) -> None:
        """Set the statistics of batch normalisation to those of up to 256 training images."""
        layers = [module for module in self.model.modules() if isinstance(module, nn.BatchNorm2d)]
        usual = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # a plain mean over the batches below
            layer.train()
        chosen = self.images[:: max(1, len(self.images) // 256)][:256]
        for start in range(0, len(chosen), 32):
            with self._autocast():
                self.model(trunks.normalise(self._pixels(chosen[start : start + 32])))
        for layer, momentum in zip(layers, usual, strict=True):
            layer.momentum = momentum

    def _pixels(self, images: NDArray[np.uint8]) -> Tensor:
        return trunks.resized(torch.from_numpy(np.ascontiguousarray(images)).to(self.device), self.options.size_px)

    def _autocast(self) -> torch.autocast:
        """Half precision where it is faster: on CPUs depthwise convolutions in bfloat16 take half as long again."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type != "cpu")


def positive_weights(truth_NL: Tensor, power: float, most: float) -> Tensor:
    """How much a positive of each label counts, ``(L,)``: ``(negatives / positives) ** power``, 1 to ``most``."""
    positives = truth_NL.sum(0)
    return ((len(truth_NL) - positives) / positives.clamp_min(1)).pow(power).clamp(1, most)


def _classifier(labels: int, options: JudgeOptions) -> nn.Module:
    model: Any = trunks.imagenet(
        TRUNK, num_classes=0, drop_rate=options.drop_rate, drop_path_rate=options.drop_path_rate
    )
    model.reset_classifier(labels)
    return model


def _groups(model: nn.Module, options: JudgeOptions) -> Iterator[dict[str, Any]]:
    """Parameters by stage; matrices decay, biases and scales do not."""
    for depth, stage in enumerate(reversed(STAGES)):
        named = [(name, p) for name, p in model.named_parameters() if name.startswith(stage + ".")]
        for decays in (True, False):
            chosen = [p for _, p in named if (p.ndim > 1) is decays]
            if chosen:
                decay = options.weight_decay if decays else 0.0
                yield {"params": chosen, "scale": options.layer_decay**depth, "weight_decay": decay}


def _freeze_statistics(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
