"""References: what evaluation needs of a set of real images, without the images but for thumbnails of 32 px.

A bundle keeps them as parts ``reference-<name>``: what observers say of each image, labels, view, sex, age, and
patients as hashed numbers. A reference of training images also holds what the observers say of them after the
tokenizer, so that figures have floors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import niqe
from medsynth_cli.metrics.comparison import label_truth
from medsynth_cli.metrics.imagesets import ImageSet
from medsynth_cli.metrics.observers import MEMORY
from medsynth_cli.recognition import features, judges
from medsynth_cli.runtime import bundles
from medsynth_cli.tokens import tokenizer

if TYPE_CHECKING:
    from medsynth_cli.files.records import Record
    from medsynth_cli.recognition.observers import Observer
    from medsynth_cli.runtime.bundles import Bundle

PREFIX = "reference-"
SEXES = ("M", "F")
UNKNOWN = -1
FACTS = ("truth", "view", "sex", "age", "patient")
"""Tensors that are facts about the images; all others are what observers say."""


def write(
    images: ImageSet,
    observers: Sequence[Observer],
    bundle: Bundle,
    name: str,
    labels: Sequence[str],
    training: bool = False,
) -> None:
    """Write the part ``reference-<name>`` into a bundle.

    Args:
        images: the real images.
        observers: what they say is kept.
        bundle: opened by `bundles.create`.
        name: of the reference.
        labels: names of the L labels.
        training: whether the bundle was trained with the images.
    """
    images.observe(observers)
    views = sorted({view for view in images.field("view") if view})
    ages = [float(age) if _known(age) else UNKNOWN for age in images.field("age")]
    patients = [patient_number(meta) for meta in images.meta]
    truth = label_truth(images, labels)
    tensors = {
        "truth": torch.from_numpy(truth).to(torch.int8),
        "view": _codes(images.field("view"), views),
        "sex": _codes(images.field("sex"), SEXES),
        "age": torch.tensor(ages),
        "patient": torch.tensor(patients),
    }
    tensors |= {observer.name: torch.from_numpy(images.of(observer)) for observer in observers}
    config: dict[str, Any] = {
        "name": name,
        "images": len(images),
        "labels": list(labels),
        "views": views,
        "training": training,
    }
    config |= _made_with(bundle)
    bundles.write_part(bundle, PREFIX + name, tensors, config)


def load(bundle: Bundle, name: str) -> ImageSet:
    """Read the reference ``name`` of a bundle.

    Raises:
        MedsynthError: there is none of that name, or it was made with other networks than the bundle has.
    """
    part = PREFIX + name
    if part not in bundle.parts():
        known = ", ".join(names(bundle)) or "none"
        raise MedsynthError(f"bundle {bundle.name} has no reference {name!r}", f"it has: {known}; or name real images")
    config, stored = bundle.config(part), bundle.weights(part)
    if any(config.get(key) != value for key, value in _made_with(bundle).items()):
        raise MedsynthError(f"bundle {bundle.name}: reference {name} was made with other networks", "build it again")
    facts = {key: stored.pop(key).tolist() for key in FACTS}
    meta = [
        {
            "id": f"{name}-{index:05d}",
            "patient": str(facts["patient"][index]),
            "labels": [label for label, there in zip(config["labels"], facts["truth"][index], strict=True) if there],
            "view": _decoded(facts["view"][index], config["views"]),
            "sex": _decoded(facts["sex"][index], SEXES),
            "age": None if facts["age"][index] == UNKNOWN else facts["age"][index],
        }
        for index in range(config["images"])
    ]
    return ImageSet(f"{bundle.name}:{name}", meta, {key: value.numpy() for key, value in stored.items()})


def names(bundle: Bundle) -> list[str]:
    """Names of the references in a bundle."""
    return sorted(part.removeprefix(PREFIX) for part in bundle.parts() if part.startswith(PREFIX))


def is_training(bundle: Bundle, name: str) -> bool:
    """Whether a reference holds images that the bundle was trained with."""
    return bool(bundle.config(PREFIX + name).get("training"))


def _made_with(bundle: Bundle) -> dict[str, str | None]:
    """Hashes of the networks, and of NIQE's own parameters, whose results a reference holds."""
    parts, used = bundle.parts(), (features.PART, judges.PART, tokenizer.PART, niqe.PART, MEMORY)
    return {f"{part}_sha256": parts[part]["sha256"] if part in parts else None for part in used}


def _codes(values: Sequence[Any], names: Sequence[str]) -> torch.Tensor:
    return torch.tensor([names.index(v) if v in names else UNKNOWN for v in values], dtype=torch.int8)


def _decoded(code: int, names: Sequence[str]) -> str | None:
    return None if code == UNKNOWN else names[code]


def _known(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def patient_number(meta: Record) -> int:
    """A number that stands for the patient of an image, or for the image where no patient is known; 64 bits."""
    name = str(meta.get("patient") or f"image {meta['id']}")
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
