"""Made copies in the layouts of public data sets, read as the data sets that they imitate."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medsynth_cli import modality
from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import datasets, findings, layouts, pixels

CHEXPERT = "CheXpert, uncertain (-1) and blank as absent"
REPORT = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><uId id="CXR{uid}"/><MedlineCitation><Article><Abstract>
<AbstractText Label="FINDINGS">Made up.</AbstractText><AbstractText Label="IMPRESSION">None.</AbstractText>
</Abstract></Article></MedlineCitation>
<MeSH><major>{term}</major><automatic>pneumonia</automatic></MeSH>
{images}</eCitation>
"""
KAGGLE_REPORTS = """uid,MeSH,Problems,image,indication,comparison,findings,impression
1,Cardiomegaly/mild;Pleural Effusion/left/small,Cardiomegaly;Pleural Effusion,Chest,,,"Made, up.",None.
2,normal,normal,Chest,,,Nothing.,
"""
KAGGLE_PROJECTIONS = """uid,filename,projection
1,1_IM-0001-1001.dcm.png,Frontal
1,1_IM-0001-2001.dcm.png,Lateral
2,2_IM-0002-1001.dcm.png,Frontal
"""


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 16, 12), dtype=np.uint8)


@pytest.fixture
def openi(tmp_path: Path, images: np.ndarray) -> Path:
    """OpenI with XML reports: report 10 has two images, report 9 one and was not indexed."""
    folder = tmp_path / "openi"
    (folder / "ecgen-radiology").mkdir(parents=True)
    (folder / "NLMCXR_png").mkdir()
    reports = {10: ("Pulmonary Atelectasis/base/left", "CXR10_IM-0001-1001 CXR10_IM-0001-2001")}
    reports |= {9: ("No Indexing", "CXR9_IM-0002-1001")}
    for uid, (term, names) in reports.items():
        tags = "".join(f'<parentImage id="{name}"><caption>Chest</caption></parentImage>' for name in names.split())
        (folder / "ecgen-radiology" / f"{uid}.xml").write_text(REPORT.format(uid=uid, term=term, images=tags))
        for index, name in enumerate(names.split()):
            (folder / "NLMCXR_png" / f"{name}.png").write_bytes(pixels.encode_png(images[uid % 9 + index]))
    return folder


@pytest.fixture
def kaggle(tmp_path: Path, images: np.ndarray) -> Path:
    folder = tmp_path / "kaggle"
    (folder / "images" / "images_normalized").mkdir(parents=True)
    (folder / "indiana_reports.csv").write_text(KAGGLE_REPORTS)
    (folder / "indiana_projections.csv").write_text(KAGGLE_PROJECTIONS)
    for index, line in enumerate(KAGGLE_PROJECTIONS.splitlines()[1:]):
        (folder / "images" / "images_normalized" / line.split(",")[1]).write_bytes(pixels.encode_png(images[index]))
    return folder


def read(folder: Path, part: str = "") -> list[datasets.Item]:
    return list(datasets.read([Path(f"{folder}:{part}" if part else folder)]))


def gzipped(path: Path) -> None:
    with gzip.open(f"{path}.gz", "wb") as handle:
        handle.write(path.read_bytes())
    path.unlink()


def test_mimic_jpg(make_mimic: Callable, images: np.ndarray) -> None:
    made = make_mimic(images)
    gzipped(made.folder / "mimic-cxr-2.0.0-metadata.csv")
    items = read(made.folder)
    assert [item.id for item in items] == made.ids
    for item, image in zip(items, images, strict=True):
        np.testing.assert_array_equal(item.pixels(), image)
    first, lateral, last = items[0].meta, items[4].meta, items[8].meta
    assert first == {
        "dataset": "MIMIC-CXR-JPG",
        "patient": "10000000",
        "study": "50000000",
        "view": "PA",
        "projection": "frontal",
        "sex": None,
        "age": None,
        "labels": ["Cardiomegaly"],
        "labels_from": CHEXPERT,
    }
    assert (lateral["view"], lateral["projection"], lateral["labels"]) == ("LATERAL", "lateral", ["Effusion"])
    assert (last["view"], last["labels"]) == ("AP", [])


def test_negbio_is_taken_where_chexpert_is_not(make_mimic: Callable, images: np.ndarray) -> None:
    made = make_mimic(images, labeller="negbio")
    assert read(made.folder)[0].meta["labels_from"].startswith("NegBio")


