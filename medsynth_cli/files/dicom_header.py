"""What the header of a DICOM file says of its patient and image, in the shared field names."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from medsynth_cli.errors import MedsynthError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

BEGINS = 132
"""Bytes that tell a DICOM file (PS3.10, 7.1): a preamble of 128, then ``DICM``."""
TAGS = ["PatientID", "PatientSex", "PatientAge", "ViewPosition"]
AGE = re.compile(r"(\d{3})([DWMY])")
A_YEAR = {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}
"""Units of PatientAge (PS3.5, 6.2) in a year."""


def is_dicom(data: bytes) -> bool:
    """Whether bytes begin like a DICOM file."""
    return data[BEGINS - 4 : BEGINS] == b"DICM"


def read(data: bytes, name: str) -> dict[str, Any]:
    """``patient``, ``sex``, ``age`` and ``view`` of an encoded file; those that it does not tell are left out.

    Raises:
        MedsynthError: the header cannot be read.
    """
    import pydicom

    try:
        header = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=TAGS)
        found = {
            "patient": str(header.get("PatientID") or "") or None,
            "sex": header.get("PatientSex") if header.get("PatientSex") in ("M", "F") else None,
            "age": _age(header),
            "view": str(header.get("ViewPosition") or "") or None,
        }
    except Exception as error:  # pydicom raises whatever its parts raise
        raise MedsynthError(f"{name}: not a readable DICOM header ({error})") from error
    return {field: value for field, value in found.items() if value is not None}


def _age(header: Dataset) -> float | None:
    """Age in years, with one decimal below two years."""
    match = AGE.fullmatch(str(header.get("PatientAge") or ""))
    if match is None:
        return None
    years = int(match[1]) / A_YEAR[match[2]]
    return round(years, 1) if years < 2 else int(years)
