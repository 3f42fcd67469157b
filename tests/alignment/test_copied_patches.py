"""Likeness: the best place is found, and it is the cosine of centred code vectors."""

from __future__ import annotations

import numpy as np
import torch

from medsynth_cli.alignment.copies import likeness, vectors_of

TABLE = torch.from_numpy(np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32))
CODES = torch.from_numpy(np.random.default_rng(1).integers(0, 64, (2, 8, 8)))


def centred_cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    """Of two windows ``(D, p, p)``."""
    x, y = ((v.double() - v.double().mean(dim=(1, 2), keepdim=True)).flatten() for v in (one, other))
    return float(x @ y / (x.norm() * y.norm()))


def test_the_place_of_a_copy_is_found() -> None:
    patch = CODES[1:, 2:5, 4:7]
    z, places = likeness(vectors_of(TABLE, CODES), vectors_of(TABLE, patch))
    assert divmod(int(places[1, 0]), 6) == (2, 4)
    assert z[1, 0] > 4 > z[0, 0]


def test_it_is_the_best_cosine_of_all_places() -> None:
    images, patch = vectors_of(TABLE, CODES), vectors_of(TABLE, torch.arange(9).view(1, 3, 3))
    z, places = likeness(images, patch)
    for image in range(2):
        windows = [images[image, :, row : row + 3, column : column + 3] for row in range(6) for column in range(6)]
        all_places = [centred_cosine(window, patch[0]) for window in windows]
        assert int(places[image, 0]) == int(np.argmax(all_places))
        np.testing.assert_allclose(np.tanh(float(z[image, 0])), max(all_places), atol=1e-5)


def test_what_is_uniform_is_like_nothing() -> None:
    flat = torch.zeros(1, 8, 8, dtype=torch.int64)
    patches = torch.cat([CODES[:1], flat])[:, :3, :3]
    z, _ = likeness(vectors_of(TABLE, torch.cat([CODES, flat])), vectors_of(TABLE, patches))
    assert z[2].abs().max() < 1e-3
    assert z[:, 1].abs().max() < 1e-3
