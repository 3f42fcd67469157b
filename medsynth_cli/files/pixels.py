"""The only place where pixels are read from and written to files.

Inside medsynth an image is ``uint8 (H, W)``, gray, 0 = black (air), 255 = white (bone).
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import dicom_header

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm")
PNG_LEVEL = 4
"""Compression of PNG files: level 6 takes more than twice as long, and radiographs get no smaller by it."""


def decode(data: bytes, size_px: int | None = None, name: str = "image") -> NDArray[np.uint8]:
    """Decode a PNG, JPEG or DICOM file to gray pixels.

    Args:
        data: the file's bytes.
        size_px: if given, the centre square is taken and resized to ``size_px`` (Lanczos).
        name: what to call the file in an error.

    Returns:
        ``uint8 (H, W)``; 16-bit images are scaled by their own range of possible values.

    Raises:
        MedsynthError: the bytes are no image that Pillow or pydicom can read.
    """
    pixels = _decode_dicom(data, name) if dicom_header.is_dicom(data) else _decode_raster(data, name)
    return pixels if size_px is None else square(pixels, size_px)


def read(path: Path, size_px: int | None = None) -> NDArray[np.uint8]:
    """Read an image file; see `decode`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MedsynthError(f"{path}: {error.strerror}", "check the path") from error
    return decode(data, size_px, str(path))


def square(pixels: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Take the centre square of an image and resize it to ``size_px`` (Lanczos)."""
    height, width = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    crop = pixels[top : top + side, left : left + side]
    if side == size_px:
        return np.ascontiguousarray(crop)
    return np.asarray(Image.fromarray(crop).resize((size_px, size_px), Image.Resampling.LANCZOS))


def encode_png(pixels: NDArray[np.uint8], compress_level: int = PNG_LEVEL) -> bytes:
    """Encode ``uint8 (H, W)`` or ``(H, W, 3)`` as PNG, without any metadata.

    At ``compress_level`` 0 all images of one shape take the same number of bytes.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=compress_level)
    return buffer.getvalue()


def _decode_raster(data: bytes, name: str) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode.startswith("I;16") or image.mode == "I":
                return (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
            return np.asarray(image.convert("L"))
    except Exception as error:  # Pillow's readers of damaged files raise whatever their parts raise
        raise MedsynthError(f"{name}: not a readable image ({error})") from error


def _decode_dicom(data: bytes, name: str) -> NDArray[np.uint8]:
    import pydicom
    from pydicom.pixels.processing import apply_voi_lut

    try:
        dataset = pydicom.dcmread(io.BytesIO(data))
        raw = apply_voi_lut(dataset.pixel_array, dataset).astype(np.float32)
    except Exception as error:
        raise MedsynthError(f"{name}: not a readable DICOM image ({error})") from error
    if raw.ndim != 2:
        raise MedsynthError(f"{name}: DICOM image of shape {raw.shape}; only single gray frames are read")
    if dataset.BitsStored == 8 and "WindowCenter" not in dataset:
        gray = raw.astype(np.uint8)
    else:
        low, high = float(raw.min()), float(raw.max())
        gray = np.round((raw - low) * (255.0 / max(high - low, 1e-6))).astype(np.uint8)
    return 255 - gray if dataset.PhotometricInterpretation == "MONOCHROME1" else gray
