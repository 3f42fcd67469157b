"""Pieces of generator training against what they are defined to do."""

from __future__ import annotations

import numpy as np

from medsynth_cli.training.generator import misread


def test_misread_codes_come_from_the_row_above_at_the_same_position() -> None:
    sequences = np.arange(4)[:, None] * 1000 + np.arange(500)[None]
    read = misread(sequences, 100, 0.1, np.random.default_rng(0))
    changed = read != sequences
    assert not changed[:, :100].any()
    assert 0.07 < changed[:, 100:].mean() < 0.13
    assert np.array_equal(read[changed], np.roll(sequences, 1, axis=0)[changed])
    assert np.array_equal(misread(sequences, 100, 0, np.random.default_rng(0)), sequences)
