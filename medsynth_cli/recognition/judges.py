"""The judge of a bundle: which findings an image shows, by a classifier trained on real images only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from medsynth_cli.recognition import trunks
from medsynth_cli.recognition.observers import BATCH, Observer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from medsynth_cli.runtime.bundles import Bundle

PART = "judge"


FEATURES = "judge-features"


class Judge:
    """A multi-label classifier.

    Args:
        model: network input ``(B, 3, S, S)`` -> logits ``(B, L)``.
        labels: names of the L labels.
        size_px: S.
        device: where the model is.
        identity: hash of its weights.
    """

    def __init__(
        self, model: Any, labels: tuple[str, ...], size_px: int, device: torch.device, identity: str = ""
    ) -> None:
        self.model, self.labels, self.size_px, self.device = model.eval(), labels, size_px, device
        self.identity = identity

    def probabilities(self, images: NDArray[np.uint8], batch_size: int = BATCH) -> NDArray[np.float32]:
        """Probability of each label: uint8 ``(N, H, W)`` -> float32 ``(N, L)``, [0, 1].

        They rank images; they are not calibrated, since positives count more than negatives in training.
        """
        return self.observer(images, batch_size)

    @property
    def observer(self) -> Observer:
        """What says the probabilities ``(L,)`` of an image."""
        return Observer(PART, self.identity, lambda images: torch.sigmoid(self.model(self._input(images))), self.device)

    @property
    def features(self) -> Observer:
        """What says the pooled features ``(D,)`` that the probabilities are made from."""

        def forward(images: Tensor) -> Tensor:
            maps = self.model.forward_features(self._input(images))
            return self.model.forward_head(maps, pre_logits=True)

        return Observer(FEATURES, self.identity, forward, self.device)

    def _input(self, images: Tensor) -> Tensor:
        pixels = trunks.normalise(trunks.resized(images, self.size_px))
        return pixels.contiguous(memory_format=torch.channels_last)


def load(bundle: Bundle, device: torch.device) -> Judge:
    """The judge of a bundle, in float32.

    Raises:
        MedsynthError: the bundle has no judge.
    """
    config, weights = bundle.config(PART), bundle.weights(PART)
    model: Any = trunks.build(config["trunk"], num_classes=len(config["labels"]))
    model.load_state_dict(weights)
    model.to(device, memory_format=torch.channels_last).requires_grad_(False)
    return Judge(model, tuple(config["labels"]), int(config["size_px"]), device, bundle.part_sha256(PART))


def label_matrix(labels: Iterable[Iterable[str]], names: Sequence[str]) -> NDArray[np.float32]:
    """Which of ``names`` each image has: float32 ``(N, L)``, 0 or 1.

    Data sets write ``Pleural_Thickening`` with an underscore or a space; both are taken. Labels that are not
    among ``names`` are left out.
    """
    index = {_plain(name): column for column, name in enumerate(names)}
    rows = [[index[_plain(label)] for label in own if _plain(label) in index] for own in labels]
    matrix = np.zeros((len(rows), len(names)), np.float32)
    for row, columns in enumerate(rows):
        matrix[row, columns] = 1
    return matrix


def _plain(label: str) -> str:
    return label.replace("_", " ").casefold()
