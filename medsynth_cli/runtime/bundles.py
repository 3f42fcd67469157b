"""Bundles: folders with every model of a modality. The only place where weights are read.

A bundle holds ``bundle.json`` (what the parts are, their shapes and SHA-256), one safetensors file a
part, the visual codebook, and references to evaluate against. The models are built from these parts by
the layers above.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import atomic

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST = "bundle.json"
AFTER_TOKENIZER = ("generator", "codebook")
"""Parts that hold codes of the tokenizer, and mean nothing with another one."""


@dataclass(frozen=True)
class Bundle:
    """An opened bundle.

    Attributes:
        folder: where its files are.
        manifest: the content of ``bundle.json``.
    """

    folder: Path
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the bundle."""
        return str(self.manifest["name"])

    @property
    def modality(self) -> str:
        """Name of the modality that it is of."""
        return str(self.manifest["modality"])

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of the manifest, which holds the hashes of all parts."""
        return hashlib.sha256(json.dumps(self.manifest, sort_keys=True).encode()).hexdigest()

    def config(self, part: str) -> dict[str, Any]:
        """The shape and settings of a part, such as ``tokenizer``."""
        return dict(self._entry(part)["config"])

    def part_sha256(self, part: str) -> str:
        """The SHA-256 of a part's file, as the manifest says."""
        return str(self._entry(part)["sha256"])

    def file(self, part: str) -> Path:
        """The verified file of a part.

        Raises:
            MedsynthError: the bundle has no such part, or its file is missing or damaged.
        """
        entry = self._entry(part)
        path = self.folder / entry["file"]
        if not path.is_file():
            raise MedsynthError(
                f"{path}: missing from bundle {self.name}", "install medsynth again, or copy the whole folder"
            )
        if file_sha256(path) != entry["sha256"]:
            raise MedsynthError(f"{path}: does not match its SHA-256 in {MANIFEST}", "the bundle is damaged or mixed")
        return path

    def weights(self, part: str) -> dict[str, Tensor]:
        """The weights of a part, float16 ones as float32."""
        import torch
        from safetensors.torch import load_file

        weights = load_file(self.file(part))
        return {name: value.float() if value.dtype == torch.float16 else value for name, value in weights.items()}

    @property
    def tokenizer_sha256(self) -> str:
        """Hash of what gives the tokenizer's codes their meaning: its encoder and codebook.

        A better decoder for the same codes does not change it, so codebooks and generators stay valid.
        """
        return str(self.config("tokenizer")["codes_sha256"])

    def parts(self) -> dict[str, dict[str, Any]]:
        """Part name -> its manifest entry."""
        return dict(self.manifest["parts"])

    def _entry(self, part: str) -> dict[str, Any]:
        try:
            entry: dict[str, Any] = self.manifest["parts"][part]
            return entry
        except KeyError as error:
            known = ", ".join(sorted(self.manifest["parts"]))
            raise MedsynthError(f"bundle {self.name} has no {part}", f"it has: {known}") from error


def load(name: str) -> Bundle:
    """Open an embedded bundle by name, or any bundle by folder, and check that its parts agree.

    Raises:
        MedsynthError: there is no such bundle, or its parts do not fit together.
    """
    folder = next((f for f in (assets() / name, Path(name)) if (f / MANIFEST).is_file()), None)
    if folder is None:
        raise MedsynthError(
            f"no bundle {name!r}", f"embedded: {', '.join(embedded())}; or name a folder with a {MANIFEST}"
        )
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        bundle = Bundle(folder, manifest)
        _check(bundle)
    except (ValueError, KeyError, TypeError) as error:
        raise MedsynthError(f"{folder / MANIFEST}: not a valid bundle ({error!r})") from error
    return bundle


def assets() -> Path:
    """The folder of the embedded bundles."""
    return Path(str(resources.files("medsynth_cli"))) / "assets"


