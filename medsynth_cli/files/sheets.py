"""Contact sheets: many small images in one, with captions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from numpy.typing import NDArray

GAP_PX = 4
CAPTION_PX = 18
FONT_PX = 12
TITLE_PX, TITLE_LINE_PX = 15, 26
PAPER, INK = 24, 235
ELLIPSIS = "..."


def contact_sheet(
    tiles: Sequence[NDArray[np.uint8]],
    captions: Sequence[str] | None = None,
    columns: int | None = None,
    *,
    scale: int = 1,
) -> NDArray[np.uint8]:
    """Lay images out in rows, left to right, each at the top left of a cell with its caption below.

    Args:
        tiles: ``uint8 (h, w)``, gray; sizes may differ, a cell is as large as the largest.
        captions: one a tile, cut with an ellipsis to the width of its cell; None leaves out the line.
        columns: tiles a row; by default as square as it gets.
        scale: draw each pixel of a tile as a square of this side.

    Returns:
        ``uint8 (H, W)``, gray; tile i is at `position` (i).

    Raises:
        ValueError: no tiles, or another number of captions than tiles.
    """
    if not tiles:
        raise ValueError("a contact sheet needs at least one tile")
    if captions is not None and len(captions) != len(tiles):
        raise ValueError(f"{len(captions)} captions for {len(tiles)} tiles")
    drawn = [np.kron(tile, np.ones((scale, scale), np.uint8)) if scale > 1 else tile for tile in tiles]
    columns = min(columns or math.ceil(math.sqrt(len(drawn))), len(drawn))
    cell = (max(t.shape[0] for t in drawn), max(t.shape[1] for t in drawn))
    captioned = captions is not None
    bottom, _ = position(columns * math.ceil(len(drawn) / columns), columns, cell, captioned)
    _, right = position(columns - 1, columns, cell, captioned)
    sheet = Image.new("L", (right + cell[1] + GAP_PX, bottom), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_PX)
    for index, tile in enumerate(drawn):
        top, left = position(index, columns, cell, captioned)
        sheet.paste(Image.fromarray(tile), (left, top))
        if captions is not None:
            text = elide(captions[index], cell[1], font)
            draw.text((left, top + cell[0] + CAPTION_PX // 2), text, fill=INK, font=font, anchor="lm")
    return np.asarray(sheet)


def titled_rows(rows: Sequence[tuple[str, NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Sheets one below the other, each under its title: uint8 ``(H, W)``, as wide as the widest sheet or title.

    Args:
        rows: titles and sheets; one at least.
    """
    font = ImageFont.load_default(TITLE_PX)
    wide = max(max(sheet.shape[1], math.ceil(font.getlength(title)) + 2 * GAP_PX) for title, sheet in rows)
    height = sum(sheet.shape[0] + TITLE_LINE_PX for _, sheet in rows)
    whole = Image.new("L", (wide, height), PAPER)
    draw, top = ImageDraw.Draw(whole), 0
    for title, sheet in rows:
        draw.text((GAP_PX, top + TITLE_LINE_PX // 2), title, fill=INK, font=font, anchor="lm")
        whole.paste(Image.fromarray(sheet), (0, top + TITLE_LINE_PX))
        top += TITLE_LINE_PX + sheet.shape[0]
    return np.asarray(whole)


def position(index: int, columns: int, cell: tuple[int, int], captioned: bool) -> tuple[int, int]:
    """Top and left, in pixels, of a tile in a sheet of cells ``(height, width)``."""
    row, column = divmod(index, columns)
    height = cell[0] + GAP_PX + (CAPTION_PX if captioned else 0)
    return GAP_PX + row * height, GAP_PX + column * (cell[1] + GAP_PX)


def elide(text: str, width_px: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Cut ``text`` with an ellipsis until it is at most ``width_px`` wide; may become empty."""
    text = " ".join(text.split())
    if font.getlength(text) <= width_px:
        return text
    for length in range(len(text) - 1, -1, -1):
        shorter = text[:length].rstrip() + ELLIPSIS
        if font.getlength(shorter) <= width_px:
            return shorter
    return ""
