"""MIMIC-CXR-JPG and MIMIC-CXR as PhysioNet publishes them: a tree of images, and the tables above it.

Only the tables are read. The folders of the tree, which hold 377,110 images, are never listed.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from medsynth_cli.files import findings, tables
from medsynth_cli.files.tables import Entry, Part

JPG, DICOM = "MIMIC-CXR-JPG", "MIMIC-CXR"
METADATA = "mimic-cxr-2.0.0-metadata.csv"
SPLIT = "mimic-cxr-2.0.0-split.csv"
LABELS = {"mimic-cxr-2.0.0-chexpert.csv": "CheXpert", "mimic-cxr-2.0.0-negbio.csv": "NegBio"}
RECORDS = "cxr-record-list.csv"
IDS = ("dicom_id", "subject_id", "study_id")
FRONTAL, LATERAL = ("PA", "AP"), ("LATERAL", "LL")
"""Values of ViewPosition; oblique and decubitus views are neither."""


def is_jpg(folder: Path) -> bool:
    """Whether a folder holds MIMIC-CXR-JPG: one of its tables, or a tree ``files/p10/p10......``."""
    return tables.find(folder, METADATA, SPLIT, *LABELS) is not None or _is_tree(folder / "files")


def is_dicom(folder: Path) -> bool:
    """Whether a folder holds MIMIC-CXR, which is DICOM: its list of records."""
    return tables.find(folder, RECORDS) is not None


def read_jpg(folder: Path, part: Part) -> Iterator[Entry]:
    """The images of MIMIC-CXR-JPG, in the order of the metadata, with the labels of CheXpert or else NegBio."""
    hint = f"copy it there from PhysioNet, or name {folder / 'files'} to read images of which nothing is known"
    metadata = tables.need(folder, METADATA, what="names the images of MIMIC-CXR-JPG", hint=hint)
    labels = tables.need(folder, *LABELS, what="has the labels of MIMIC-CXR-JPG", hint=hint)
    rows = tables.rows(metadata, (*IDS, "ViewPosition"))
    images = ((row, _jpg(row["dicom_id"], row["subject_id"], row["study_id"]), row["ViewPosition"]) for row in rows)
    yield from _entries(JPG, folder, part, images, labels)


def read_dicom(folder: Path, part: Part) -> Iterator[Entry]:
    """The images of MIMIC-CXR, in the order of its list; views and labels are in tables of MIMIC-CXR-JPG, if there."""
    records = tables.need(folder, RECORDS, what="names the images of MIMIC-CXR")
    views: dict[str, str] = {}
    if part.projection or tables.find(folder, METADATA):
        metadata = tables.need(folder, METADATA, what="has the views of MIMIC-CXR", hint=_FROM_JPG)
        rows = tables.rows(metadata, ("dicom_id", "ViewPosition"))
        views = {row["dicom_id"]: sys.intern(row["ViewPosition"]) for row in rows}
    listed = tables.rows(records, (*IDS, "path"))
    images = ((row, row["path"], views.get(row["dicom_id"], "")) for row in listed)
    yield from _entries(DICOM, folder, part, images, tables.find(folder, *LABELS))


def _entries(
    name: str, folder: Path, part: Part, images: Iterable[tuple[dict[str, str], str, str]], labels: Path | None
) -> Iterator[Entry]:
    """Entries of rows with `IDS`, paths and view positions."""
    wanted = _of_split(folder, part.split)
    found, source = ({}, None) if labels is None else (_labels(labels), _source(labels))
    for row, path, position in images:
        projection = "frontal" if position in FRONTAL else "lateral" if position in LATERAL else None
        if (wanted is not None and row["dicom_id"] not in wanted) or part.projection not in (None, projection):
            continue
        view = position if position in FRONTAL else "LATERAL" if projection else None
        meta: dict[str, Any] = {"dataset": name, "patient": row["subject_id"], "study": row["study_id"]}
        meta |= {"view": view, "projection": projection, "sex": None, "age": None}
        own = found.get(row["study_id"])
        if own is not None:
            meta |= {"labels": list(own), "labels_from": source}
        yield Entry(row["dicom_id"], os.path.join(folder, path), meta)


def _of_split(folder: Path, split: str | None) -> set[str] | None:
    """Images of a split, None for all."""
    if split is None:
        return None
    table = tables.need(folder, SPLIT, what="has the official split of MIMIC-CXR", hint=_FROM_JPG)
    return {row["dicom_id"] for row in tables.rows(table, ("dicom_id", "split")) if row["split"] == split}


def _labels(path: Path) -> dict[str, tuple[str, ...]]:
    """Study -> labels; equal labels are one object, for there are 227,827 studies."""
    kept: dict[tuple[str, ...], tuple[str, ...]] = {}
    columns = ("study_id", *findings.CHEXPERT)
    own = ((row["study_id"], findings.of_chexpert(row)) for row in tables.rows(path, columns))
    return {study: kept.setdefault(labels, labels) for study, labels in own}


def _source(labels: Path) -> str:
    return f"{LABELS[labels.name.removesuffix('.gz')]}, {findings.UNCERTAIN}"


def _jpg(image: str, patient: str, study: str) -> str:
    return f"files/p{patient[:2]}/p{patient}/s{study}/{image}.jpg"


def _is_tree(files: Path) -> bool:
    """Whether there are patients of MIMIC in a folder; it and one group of patients are listed at most."""
    if not files.is_dir():
        return False
    group = next((path for path in files.iterdir() if re.fullmatch(r"p1\d", path.name) and path.is_dir()), None)
    return group is not None and any(re.fullmatch(rf"{group.name}\d{{6}}", name) for name in os.listdir(group))


_FROM_JPG = "it is published with MIMIC-CXR-JPG: copy it there"
