"""The observers of an evaluation by name, each loaded when it is first asked for.

Feature extractors are rows of the table in `extractors`; ``round trip <name>`` is what an observer says of an image
after the bundle's tokenizer.
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from medsynth_cli.errors import MedsynthError
from medsynth_cli.recognition import extractors, judges
from medsynth_cli.recognition.observers import Observer
from medsynth_cli.runtime.conversion import to_images
from medsynth_cli.tokens import tokenizer

if TYPE_CHECKING:
    from medsynth_cli.runtime.bundles import Bundle

ROUND_TRIP = "round trip "


class Observers:
    """What looks at images in one evaluation.

    Args:
        bundle: where extractor, judge and tokenizer come from.
        device: where they compute.
    """

    def __init__(self, bundle: Bundle, device: torch.device) -> None:
        self.bundle, self.device = bundle, device
        self._extractors: dict[str, Observer | MedsynthError] = {}

    @functools.cached_property
    def judge(self) -> judges.Judge:
        """The bundle's judge."""
        return judges.load(self.bundle, self.device)

    def round_trip(self, observer: Observer) -> Observer:
        """What ``observer`` says of images after the tokenizer.

        Raises:
            MedsynthError: the bundle has no tokenizer.
        """
        identity = f"{observer.identity}|{self.bundle.part_sha256(tokenizer.PART)}"
        return Observer(ROUND_TRIP + observer.name, identity, lambda x: observer.forward(self._through(x)), self.device)

    def extractor(self, name: str) -> Observer:
        """The observer of an extractor, see `extractors.load`.

        Raises:
            MedsynthError: it cannot be had here.
        """
        if name not in self._extractors:
            try:
                self._extractors[name] = extractors.load(name, self.bundle, self.device)
            except MedsynthError as error:
                self._extractors[name] = error  # to fetch it may have taken long: not twice
        found = self._extractors[name]
        if isinstance(found, MedsynthError):
            raise found
        return found

    @functools.cached_property
    def _through(self) -> Any:
        return _Through(tokenizer.load(self.bundle, self.device))


class _Through:
    """Images after the tokenizer; the last batch is remembered, for several observers look at it in turn."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._digest, self._images = b"", torch.empty(0)

    def __call__(self, images: Tensor) -> Tensor:
        digest = hashlib.sha256(images.cpu().numpy().tobytes()).digest()
        if digest != self._digest:
            pixels = images[:, None].float() / 255
            decoded = to_images(self._model.decode(self._model.encode(pixels)))
            self._digest, self._images = digest, torch.from_numpy(decoded).to(images.device)
        return self._images
