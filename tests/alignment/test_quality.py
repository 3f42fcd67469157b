"""Quality control: near-duplicates, patients, and entries that come out short."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from medsynth_cli.alignment import quality
from medsynth_cli.alignment.pool import row_type
from medsynth_cli.alignment.quality import Rules

SIDE = 14


def texture(seed: int) -> np.ndarray:
    """A smooth picture of 64 px."""
    coarse = np.random.default_rng(seed).integers(40, 216, (9, 9), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC))


def thumbnail(picture: np.ndarray) -> np.ndarray:
    return picture[:56, :56].reshape(SIDE, 4, SIDE, 4).mean((1, 3)).round().astype(np.uint8)


def jpeg(picture: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer))


CHANGES = {
    "brightness": lambda x: (x * 0.7 + 30).astype(np.uint8),
    "JPEG": jpeg,
    "2 px": lambda x: np.roll(x, 2, axis=1),
    "4 px": lambda x: np.roll(x, (4, -4), axis=(0, 1)),
}


def rows(thumbnails: list[np.ndarray], patients: list[int]) -> np.ndarray:
    found = np.zeros(len(thumbnails), row_type(3, 2))
    found["score"] = np.linspace(1, 0, len(thumbnails))
    found["thumbnail"], found["patient"] = thumbnails, patients
    found["image"] = np.arange(len(thumbnails))
    return found


@pytest.mark.parametrize("change", CHANGES)
def test_the_worse_of_two_near_duplicates_is_left_out(change: str) -> None:
    pictures = [texture(1), texture(2), CHANGES[change](texture(1)), texture(3)]
    entry = quality.choose(rows([thumbnail(p) for p in pictures], [1, 2, 3, 4]), Rules(4, 4, 1))
    assert entry.rows["image"].tolist() == [0, 1, 3]
    assert (entry.alike, entry.patients) == (1, 3)


def test_patients_have_so_many_patches_and_no_more() -> None:
    thumbnails = [thumbnail(texture(seed)) for seed in range(8)]
    entry = quality.choose(rows(thumbnails, [1, 1, 1, 2, 1, 2, 2, 3]), Rules(5, 2, 1))
    assert entry.rows["image"].tolist() == [0, 1, 3, 5, 7]
    assert (entry.crowded, entry.patients, entry.cut_short) == (3, 3, False)


def test_an_entry_that_a_full_pool_left_short_says_so() -> None:
    same = [thumbnail(texture(0))] * 8
    assert quality.choose(rows(same, list(range(8))), Rules(2, 2, 1)).cut_short
    assert not quality.choose(rows(same[:7], list(range(7))), Rules(2, 2, 1)).cut_short


def test_uniform_patches_are_alike_and_like_nothing_else() -> None:
    flat = [np.full((SIDE, SIDE), value, np.uint8) for value in (0, 90)]
    found = quality.alike(np.stack([*flat, thumbnail(texture(0))]))
    assert found.tolist() == [[True, True, False], [True, True, False], [False, False, True]]
