"""Markers and text are kept out, smooth anatomy is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from medsynth_cli.alignment import markers


def chest() -> np.ndarray:
    """Two dark lungs with soft ribs."""
    y, x = np.mgrid[-1:1:256j, -1:1:256j]
    lungs = sum(1 / (1 + np.exp(20 * (np.hypot((x + side) * 2.2, y) - 0.7))) for side in (-0.4, 0.4))
    return (200 - 120 * lungs + 12 * np.sin(y * 25)).clip(0, 255).astype(np.uint8)


def clear(image: np.ndarray) -> np.ndarray:
    return markers.clear(torch.from_numpy(image.copy())[None], 16, 3)[0].numpy()


def test_a_chest_is_clear() -> None:
    assert clear(chest()).all()


@pytest.mark.parametrize("text", ["L", "PORTABLE", "DOE^JANE"])
def test_windows_with_text_are_not(text: str) -> None:
    image = Image.fromarray(chest())
    ImageDraw.Draw(image).text((70, 100), text, fill=250, font=ImageFont.load_default(14))
    found = clear(np.asarray(image))
    assert not found[5:7, 2:5].any(), "all windows that hold the first letter whole"
    assert found[9:].all()
    assert found[:, 10:].all()


def test_opening_is_that_of_the_definition() -> None:
    from scipy.ndimage import grey_opening

    image = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    for width in (3, 5, 7, 11):
        inside = slice(width, -width)
        ours = markers.opened(torch.from_numpy(image)[None], width)[0].numpy()
        assert (ours <= image).all()
        np.testing.assert_array_equal(ours[inside, inside], grey_opening(image, (width, width))[inside, inside])
