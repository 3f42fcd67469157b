"""Training of the word-patch aligner on image-report pairs.

A report gives words that its image must match (asserted findings, with their side where one is said) and
words that it must not (denied ones, and findings it does not mention). Each pair of image and word is a
yes-or-no question about the image's best patches (sigmoid loss, Zhai et al. 2023, arXiv 2303.15343), so
that two images with the same finding do not repel each other. Where a radiologist drew a box, the best
patches are also asked to lie in it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medsynth_cli.alignment.aligner import Aligner, AlignerConfig
from medsynth_cli.recognition import trunks
from medsynth_cli.runtime import devices
from medsynth_cli.training.loop import Average, Trainee, batch_indices, cosine, draws, set_rate

if TYPE_CHECKING:
    from numpy.typing import NDArray

FROZEN = ("conv_stem", "bn1", "blocks.0", "blocks.1", "blocks.2")
"""Layers of the trunk that stay as ImageNet made them: at strides 2 to 8, where most of the time goes."""
POOL = 10.0
"""Sharpness of the soft maximum over patches."""


@dataclass(frozen=True)
class AlignerOptions:
    """Settings of a run."""

    steps: int = 900
    batch_size: int = 16
    learning_rate: float = 2e-3
    trunk_rate: float = 0.15
    box_weight: float = 0.5
    average_decay: float = 0.995
    seed: int = 0


@dataclass(frozen=True)
class AlignerData:
    """Images and what their reports say of each phrase.

    Attributes:
        images: uint8 ``(N, H, W)``.
        targets: float32 ``(N, P)``: 1 asserted, 0 not there, NaN unknown.
        boxes: float32 ``(N, P, g, g)``: fraction of each patch inside a box of the phrase; all 0 without one.
    """

    images: NDArray[np.uint8]
    targets: NDArray[np.float32]
    boxes: NDArray[np.float16]


class AlignerTrainee(Trainee[Aligner]):
    """The aligner and its data.

    Args:
        train: training images.
        validation: validation images.
        phrases: the P phrases of the targets.
        config: shape of the aligner.
        options: settings of the run.
        device: where to train.
    """

    def __init__(
        self,
        train: AlignerData,
        validation: AlignerData,
        phrases: list[str],
        config: AlignerConfig,
        options: AlignerOptions,
        device: torch.device,
    ) -> None:
        torch.manual_seed(options.seed)
        self.train, self.validation, self.phrases = train, validation, phrases
        self.options, self.device = options, device
        trunk = trunks.imagenet_features(config.trunk, (3, 4))
        self.model = Aligner(config, trunk).to(device).to(memory_format=torch.channels_last)
        for name, parameter in self.model.trunk.named_parameters():
            parameter.requires_grad_(not name.startswith(FROZEN))
        inside = [p for p in self.model.trunk.parameters() if p.requires_grad]
        outside = [p for name, p in self.model.named_parameters() if not name.startswith("trunk.")]
        groups = [{"params": inside, "scale": options.trunk_rate}, {"params": outside, "scale": 1.0}]
        self.optimisers = [torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.02)]
        self.average = Average(self.model, options.average_decay)
        known_targets = np.nan_to_num(train.targets)
        rate = known_targets.sum(0) / np.maximum(1, (~np.isnan(train.targets)).sum(0))
        self.weight = torch.from_numpy(np.clip(0.3 / np.maximum(rate, 1e-3), 1, 8).astype(np.float32)).to(device)

    def step(self, step: int) -> dict[str, float]:
        """One optimiser step on one batch."""
        options, random = self.options, draws(self.options.seed, step)
        rows = batch_indices(len(self.train.images), options.batch_size, options.seed, step)
        real = self._pixels(self.train.images[rows])
        real = (real * float(random.uniform(0.85, 1.15)) + float(random.uniform(-0.08, 0.08))).clamp(0, 1)
        # Batch-norm statistics stay those of ImageNet: batches are small.
        self.model.train()
        self.model.trunk.eval()
        scores = self._scores(real)
        targets = torch.from_numpy(self.train.targets[rows]).to(self.device)
        boxes = torch.from_numpy(self.train.boxes[rows].astype(np.float32)).to(self.device)
        word_loss, box_loss = self._word_loss(scores, targets), self._box_loss(scores, boxes)
        loss = word_loss + options.box_weight * box_loss
        (optimiser,) = self.optimisers
        set_rate(optimiser, cosine(step, options.steps, options.learning_rate, 50))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        optimiser.step()
        self.average.update(self.model, step)
        return {"words": float(word_loss.detach()), "boxes": float(box_loss.detach())}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """AUROC of phrases on validation images, and how often the best patch lies in a box."""
        from medsynth_cli.metrics.auroc import auroc

        with self.average.applied(self.model):
            parts = [
                self._scores(self._pixels(self.validation.images[start : start + 16])).float().cpu()
                for start in range(0, len(self.validation.images), 16)
            ]
        scores = torch.cat(parts)
        best = pool(scores).numpy()
        areas = []
        for number in range(len(self.phrases)):
            target = self.validation.targets[:, number]
            known = ~np.isnan(target)
            if 0 < target[known].sum() < known.sum():
                areas.append(auroc(best[known, number], target[known] > 0))
        boxes = torch.from_numpy(self.validation.boxes.astype(np.float32))
        boxed = boxes.sum(dim=(2, 3)) > 0
        peaks = scores.flatten(2).argmax(-1, keepdim=True)
        hits = boxes.flatten(2).gather(2, peaks)[..., 0] > 0
        return {"val_auroc": float(np.mean(areas)), "val_pointing": float(hits[boxed].float().mean())}

    def export(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights and configuration of the bundle part."""
        return self.average.weights, asdict(self.model.config)

    def _scores(self, pixels: Tensor) -> Tensor:
        """Logits of every phrase at every patch: ``(B, P, g, g)``."""
        with devices.autocast(self.device):
            patches = self.model.encode_patches(pixels)
            words = self.model.encode_words(self.phrases)
        cosines = self.model.match(patches.float(), words.float())
        return cosines * self.model.log_scale.exp() + self.model.bias

    def _word_loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        known = ~targets.isnan()
        wanted = targets.nan_to_num()
        loss = F.binary_cross_entropy_with_logits(pool(scores), wanted, pos_weight=self.weight, reduction="none")
        return loss[known].mean()

    @staticmethod
    def _box_loss(scores: Tensor, boxes: Tensor) -> Tensor:
        """Cross-entropy between where the phrase is found and its box."""
        inside = boxes.sum(dim=(2, 3))
        if not (inside > 0).any():
            return scores.new_zeros(())
        log_share = scores.flatten(2).log_softmax(-1)
        share = boxes.flatten(2) / inside[..., None].clamp_min(1e-6)
        return -(share * log_share).sum(-1)[inside > 0].mean()


def pool(scores: Tensor) -> Tensor:
    """Soft maximum over patches: ``(B, P, g, g)`` -> ``(B, P)``."""
    flat = scores.flatten(2)
    weights = (flat.detach() * POOL / flat.detach().std(-1, keepdim=True).clamp_min(1e-3) / 4).softmax(-1)
    return (flat * weights).sum(-1)