@pytest.mark.parametrize(
    ("part", "expected"),
    [("test", range(6, 12)), ("frontal", [0, 2, 3, 5, 6, 8, 9, 11]), ("lateral,test", [7, 10]), ("train", range(6))],
)
def test_parts_of_mimic(make_mimic: Callable, images: np.ndarray, part: str, expected: list[int]) -> None:
    made = make_mimic(images)
    assert [item.id for item in read(made.folder, part)] == [made.ids[index] for index in expected]


def test_images_are_not_looked_for_before_they_are_wanted(make_mimic: Callable, images: np.ndarray) -> None:
    made = make_mimic(images)
    shutil.rmtree(made.folder / "files")
    items = read(made.folder, "test")
    assert len(items) == 6
    with pytest.raises(MedsynthError, match=rf"p10000002.*{made.ids[6]}\.jpg: No such file"):
        items[0].data()


def test_mimic_dicom_takes_views_splits_and_labels_from_the_tables_of_mimic_jpg(
    make_mimic: Callable, images: np.ndarray
) -> None:
    made = make_mimic(images, dicom=True)
    items = read(made.folder)
    assert [item.id for item in items] == made.ids
    np.testing.assert_array_equal(items[3].pixels(), images[3])
    assert (items[0].meta["dataset"], items[0].meta["view"]) == ("MIMIC-CXR", None)
    assert "labels" not in items[0].meta
    for part, table in (("test", "mimic-cxr-2.0.0-split.csv"), ("frontal", "mimic-cxr-2.0.0-metadata.csv")):
        with pytest.raises(MedsynthError, match=f"no {table}"):
            read(made.folder, part)
    other = make_mimic(images, "jpg").folder
    for table in other.glob("*.csv"):
        shutil.copy(table, made.folder)
    (found, *_), labelled = read(made.folder, "test,lateral"), read(made.folder)[0]
    assert (found.id, found.meta["view"]) == (made.ids[7], "LATERAL")
    assert found.origin.endswith(".dcm")
    assert labelled.meta["labels"] == ["Cardiomegaly"]


def test_openi_with_xml_reports(openi: Path, images: np.ndarray) -> None:
    items = read(openi)
    assert [item.id for item in items] == ["CXR9_IM-0002-1001", "CXR10_IM-0001-1001", "CXR10_IM-0001-2001"]
    np.testing.assert_array_equal(items[2].pixels(), images[2])
    assert "labels" not in items[0].meta
    meta = items[1].meta
    assert (meta["patient"], meta["study"], meta["view"]) == ("CXR10", "CXR10", None)
    assert meta["labels"] == ["Atelectasis"], "not the automatic indexing"
    assert meta["report"] == {"findings": "Made up.", "impression": "None."}


def test_openi_as_kaggle_has_it(kaggle: Path, images: np.ndarray) -> None:
    items = read(kaggle)
    assert [item.id for item in items] == ["1_IM-0001-1001", "1_IM-0001-2001", "2_IM-0002-1001"]
    np.testing.assert_array_equal(items[1].pixels(), images[1])
    assert [item.meta["projection"] for item in items] == ["frontal", "lateral", "frontal"]
    assert [item.meta["view"] for item in items] == [None, "LATERAL", None]
    assert [item.meta["labels"] for item in items] == [["Cardiomegaly", "Effusion"], ["Cardiomegaly", "Effusion"], []]
    assert items[0].meta["report"] == {"findings": "Made, up.", "impression": "None."}
    assert [item.id for item in read(kaggle, "frontal")] == ["1_IM-0001-1001", "2_IM-0002-1001"]


def test_labels_are_those_of_the_modality() -> None:
    known = set(modality.load("chest_xray").labels)
    assert {label for label in findings.CHEXPERT.values() if label} <= known
    assert {label for labels in findings.MESH.values() for label in labels} <= known
    assert len(findings.CHEXPERT) == 14


@pytest.mark.parametrize(
    ("terms", "labels"),
    [
        (["normal"], []),
        (["Nodule/thorax/left", "Nodule/lung/apex"], ["Nodule"]),
        (["Thickening/lung", "Subcutaneous  Emphysema/right", "Opacity/lung"], []),
        (["Cardiac Shadow/enlarged/mild", "Hernia, Hiatal/large  "], ["Cardiomegaly", "Hernia"]),
        (["Hydropneumothorax/left"], ["Effusion", "Pneumothorax"]),
        (["No Indexing"], None),
        ([""], None),
    ],
)
def test_labels_of_mesh_terms(terms: list[str], labels: list[str] | None) -> None:
    assert findings.of_mesh(terms) == labels


