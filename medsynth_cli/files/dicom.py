"""Synthetic images as DICOM files: Secondary Capture, marked as derived and synthetic.

Every value is set here (DICOM PS3.3, A.8.1 Secondary Capture Image IOD); none comes from a real file, a
clock or the machine, so the same input gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import re
import uuid
from typing import TYPE_CHECKING

import numpy as np

import medsynth_cli
from medsynth_cli.errors import MedsynthError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset, FileMetaDataset

CODE_STRING = re.compile(r"[A-Z0-9 _]{1,16}")
FRONTAL_VIEWS = ("PA", "AP")
LONGEST_SIDE_PX = 65535
MONTHS_BELOW_YEARS = 2


def secondary_capture(
    pixels: NDArray[np.uint8],
    *,
    uid_seed: str,
    series_seed: str,
    modality: str,
    body_part: str,
    title: str = "radiograph",
    view: str | None = None,
    sex: str | None = None,
    age: float | None = None,
    instance_number: int = 1,
    bundle: str = "",
) -> bytes:
    """Encode one synthetic image as a DICOM Part 10 file (Explicit VR Little Endian, uncompressed).

    Args:
        pixels: ``uint8 (H, W)``, 0 = black.
        uid_seed: names this image among all of all runs: bundle, seed and record id. Its UID derives from it.
        series_seed: images that share it share patient, study and series, hence also sex and age.
        modality: DICOM modality, such as ``DX``.
        body_part: DICOM body part, such as ``CHEST``.
        title: what the image is, for people: "Synthetic <title>" describes the study.
        view: ``PA``, ``AP`` ...; left out if None.
        sex: ``M``, ``F`` or None.
        age: years, or None.
        instance_number: position in the series, from 1.
        bundle: name of the bundle that made the image.

    Returns:
        The file's bytes; the same for the same arguments.

    Raises:
        MedsynthError: a value that DICOM does not allow.
    """
    _check(pixels, modality, body_part, view, sex, age)
    from pydicom import dcmwrite
    from pydicom.dataset import Dataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    dataset = Dataset()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = _uid("image", uid_seed)
    _add_patient(dataset, series_seed, sex, age)
    _add_study(dataset, series_seed, title)
    dataset.Modality = modality
    dataset.BodyPartExamined = body_part
    dataset.ManufacturerModelName = bundle
    dataset.InstanceNumber = instance_number
    dataset.PatientOrientation = ["L", "F"] if view in FRONTAL_VIEWS else None
    if view is not None:
        dataset.ViewPosition = view
    _add_provenance(dataset)
    dataset.set_pixel_data(np.ascontiguousarray(pixels), "MONOCHROME2", 8, generate_instance_uid=False)
    dataset.file_meta = _file_meta(dataset, str(ExplicitVRLittleEndian))
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _add_patient(dataset: Dataset, series_seed: str, sex: str | None, age: float | None) -> None:
    name = hashlib.sha256(series_seed.encode()).hexdigest()[:12].upper()
    dataset.PatientName = f"Synthetic^{name}"
    dataset.PatientID = f"SYNTHETIC-{name}"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = sex or ""
    if age is not None:
        dataset.PatientAge = f"{int(age * 12):03d}M" if age < MONTHS_BELOW_YEARS else f"{int(age):03d}Y"
    dataset.PatientComments = "Not a person: written by a generative model."


def _add_study(dataset: Dataset, series_seed: str, title: str) -> None:
    """Study and series; dates and times stay empty, since nothing was ever acquired."""
    dataset.StudyInstanceUID = _uid("study", series_seed)
    dataset.SeriesInstanceUID = _uid("series", series_seed)
    dataset.StudyDate = dataset.StudyTime = dataset.ContentDate = dataset.ContentTime = ""
    dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.StudyID = "SYNTHETIC"
    dataset.StudyDescription = dataset.SeriesDescription = f"Synthetic {title}"[:64]
    dataset.SeriesNumber = 1


def _add_provenance(dataset: Dataset) -> None:
    dataset.Manufacturer = "medsynth"
    dataset.SoftwareVersions = medsynth_cli.__version__
    dataset.ConversionType = "SYN"
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.SyntheticData = "YES"
    dataset.DerivationDescription = "Synthesised by a generative model; for research, not for diagnosis"
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    dataset.PresentationLUTShape = "IDENTITY"


def _file_meta(dataset: Dataset, transfer_syntax: str) -> FileMetaDataset:
    """The file's header; names medsynth rather than the version of pydicom, which would change the bytes."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(transfer_syntax)
    meta.ImplementationClassUID = UID(_uid("implementation", "medsynth"))
    meta.ImplementationVersionName = "MEDSYNTH"
    return meta


def _uid(kind: str, seed: str) -> str:
    """A UID made of a name-based UUID (``2.25.``, DICOM PS3.5 B.2), which needs no registered root."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'medsynth/{kind}/{seed}').int}"


def _check(
    pixels: NDArray[np.uint8], modality: str, body_part: str, view: str | None, sex: str | None, age: float | None
) -> None:
    if (
        pixels.dtype != np.uint8
        or pixels.ndim != 2
        or not 0 < min(pixels.shape) <= max(pixels.shape) <= LONGEST_SIDE_PX
    ):
        raise MedsynthError(f"DICOM output takes uint8 (H, W), not {pixels.dtype} {pixels.shape}")
    for name, value in (("modality", modality), ("body part", body_part), ("view", view)):
        if value is not None and not CODE_STRING.fullmatch(value):
            raise MedsynthError(f"{name} {value!r} is no DICOM code", "up to 16 of A-Z, 0-9, space and underscore")
    if sex not in ("M", "F", None):
        raise MedsynthError(f"sex {sex!r} is neither M nor F nor null")
    if age is not None and not 0 <= age < 1000:
        raise MedsynthError(f"age {age!r} is no number of years")
