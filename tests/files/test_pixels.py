"""Pixels: PNG, JPEG and DICOM in, squares and PNG out."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import dicom, pixels

GRAY = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def capture(**changes: object) -> bytes:
    """A DICOM file with attributes changed."""
    import pydicom

    data = dicom.secondary_capture(GRAY, uid_seed="a", series_seed="b", modality="DX", body_part="CHEST")
    dataset = pydicom.dcmread(io.BytesIO(data))
    for name, value in changes.items():
        setattr(dataset, name, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def test_png_round_trip_without_metadata() -> None:
    data = pixels.encode_png(GRAY)
    np.testing.assert_array_equal(pixels.decode(data), GRAY)
    assert data == pixels.encode_png(GRAY)
    chunks = Image.open(io.BytesIO(data)).info
    assert chunks == {}


def test_jpeg_and_colour_become_gray() -> None:
    smooth = np.tile(np.arange(0, 240, 8, dtype=np.uint8), (20, 1))
    found = pixels.decode(encoded(Image.fromarray(smooth), "JPEG", quality=95))
    assert np.abs(found.astype(int) - smooth).max() <= 3
    colour = pixels.decode(encoded(Image.fromarray(GRAY).convert("RGB"), "PNG"))
    np.testing.assert_array_equal(colour, GRAY)


def test_16_bit_png_is_scaled_by_its_possible_range() -> None:
    deep = GRAY.astype(np.uint16) * 256 + 255
    np.testing.assert_array_equal(pixels.decode(encoded(Image.fromarray(deep), "PNG")), GRAY)


def test_dicom_8_bit_is_read_as_it_is_and_monochrome1_inverted() -> None:
    np.testing.assert_array_equal(pixels.decode(capture()), GRAY)
    np.testing.assert_array_equal(pixels.decode(capture(PhotometricInterpretation="MONOCHROME1")), 255 - GRAY)


def test_dicom_12_bit_is_scaled_to_its_own_range() -> None:
    deep = np.linspace(100, 3100, GRAY.size).reshape(GRAY.shape).astype(np.uint16)
    data = capture(BitsAllocated=16, BitsStored=12, HighBit=11, PixelData=deep.tobytes())
    found = pixels.decode(data)
    assert (found.min(), found.max()) == (0, 255)
    wanted = np.round((deep - 100.0) * 255 / 3000)
    assert np.abs(found.astype(float) - wanted).max() <= 1


def test_dicom_window_is_applied() -> None:
    found = pixels.decode(capture(WindowCenter=128, WindowWidth=64))
    assert found[GRAY < 90].max() == 0
    assert found[GRAY > 165].min() == 255


def test_square_takes_the_centre() -> None:
    np.testing.assert_array_equal(pixels.square(GRAY, 20), GRAY[:, 5:25])
    assert pixels.decode(pixels.encode_png(GRAY), 8).shape == (8, 8)
    flat = np.full((50, 30), 77, np.uint8)
    assert (pixels.square(flat, 12) == 77).all()


@pytest.mark.parametrize("data", [b"", b"text", pixels.encode_png(GRAY)[:60], bytes(128) + b"DICM" + bytes(20)])
def test_unreadable_files_are_named(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.img").write_bytes(data)
    with pytest.raises(MedsynthError, match=r"broken\.img"):
        pixels.read(tmp_path / "broken.img")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MedsynthError, match=r"none\.png"):
        pixels.read(tmp_path / "none.png")