@pytest.mark.parametrize(
    ("layout", "remove", "part", "message"),
    [
        ("mimic", "mimic-cxr-2.0.0-metadata.csv", "", r"no mimic-cxr-2\.0\.0-metadata\.csv\[\.gz\] in this folder"),
        ("mimic", "mimic-cxr-2.0.0-chexpert.csv", "", r"no mimic-cxr-2\.0\.0-chexpert\.csv\[\.gz\] or .*negbio"),
        ("mimic", "mimic-cxr-2.0.0-split.csv", "test", r"no mimic-cxr-2\.0\.0-split\.csv\[\.gz\]"),
        ("mimic", "*.csv", "", r"no mimic-cxr-2\.0\.0-metadata\.csv\[\.gz\]"),
        ("mimic", "", "tests", "no part 'tests'"),
        ("mimic", "", "test,train", "no part 'test,train'"),
        ("mimic", "", "validate", "name no image of this part"),
        ("openi", "NLMCXR_png/*.png", "", r"no image CXR\*\.png of OpenI in .*NLMCXR_png"),
        ("openi", "ecgen-radiology/*.xml", "", "no XML report"),
        ("openi", "", "test", "no official split"),
        ("openi", "", "frontal", "do not say which images are frontal"),
        ("kaggle", "indiana_reports.csv", "", r"no indiana_reports\.csv\[\.gz\]"),
        ("kaggle", "indiana_projections.csv", "", r"no indiana_projections\.csv\[\.gz\]"),
        ("kaggle", "", "train", "no official split"),
    ],
)
def test_what_is_missing_is_named(
    layout: str,
    remove: str,
    part: str,
    message: str,
    make_mimic: Callable,
    images: np.ndarray,
    request: pytest.FixtureRequest,
) -> None:
    folder = make_mimic(images).folder if layout == "mimic" else request.getfixturevalue(layout)
    for path in list(folder.glob(remove)) if remove else ():
        path.unlink()
    with pytest.raises(MedsynthError, match=message) as error:
        read(folder, part)
    assert "\n" not in error.value.message
    assert error.value.hint


def test_damaged_tables(make_mimic: Callable, images: np.ndarray, openi: Path) -> None:
    folder = make_mimic(images).folder
    table = folder / "mimic-cxr-2.0.0-metadata.csv"
    table.write_text("dicom_id,subject_id\n")
    with pytest.raises(MedsynthError, match=r"metadata\.csv: no column study_id, ViewPosition"):
        read(folder)
    table.unlink()
    Path(f"{table}.gz").write_bytes(b"no gzip")
    with pytest.raises(MedsynthError, match=r"metadata\.csv\.gz: not a readable table"):
        read(folder)
    (openi / "ecgen-radiology" / "9.xml").write_text("<eCitation>")
    with pytest.raises(MedsynthError, match=r"9\.xml: not a readable report"):
        read(openi)


def test_other_folders_are_read_as_before(tmp_path: Path, images: np.ndarray) -> None:
    folder = tmp_path / "plain:test"
    (folder / "files" / "p10").mkdir(parents=True)
    (folder / "files" / "p10" / "a.png").write_bytes(pixels.encode_png(images[0]))
    (folder / "CXR1_IM-0001-1001.png").write_bytes(pixels.encode_png(images[1]))
    (folder / "meta.csv").write_text("image,view\na.png,AP\n")
    assert layouts.detect(folder) is None
    first, second = read(folder)
    assert (first.id, first.meta) == ("CXR1_IM-0001-1001", {})
    assert (second.id, second.meta["view"]) == ("a", "AP")
    with pytest.raises(MedsynthError, match="not a data set with parts such as 'frontal'"):
        read(folder, "frontal")
    with pytest.raises(MedsynthError, match="no such file"):
        read(tmp_path / "nowhere", "test")


def test_images_of_mimic_without_tables_are_read_by_their_folder(make_mimic: Callable, images: np.ndarray) -> None:
    made = make_mimic(images)
    assert sorted(item.id for item in read(made.folder / "files")) == made.ids
