"""Random draws that depend on the run's seed and on the record alone."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, record: str) -> np.random.Generator:
    """The generator of a record's draws: the same for the same seed and record id, in any order or process."""
    digest = hashlib.sha256(record.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])
