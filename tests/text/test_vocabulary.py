"""The chest vocabulary is complete and sound, and every fault in a vocabulary is found at its line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from medsynth_cli import modality
from medsynth_cli.errors import MedsynthError
from medsynth_cli.text import vocabulary

FOLDER = modality.find("chest_xray")
CHEST = vocabulary.load(FOLDER)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small valid modality to spoil."""
    shutil.copy(FOLDER / "modality.yaml", tmp_path)
    (tmp_path / "anatomy.yaml").write_text("lung:\n  name: lung\n  synonyms: [lung field]\n  sided: true\n")
    (tmp_path / "pathology.yaml").write_text(
        "mass:\n  name: mass\n  synonyms: [tumor]\n  anatomy: [lung]\n  sided: true\n  label: Mass\n"
    )
    return tmp_path


def test_chest_vocabulary_is_large_and_sound() -> None:
    assert vocabulary.check(FOLDER) == []
    assert len(CHEST.of_kind("anatomy")) >= 40
    pathologies = CHEST.of_kind("pathology")
    assert len(pathologies) >= 40
    assert all(term.synonyms and term.anatomy for term in pathologies)
    assert {term.label for term in pathologies if term.label} == set(modality.load("chest_xray").labels)


@pytest.mark.parametrize(
    ("phrase", "key"),
    [
        ("Pleural_Thickening", "pleural_thickening"),
        ("Pleural Thickening", "pleural_thickening"),
        ("pleural_effusion", "pleural_effusion"),
        ("EFFUSIONS", "pleural_effusion"),
        ("pleural fluid", "pleural_effusion"),
        ("enlarged heart", "cardiomegaly"),
        ("Edema", "pulmonary_edema"),
        ("Hernia", "hiatal_hernia"),
        ("pneumothoraces", "pneumothorax"),
        ("masses", "mass"),
        ("opacities", "opacity"),
        ("metastases", "metastasis"),
        ("bullae", "bulla"),
        ("lung apices", "lung_apex"),
        ("lung bases", "lung_base"),
        ("hila", "hilum"),
        ("lower   lobe", "lower_lobe"),
    ],
)
def test_find(phrase: str, key: str) -> None:
    found = CHEST.find(phrase)
    assert found is not None
    assert found.key == key


def test_every_label_finds_the_term_that_has_it() -> None:
    for label in modality.load("chest_xray").labels:
        found = CHEST.find(label)
        assert found is not None
        assert found.label == label


def test_find_knows_nothing_else_and_nearest_helps() -> None:
    assert CHEST.find("efusion") is None
    assert CHEST.find("") is None
    assert CHEST.nearest("efusion")[0] == "pleural effusion"
    assert CHEST.nearest("cardiomegally")[0] == "cardiomegaly"
    assert len(CHEST.nearest("xyz", 3)) == 3


def test_labels_of_present_findings_once() -> None:
    findings = [
        {"term": "pneumothorax", "present": True},
        {"term": "tension_pneumothorax", "present": True},
        {"term": "cardiomegaly", "present": False},
        {"term": "opacity", "present": True},
        {"term": "pleural_effusion", "present": True},
    ]
    assert CHEST.labels_of(findings) == ["Pneumothorax", "Effusion"]


def test_small_vocabulary_is_valid(folder: Path) -> None:
    assert vocabulary.check(folder) == []
    assert list(vocabulary.load(folder).terms) == ["lung", "mass"]


NODULE = "nodule:\n  name: nodule\n  synonyms: []\n  anatomy: [lung]\n  sided: true\n"


@pytest.mark.parametrize(
    ("added", "line", "message"),
    [
        (NODULE.replace("[lung]", "[lung, liver]"), 10, "no anatomy 'liver'"),
        (NODULE + "  label: Nodle\n", 12, "unknown label 'Nodle'"),
        (NODULE.replace("[]", "[Tumors]"), 9, "'Tumors' also stands for mass"),
        (NODULE.replace("[]", "[spot, Spot]"), 9, "'Spot' is listed twice"),
        (NODULE.replace("nodule:", "mass:"), 7, "key used twice"),
        (NODULE + "  name: knot\n", 12, "'name' appears twice"),
        (NODULE.replace("sided: true", "sided: maybe"), 11, "'sided' must be a bool"),
        (NODULE.replace("synonyms: []", "synonyms: [1]"), 9, "'synonyms' must hold texts"),
        (NODULE.replace("  synonyms: []\n", ""), 7, "'synonyms' is missing"),
        (NODULE + "  colour: red\n", 12, "unknown field 'colour'"),
        (NODULE + "  extent: [0.5, 0.1]\n", 12, "'extent' must hold two rising numbers"),
        (NODULE.replace("nodule:", "Big Nodule:"), 7, "a key is snake_case"),
        ("nodule: 3\n", 7, "nodule: not a mapping"),
        ("nodule: [\n", 8, "not YAML"),
    ],
)
def test_check_names_file_and_line(folder: Path, added: str, line: int, message: str) -> None:
    path = folder / "pathology.yaml"
    path.write_text(path.read_text() + added)
    complaints = [c for c in vocabulary.check(folder) if message in c.message]
    assert [(c.file, c.line) for c in complaints] == [(str(path), line)]
    with pytest.raises(MedsynthError, match=r"pathology.yaml:\d+: "):
        vocabulary.load(folder)


def test_a_missing_file_is_a_complaint(folder: Path) -> None:
    (folder / "anatomy.yaml").unlink()
    assert vocabulary.check(folder)[0] == vocabulary.Complaint(
        str(folder / "anatomy.yaml"), 1, "No such file or directory"
    )
