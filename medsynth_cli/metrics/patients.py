"""Whether two sets of images share patients, also where one is a reference that knows them by hashed numbers only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medsynth_cli.metrics import reference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.files.records import Record
    from medsynth_cli.metrics.imagesets import ImageSet


def shared(images: ImageSet, others: ImageSet) -> NDArray[np.bool_]:
    """Which of ``images`` are of a patient of whom there are images in ``others``: ``(N,)``, False where unknown."""
    there = {name for meta in others.meta for name in _names(meta)}
    return np.array([not there.isdisjoint(_names(meta)) for meta in images.meta], bool)


def unknown(images: ImageSet) -> int:
    """Number of images whose patient is not known."""
    return sum(not meta.get("patient") for meta in images.meta)


def _names(meta: Record) -> tuple[str, ...]:
    """A patient's name as files have it and as references do."""
    patient = meta.get("patient")
    return (str(patient), str(reference.patient_number(meta))) if patient else ()
