"""The chest X-rays of Indiana University that OpenI publishes: as PNG files with XML reports, and as Kaggle has them.

Each report is of another patient. Sex and age are not told. Labels come from the manual indexing by MeSH terms.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import findings, tables
from medsynth_cli.files.tables import Entry, Part

XML, KAGGLE = "OpenI", "OpenI (Kaggle)"
REPORTS_XML = ("ecgen-radiology", "NLMCXR_reports/ecgen-radiology")
IMAGES_XML = (".", "NLMCXR_png", "images")
REPORTS = "indiana_reports.csv"
PROJECTIONS = "indiana_projections.csv"
IMAGES_KAGGLE = ("images/images_normalized", "images", ".")
SECTIONS = ("findings", "impression")
SOURCE = "manual MeSH indexing of OpenI, a term without a counterpart as none"


def is_xml(folder: Path) -> bool:
    """Whether a folder holds OpenI's reports as XML files."""
    return any((folder / name).is_dir() for name in REPORTS_XML)


def is_kaggle(folder: Path) -> bool:
    """Whether a folder holds one of Kaggle's tables."""
    return tables.find(folder, REPORTS, PROJECTIONS) is not None


def read_xml(folder: Path, part: Part) -> Iterator[Entry]:
    """The images that reports name, reports in the order of their file names; views are not told."""
    _check(XML, part)
    if part.projection:
        raise MedsynthError(f"{folder}: OpenI's XML reports do not say which images are {part.projection}", _AS_KAGGLE)
    reports = next(folder / name for name in REPORTS_XML if (folder / name).is_dir())
    files = sorted(reports.glob("*.xml"), key=lambda path: (len(path.name), path.name))
    if not files:
        raise MedsynthError(f"{reports}: no XML report in this folder", "unpack NLMCXR_reports.tgz there")
    images = _folder(folder, IMAGES_XML, "CXR", "unpack NLMCXR_png.tgz there")
    for file in files:
        root = _parsed(file)
        study = root.find(".//uId")
        uid = file.stem if study is None else study.get("id", file.stem)
        sections = {text.get("Label", "").lower(): text.text or "" for text in root.iter("AbstractText")}
        meta = _meta(XML, uid, sections, [term.text or "" for term in root.findall(".//MeSH/major")])
        for image in root.iter("parentImage"):
            name = image.get("id", "")
            yield Entry(name, os.path.join(images, f"{name}.png"), _own(meta, None))


def read_kaggle(folder: Path, part: Part) -> Iterator[Entry]:
    """The images of Kaggle's table of projections, in its order."""
    _check(KAGGLE, part)
    projections = tables.need(folder, PROJECTIONS, what="names the images of OpenI")
    reports = tables.need(folder, REPORTS, what="has the reports of OpenI")
    rows = tables.rows(reports, ("uid", "MeSH", *SECTIONS))
    metas = {row["uid"]: _meta(KAGGLE, row["uid"], row, row["MeSH"].split(";")) for row in rows}
    images = _folder(folder, IMAGES_KAGGLE, "", "copy the images there")
    for row in tables.rows(projections, ("uid", "filename", "projection")):
        projection = row["projection"].lower()
        if part.projection not in (None, projection):
            continue
        meta = metas.get(row["uid"]) or _meta(KAGGLE, row["uid"], {}, [])
        name = row["filename"].removesuffix(".png").removesuffix(".dcm")
        yield Entry(name, os.path.join(images, row["filename"]), _own(meta, projection))


def _meta(name: str, uid: str, sections: dict[str, str], terms: list[str]) -> dict[str, Any]:
    """What is known of all images of a report."""
    meta: dict[str, Any] = {"dataset": name, "patient": uid, "study": uid, "sex": None, "age": None}
    meta["report"] = {section: sections.get(section, "") for section in SECTIONS}
    labels = findings.of_mesh(terms)
    return meta if labels is None else meta | {"labels": labels, "labels_from": SOURCE}


def _own(meta: dict[str, Any], projection: str | None) -> dict[str, Any]:
    """What is known of one image; whether a frontal one is PA or AP is not told."""
    return meta | {"projection": projection, "view": "LATERAL" if projection == "lateral" else None}


def _check(name: str, part: Part) -> None:
    if part.split:
        raise MedsynthError(f"{name} has no official split, hence no part {part.split!r}", "leave out the split")


def _folder(folder: Path, names: tuple[str, ...], prefix: str, hint: str) -> Path:
    """The first folder that holds images."""
    for name in names:
        if (folder / name).is_dir():
            files = os.listdir(folder / name)
            if any(file.startswith(prefix) and file.lower().endswith(".png") for file in files):
                return folder / name
    wanted = " or ".join(str(folder / name) for name in names)
    raise MedsynthError(f"no image {prefix}*.png of OpenI in {wanted}", hint)


def _parsed(file: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(file).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise MedsynthError(f"{file}: not a readable report ({error})", "unpack NLMCXR_reports.tgz again") from error


_AS_KAGGLE = "leave the part out, or copy Kaggle's indiana_reports.csv and indiana_projections.csv with its images"
