"""Contact sheets: every tile where it belongs, captions readable and not too wide."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageFont

from medsynth_cli.files import sheets

TILES = [np.random.default_rng(i).integers(0, 256, (40, 60), dtype=np.uint8) for i in range(5)]


@pytest.mark.parametrize(("columns", "used"), [(None, 3), (1, 1), (2, 2), (5, 5), (9, 5)])
@pytest.mark.parametrize("captions", [None, list("abcde")])
def test_tiles_are_at_their_places(columns: int | None, used: int, captions: list[str] | None) -> None:
    sheet = sheets.contact_sheet(TILES, captions, columns)
    seen = np.zeros(sheet.shape, bool)
    for index, tile in enumerate(TILES):
        top, left = sheets.position(index, used, (40, 60), captions is not None)
        np.testing.assert_array_equal(sheet[top : top + 40, left : left + 60], tile)
        assert not seen[top : top + 40, left : left + 60].any()
        seen[top : top + 40, left : left + 60] = True
    if captions is None:
        assert (sheet[~seen] == sheets.PAPER).all()


def test_tiles_of_several_sizes_and_scale() -> None:
    small = TILES[0][:7, :9]
    sheet = sheets.contact_sheet([small, TILES[1]], columns=2, scale=3)
    top, left = sheets.position(0, 2, (120, 180), False)
    np.testing.assert_array_equal(sheet[top : top + 21, left : left + 27], small.repeat(3, 0).repeat(3, 1))


def test_captions_are_drawn_below_their_own_tile() -> None:
    sheet = sheets.contact_sheet(TILES[:2], ["effusion", ""], 2)

    def ink(index: int) -> int:
        top, left = sheets.position(index, 2, (40, 60), True)
        strip = sheet[top + 40 : top + 40 + sheets.CAPTION_PX, left : left + 60]
        return int((strip > 150).sum())

    assert ink(0) > 40
    assert ink(1) == 0


def test_long_captions_are_cut_with_an_ellipsis() -> None:
    font = ImageFont.load_default(sheets.FONT_PX)
    short = sheets.elide("pleural effusion on the left side", 60, font)
    assert short.endswith("...")
    assert short.removesuffix("...").rstrip() in "pleural effusion on the left side"
    assert 40 < font.getlength(short) <= 60
    assert sheets.elide("edema", 60, font) == "edema"
    assert sheets.elide("edema", 2, font) == ""


def test_a_long_caption_stays_in_its_column() -> None:
    black = np.zeros((40, 60), np.uint8)
    sheet = sheets.contact_sheet([black, black], ["a very long caption of one tile", ""], 2)
    _, left = sheets.position(1, 2, (40, 60), True)
    assert (sheet[-sheets.CAPTION_PX :, left:] == sheets.PAPER).all()


def test_wrong_numbers() -> None:
    with pytest.raises(ValueError):
        sheets.contact_sheet([])
    with pytest.raises(ValueError):
        sheets.contact_sheet(TILES, ["one"])
