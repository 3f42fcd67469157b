"""A modality: the folder ``vocab/<name>/`` with its images' properties, vocabularies and prompt."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from medsynth_cli.errors import MedsynthError


@dataclass(frozen=True)
class Modality:
    """What ``modality.yaml`` says.

    Attributes:
        name: name of the folder.
        folder: where its files are.
        title: for people, such as "chest X-ray".
        dicom_modality: DICOM (0008,0060), such as ``DX``.
        body_part: DICOM (0018,0015).
        views: the views a record may name.
        sampled_views: the views that sampled term sets are given; all if the file does not say.
        labels: label names of the data sets, in the order of every label vector.
        bits: bits per pixel.
        resolution_px: side of an image.
    """

    name: str
    folder: Path
    title: str
    dicom_modality: str
    body_part: str
    views: tuple[str, ...]
    sampled_views: tuple[str, ...]
    labels: tuple[str, ...]
    bits: int
    resolution_px: int


def find(name: str) -> Path:
    """Folder of a modality: a path, or a name under ``vocab/`` in a checkout or a wheel.

    Raises:
        MedsynthError: there is none of that name.
    """
    for folder in [Path(name), *(root / name for root in _roots())]:
        if (folder / "modality.yaml").is_file():
            return folder
    known = sorted({p.parent.name for root in _roots() for p in root.glob("*/modality.yaml")})
    raise MedsynthError(f"no modality {name!r}", f"known: {', '.join(known)}; or name a folder with a modality.yaml")


def load(name: str) -> Modality:
    """Read and check ``modality.yaml``."""
    import yaml  # not needed by --help, which it would slow down

    folder = find(name)
    path = folder / "modality.yaml"
    values: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    try:
        return Modality(
            name=folder.name,
            folder=folder,
            title=str(values["title"]),
            dicom_modality=str(values["dicom"]["modality"]),
            body_part=str(values["dicom"]["body_part"]),
            views=tuple(values["views"]),
            sampled_views=tuple(values.get("sampled_views", values["views"])),
            labels=tuple(values["labels"]),
            bits=int(values["bits"]),
            resolution_px=int(values["resolution_px"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MedsynthError(f"{path}: missing or wrong field {error}", "see docs/extending.md") from error


def _roots() -> list[Path]:
    package = Path(str(resources.files("medsynth_cli")))
    return [package / "vocab", package.parent / "vocab"]