def embedded() -> list[str]:
    """Names of the embedded bundles."""
    return sorted(path.parent.name for path in assets().glob(f"*/{MANIFEST}"))


def describe(name: str) -> dict[str, Any]:
    """Name, folder, hash, modality, size in bytes and parts of a bundle; JSON values."""
    bundle = load(name)
    parts = {part: {k: entry[k] for k in ("file", "bytes", "sha256")} for part, entry in sorted(bundle.parts().items())}
    return {
        "name": bundle.name,
        "folder": str(bundle.folder),
        "sha256": bundle.sha256,
        "modality": bundle.manifest.get("modality"),
        "bytes": sum(entry["bytes"] for entry in parts.values()),
        "parts": parts,
    }


def create(folder: Path, name: str, modality: str) -> Bundle:
    """Open the bundle in ``folder`` for writing; make an empty one if there is none."""
    path = folder / MANIFEST
    if path.is_file():
        return Bundle(folder, json.loads(path.read_text("utf-8")))
    folder.mkdir(parents=True, exist_ok=True)
    return Bundle(folder, {"name": name, "format": 1, "modality": modality, "parts": {}})


def write_part(
    bundle: Bundle, part: str, weights: Mapping[str, Tensor], config: Mapping[str, Any], *, half: bool = True
) -> None:
    """Write a part's weights to ``<part>.safetensors`` and its entry to the manifest.

    Args:
        bundle: opened by `create`.
        part: its name.
        weights: name -> tensor.
        config: what the layer above needs to build the model; JSON values.
        half: store floating-point weights as float16.
    """
    from safetensors.torch import save

    stored = {k: (v.half() if half and v.is_floating_point() else v).cpu().contiguous() for k, v in weights.items()}
    file = f"{part}.safetensors"
    atomic.write_bytes(bundle.folder / file, save(stored))
    register(bundle, part, file, config)


def register(bundle: Bundle, part: str, file: str, config: Mapping[str, Any]) -> None:
    """Enter a file that is already in the bundle's folder as a part of the manifest."""
    path = bundle.folder / file
    bundle.manifest["parts"][part] = {
        "file": file,
        "bytes": path.stat().st_size,
        "sha256": file_sha256(path),
        "config": json.loads(json.dumps(dict(config))),
    }
    _save(bundle)


def drop_stale(bundle: Bundle) -> list[str]:
    """Take out the parts that were made with another tokenizer than the bundle has now; return their names."""
    stale = [part for part in AFTER_TOKENIZER if part in bundle.parts() and not _fits(bundle, part)]
    for part in stale:
        entry = bundle.manifest["parts"].pop(part)
        (bundle.folder / entry["file"]).unlink(missing_ok=True)
    if stale:
        _save(bundle)
    return stale


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _check(bundle: Bundle) -> None:
    """Refuse a bundle whose tokenizer, generator and codebook do not belong together."""
    parts = bundle.parts()
    if "tokenizer" not in parts:
        return
    tokenizer = parts["tokenizer"]["config"]
    for part in AFTER_TOKENIZER:
        if part not in parts:
            continue
        config = parts[part]["config"]
        if not _fits(bundle, part):
            raise MedsynthError(
                f"bundle {bundle.name}: its {part} was made with another tokenizer", "retrain or rebuild it"
            )
        if config["codes"] != tokenizer["num_vq_embeddings"]:
            raise MedsynthError(
                f"bundle {bundle.name}: {part} has {config['codes']} codes, tokenizer {tokenizer['num_vq_embeddings']}"
            )


def _fits(bundle: Bundle, part: str) -> bool:
    """Whether a part was made with the codes of the bundle's tokenizer."""
    return bool(bundle.config(part)["tokenizer_sha256"] == bundle.tokenizer_sha256)


def _save(bundle: Bundle) -> None:
    atomic.write_text(bundle.folder / MANIFEST, json.dumps(bundle.manifest, indent=1, sort_keys=True) + "\n")
