"""Synthetic DICOM files: read back with pydicom, and validated by dciodvfy."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import dicom

GRAY = np.random.default_rng(0).integers(0, 256, (33, 21), dtype=np.uint8)
REQUEST: dict[str, Any] = {
    "uid_seed": "bundle/1/a-0001",
    "series_seed": "bundle/1/a",
    "modality": "DX",
    "body_part": "CHEST",
    "title": "chest X-ray",
    "view": "PA",
    "sex": "F",
    "age": 63,
    "instance_number": 2,
    "bundle": "cxr-mini",
}


def made(pixels: np.ndarray = GRAY, **changes: Any) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(dicom.secondary_capture(pixels, **REQUEST | changes)))


def test_pixels_and_format() -> None:
    dataset = made()
    np.testing.assert_array_equal(dataset.pixel_array, GRAY)
    assert dataset.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert dataset.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage
    assert dataset.PhotometricInterpretation == "MONOCHROME2"
    assert (dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation) == (8, 8, 7, 0)


def test_it_says_that_it_is_synthetic() -> None:
    dataset = made()
    assert dataset["SyntheticData"].tag == 0x0008001C
    assert dataset.SyntheticData == "YES"
    assert list(dataset.ImageType) == ["DERIVED", "SECONDARY"]
    assert dataset.ConversionType == "SYN"
    assert dataset.BurnedInAnnotation == "NO"
    assert dataset.StudyDescription == "Synthetic chest X-ray"
    assert "synthetic" in str(dataset.PatientName).lower()
    assert "synthetic" in dataset.PatientID.lower()


def test_what_was_asked_for() -> None:
    dataset = made()
    assert (dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition) == ("DX", "CHEST", "PA")
    assert (dataset.PatientSex, dataset.PatientAge, dataset.InstanceNumber) == ("F", "063Y", 2)
    assert list(dataset.PatientOrientation) == ["L", "F"]
    bare = made(view=None, sex=None, age=None)
    assert "ViewPosition" not in bare
    assert "PatientAge" not in bare
    assert bare.PatientSex == ""
    assert made(age=1.5).PatientAge == "018M"


def test_no_date_or_time_is_filled_in() -> None:
    dates = [element for element in made().iterall() if element.VR in ("DA", "TM", "DT")]
    assert dates
    assert not any(element.value for element in dates)


def test_the_same_request_gives_the_same_bytes() -> None:
    assert dicom.secondary_capture(GRAY, **REQUEST) == dicom.secondary_capture(GRAY, **REQUEST)


def test_uids_follow_the_seeds() -> None:
    first, second = made(), made(uid_seed="bundle/1/a-0002")
    other = made(series_seed="bundle/1/b")
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID
    for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID"):
        assert getattr(first, name) == getattr(second, name)
        assert getattr(first, name) != getattr(other, name)
    uids = {first.SOPInstanceUID, first.StudyInstanceUID, first.SeriesInstanceUID}
    assert len(uids) == 3
    assert all(uid.is_valid and uid.startswith("2.25.") for uid in uids)


@pytest.mark.parametrize(
    ("pixels", "changes"),
    [
        (GRAY.astype(np.uint16), {}),
        (GRAY[None], {}),
        (GRAY[:0], {}),
        (GRAY, {"view": "pa"}),
        (GRAY, {"modality": "D\\X"}),
        (GRAY, {"body_part": "A" * 17}),
        (GRAY, {"sex": "female"}),
        (GRAY, {"age": -1}),
    ],
)
def test_values_that_dicom_does_not_allow(pixels: np.ndarray, changes: dict[str, Any]) -> None:
    with pytest.raises(MedsynthError):
        dicom.secondary_capture(pixels, **REQUEST | changes)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed (Debian: dicom3tools)")
@pytest.mark.parametrize("changes", [{}, {"view": None, "sex": None, "age": None}, {"view": "LATERAL", "age": 0.5}])
def test_dciodvfy_finds_no_error_but_a_tag_newer_than_itself(changes: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(dicom.secondary_capture(GRAY, **REQUEST | changes))
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert "SCImage" in said
    errors = [line for line in said.splitlines() if line.startswith("Error")]
    newer = "Error - Attribute with an even group number is not a recognized standard attribute - (0x0008,0x001c)"
    assert not [line for line in errors if not line.startswith(newer)]
