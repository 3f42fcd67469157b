"""References: what evaluation needs of a set of real images, without the images.

A bundle keeps them as parts ``reference-<name>``: features, the judge's probabilities, labels, view, sex, age,
NIQE, and patients as hashed numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import datasets
from medsynth_cli.recognition import features, judges
from medsynth_cli.runtime import bundles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.files.datasets import Item
    from medsynth_cli.runtime.bundles import Bundle

PREFIX = "reference-"
SEXES = ("M", "F")
UNKNOWN = -1


@dataclass(frozen=True)
class Reference:
    """Real images as evaluation sees them.

    Attributes:
        name: for people.
        features: float32 ``(N, D)`` of the bundled extractor.
        probabilities: float32 ``(N, L)`` by the judge; None if the bundle has no judge.
        truth: float32 ``(N, L)``, 0 or 1.
        labels: names of the L labels.
        views, sexes: values of the fields ``view``, ``sex``, None where unknown.
        ages: years, float32 ``(N,)``, NaN where unknown.
        patients: int64 ``(N,)``, hashed; every image without a patient has a number of its own.
        niqe: ``(N,)``, or None if it was not computed.
        images: uint8 ``(N, H, W)``, or None in a bundled reference.
    """

    name: str
    features: NDArray[np.float32]
    probabilities: NDArray[np.float32] | None
    truth: NDArray[np.float32]
    labels: tuple[str, ...]
    views: tuple[str | None, ...]
    sexes: tuple[str | None, ...]
    ages: NDArray[np.float32]
    patients: NDArray[np.int64]
    niqe: NDArray[np.float64] | None = None
    images: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.features)


def measure(
    images: NDArray[np.uint8],
    records: Sequence[dict[str, Any]],
    bundle: Bundle,
    name: str,
    device: torch.device,
    labels: Sequence[str],
) -> Reference:
    """Look at real images with the networks of a bundle.

    Args:
        images: uint8 ``(N, H, W)``, N >= 1.
        records: their N metadata, with the shared field names.
        bundle: has the parts ``features`` and, if findings are to be judged, ``judge``.
        name: for people.
        device: where the networks compute.
        labels: label names, used if there is no judge to say them.
    """
    probabilities = None
    if judges.PART in bundle.parts():
        judge = judges.load(bundle, device)
        labels, probabilities = judge.labels, judge.probabilities(images)
    ages = [float(record["age"]) if _known(record.get("age")) else np.nan for record in records]
    return Reference(
        name=name,
        features=features.load(bundle, device)(images),
        probabilities=probabilities,
        truth=judges.label_matrix([record.get("labels") or [] for record in records], labels),
        labels=tuple(labels),
        views=tuple(record.get("view") or None for record in records),
        sexes=tuple(record["sex"] if record.get("sex") in SEXES else None for record in records),
        ages=np.array(ages, np.float32),
        patients=np.array([_hash(record.get("patient") or f"image {record.get('id')}") for record in records]),
        images=images,
    )


def build(
    items: Iterable[Item], bundle: Bundle, name: str, device: torch.device, size_px: int, labels: Sequence[str]
) -> None:
    """Measure real images and write the part ``reference-<name>`` into a bundle.

    Args:
        items: real images with their metadata.
        bundle: opened by `bundles.create`.
        name: of the reference.
        device: where the networks compute.
        size_px: side of the images as the bundle makes them.
        labels: label names, used if the bundle has no judge.
    """
    from medsynth_cli.metrics import niqe

    kept = list(items)
    images = datasets.stack(kept, size_px)
    found = measure(images, [{"id": item.id} | item.meta for item in kept], bundle, name, device, labels)
    views = sorted({view for view in found.views if view is not None})
    tensors = {
        "features": torch.from_numpy(found.features),
        "truth": torch.from_numpy(found.truth).to(torch.int8),
        "view": _codes(found.views, views),
        "sex": _codes(found.sexes, SEXES),
        "age": torch.from_numpy(np.nan_to_num(found.ages, nan=UNKNOWN)),
        "patient": torch.from_numpy(found.patients),
        "niqe": torch.from_numpy(niqe.values(images)),
    }
    if found.probabilities is not None:
        tensors["probabilities"] = torch.from_numpy(found.probabilities)
    config = {"name": name, "images": len(found), "labels": list(found.labels), "views": views} | _made_with(bundle)
    bundles.write_part(bundle, PREFIX + name, tensors, config)


def load(bundle: Bundle, name: str) -> Reference:
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
    view, sex = ([int(code) for code in stored[key]] for key in ("view", "sex"))
    age = stored["age"].float().numpy()
    return Reference(
        name=f"{bundle.name}:{name}",
        features=stored["features"].numpy(),
        probabilities=stored["probabilities"].numpy() if "probabilities" in stored else None,
        truth=stored["truth"].float().numpy(),
        labels=tuple(config["labels"]),
        views=tuple(None if code == UNKNOWN else str(config["views"][code]) for code in view),
        sexes=tuple(None if code == UNKNOWN else SEXES[code] for code in sex),
        ages=np.where(age == UNKNOWN, np.nan, age).astype(np.float32),
        patients=stored["patient"].numpy(),
        niqe=stored["niqe"].double().numpy() if "niqe" in stored else None,
    )


def names(bundle: Bundle) -> list[str]:
    """Names of the references in a bundle."""
    return sorted(part.removeprefix(PREFIX) for part in bundle.parts() if part.startswith(PREFIX))


def _made_with(bundle: Bundle) -> dict[str, str | None]:
    """Hashes of the networks whose results a reference holds."""
    parts = bundle.parts()
    return {f"{part}_sha256": parts[part]["sha256"] if part in parts else None for part in (features.PART, judges.PART)}


def _codes(values: Sequence[str | None], names: Sequence[str]) -> torch.Tensor:
    return torch.tensor([UNKNOWN if value is None else names.index(value) for value in values], dtype=torch.int8)


def _known(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _hash(patient: str) -> int:
    return int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8], "big", signed=True)
