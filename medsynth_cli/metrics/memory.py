"""Training images that copies are looked for among: those of --train, or all that the bundle was trained with.

A bundle keeps them as the part ``memory``: fingerprints of all, and the codes of those whose pictures may be
shown, so that the closest pairs can be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import reference
from medsynth_cli.metrics.imagesets import ImageSet
from medsynth_cli.metrics.observers import MEMORY
from medsynth_cli.recognition import fingerprints, identities
from medsynth_cli.runtime import bundles
from medsynth_cli.runtime.conversion import to_images
from medsynth_cli.tokens import tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.metrics.observers import Observers
    from medsynth_cli.runtime.bundles import Bundle

PART, IDENTITIES = MEMORY, "identities"


@dataclass(frozen=True)
class Memory:
    """M training images.

    Attributes:
        name: for people.
        fingerprints: int8 ``(M, D)``.
        ids: their names.
        patients: numbers of their patients, int64 ``(M,)``; see `reference.patient_number`.
        picture: number -> uint8 ``(H, W)``, or None if there is no picture.
        identify: gives the identities of the first S images, int8 ``(S, D)``.
    """

    name: str
    fingerprints: NDArray[np.int8]
    ids: Sequence[str]
    patients: NDArray[np.int64]
    picture: Callable[[int], NDArray[np.uint8] | None]
    identify: Callable[[], NDArray[np.int8]]


def of(train: ImageSet | None, observers: Observers) -> Memory:
    """The images of ``train`` if they are at hand, and else those that the bundle remembers.

    Raises:
        MedsynthError: neither are.
    """
    if train is not None and train.at_hand:
        found = train.of(observers.fingerprints.observer)
        patients = np.array([reference.patient_number(meta) for meta in train.meta])
        ids = [str(meta["id"]) for meta in train.meta]
        return Memory(train.name, found, ids, patients, train.pixels, lambda: train.of(observers.identities.observer))
    return _of_bundle(observers)


def _of_bundle(observers: Observers) -> Memory:
    bundle = observers.bundle
    stored = bundle.weights(PART)
    codes = stored["codes"]

    def picture(index: int) -> NDArray[np.uint8] | None:
        if index >= len(codes):
            return None
        side = int(codes.shape[1] ** 0.5)
        grid = codes[index].long().reshape(1, side, side).to(observers.device)
        with torch.inference_mode():
            return to_images(observers.tokenizer.decode(grid))[0]

    name = f"{bundle.name}: {len(stored['fingerprints']):,} training images"
    ids = stored["ids"].numpy().tobytes().decode().split("\n")

    def identify() -> NDArray[np.int8]:
        if IDENTITIES not in stored:
            raise MedsynthError(f"bundle {bundle.name} remembers no identities", "name training images with --train")
        return stored[IDENTITIES].numpy()

    return Memory(name, stored["fingerprints"].numpy(), ids, stored["patients"].numpy(), picture, identify)


def write(bundle: Bundle, observers: Observers, shown: ImageSet | None, unshown: ImageSet | None) -> None:
    """Fit fingerprints to all images and write the part ``memory``.

    Args:
        bundle: opened by `bundles.create`; it has a tokenizer.
        observers: of the same bundle.
        shown: images whose codes are kept, and identities if enough of their patients have several images.
        unshown: images of which only fingerprints are kept; at least one set is given.
    """
    sets = [images for images in (shown, unshown) if images is not None]
    reductions = np.concatenate([images.of(fingerprints.reductions()) for images in sets])
    fitted = fingerprints.fit(reductions, observers.device)
    found = np.concatenate([images.of(fitted.observer) for images in sets])
    cells = tokenizer.config(bundle.config(tokenizer.PART)).grid ** 2
    codes = np.empty((0, cells), np.int16) if shown is None else shown.of(observers.codes)
    meta = [record for images in sets for record in images.meta]
    ids = "\n".join(str(record["id"]) for record in meta)
    tensors: dict[str, Any] = {
        "mean": fitted.mean,
        "basis": fitted.basis,
        "fingerprints": torch.from_numpy(found),
        "codes": torch.from_numpy(codes),
        "patients": torch.tensor([reference.patient_number(record) for record in meta]),
        "ids": torch.frombuffer(bytearray(ids.encode()), dtype=torch.uint8),
    }
    tensors |= _identities(observers, shown)
    bundles.write_part(bundle, PART, tensors, {"images": len(meta), "codes_sha256": bundle.tokenizer_sha256})


def _identities(observers: Observers, images: ImageSet | None) -> dict[str, Any]:
    """Tensors of the identities of images, none if too few patients are known to fit them."""
    networks = observers.identity_networks
    known = [] if images is None else [meta.get("patient") or f"image {meta['id']}" for meta in images.meta]
    if images is None or max(np.unique(known, return_counts=True)[1]) < 2:
        return {}
    images.observe(networks)
    features = [images.of(network) for network in networks]
    try:
        fitted = identities.fit(features, known, networks)
    except MedsynthError:
        return {}
    return {
        "identity_mean": fitted.mean,
        "identity_projection": fitted.projection,
        IDENTITIES: fitted.describe([torch.from_numpy(part) for part in features]),
    }
