"""Feature extractors by name: what distances between sets of images are measured on, one file each."""

from __future__ import annotations

import hashlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medsynth_cli.errors import MedsynthError

if TYPE_CHECKING:
    import torch

    from medsynth_cli.recognition.observers import Observer
    from medsynth_cli.runtime.bundles import Bundle

EXTRACTORS = {
    "effnet": "medsynth_cli.recognition.extractors.effnet:EXTRACTOR",
    "inception": "medsynth_cli.recognition.extractors.inception:EXTRACTOR",
    "judge": "medsynth_cli.recognition.extractors.judge:EXTRACTOR",
    "xrv": "medsynth_cli.recognition.extractors.xrv:EXTRACTOR",
    "clip": "medsynth_cli.recognition.extractors.clip:EXTRACTOR",
    "hub": "medsynth_cli.recognition.extractors.hub:EXTRACTOR",
}
"""Name of an extractor -> ``module:object``, an `Extractor`."""


@dataclass(frozen=True)
class Extractor:
    """A kind of feature extractor.

    Attributes:
        label: what figures on it are named after: ``EffNet`` in ``FD-EffNet``.
        load: bundle, device, model -> the observer that says the features ``(D,)`` of an image. It raises
            MedsynthError where it cannot be had.
        model: the model that is meant by the name alone; ``""`` if one has to be named, as in ``hub:<model>``; None
            if it takes none.
        figures: figures that everybody calls otherwise on it: their names -> the usual ones.
    """

    label: str
    load: Callable[[Bundle, torch.device, str], Observer]
    model: str | None = None
    figures: Mapping[str, str] = field(default_factory=dict)


def load(name: str, bundle: Bundle, device: torch.device) -> Observer:
    """The observer of an extractor in `EXTRACTORS`, or of a model: ``hub:<model>``.

    Raises:
        MedsynthError: there is no such extractor, or it cannot be had here.
    """
    extractor, model = find(name)
    return extractor.load(bundle, device, model)


def find(name: str) -> tuple[Extractor, str]:
    """The extractor and the model that ``name`` or ``name:model`` means; the model is empty where it takes none.

    Raises:
        MedsynthError: there is no such extractor, or it needs a model or takes none.
    """
    kind, colon, model = name.partition(":")
    if kind not in EXTRACTORS:
        raise MedsynthError(f"no extractor {name!r}", f"known: {known()}")
    extractor: Extractor = pkgutil.resolve_name(EXTRACTORS[kind])
    if colon and extractor.model is None:
        raise MedsynthError(f"extractor {kind} takes no model", f"name it {kind}")
    if (colon or extractor.model == "") and not model:
        raise MedsynthError(f"extractor {name} names no model", f"as in {kind}:OWNER/NAME, or {kind}:FOLDER")
    return extractor, model or extractor.model or ""


def known() -> str:
    """The names to choose from, for people."""
    return ", ".join([*EXTRACTORS][:-1]) + ", clip:<model>, hub:<model>"


def figure_name(figure: str, name: str) -> str:
    """The name of a figure on an extractor: ``FD-EffNet``, but ``FID`` where that is what everybody calls it."""
    extractor, model = find(name)
    usual = extractor.figures.get(figure)
    if ":" in name:
        return f"{usual or figure}-{model}"
    return usual or f"{figure}-{extractor.label}"


def weights_sha256(model: Any) -> str:
    """Hash of a model's weights: a hub id, a folder or a file may hold others tomorrow."""
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode() + value.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()
