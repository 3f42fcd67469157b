"""Term sets from phrases, from chance and from metadata."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from medsynth_cli import modality
from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import records
from medsynth_cli.text import people, sampling, termsets, vocabulary

CHEST = vocabulary.load(modality.find("chest_xray"))


def parse(text: str) -> list[tuple[Any, ...]]:
    return [(f["term"], f["anatomy"], f["side"], f["severity"], f["present"]) for f in termsets.parse(text, CHEST)]


def test_parse_the_example() -> None:
    text = "left effusion, moderate cardiomegaly, no pneumothorax, effusion in the right lung base"
    assert parse(text) == [
        ("pleural_effusion", None, "left", None, True),
        ("cardiomegaly", None, None, "moderate", True),
        ("pneumothorax", None, None, None, False),
        ("pleural_effusion", "lung_base", "right", None, True),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Effusion", [("pleural_effusion", None, None, None, True)]),
        ("Pleural_Thickening", [("pleural_thickening", None, None, None, True)]),
        ("small left-sided effusions", [("pleural_effusion", None, "left", "mild", True)]),
        ("left and right effusion", [("pleural_effusion", None, "bilateral", None, True)]),
        ("severe right lower lobe pneumonia", [("pneumonia", "lower_lobe", "right", "severe", True)]),
        ("bibasilar atelectasis", [("atelectasis", "lung_base", "bilateral", None, True)]),
        ("mass in both lungs", [("mass", "lung", "bilateral", None, True)]),
        (
            "no effusion or pneumothorax",
            [("pleural_effusion", None, None, None, False), ("pneumothorax", None, None, None, False)],
        ),
        (
            "no effusion and mild cardiomegaly",
            [("pleural_effusion", None, None, None, False), ("cardiomegaly", None, None, "mild", True)],
        ),
        (
            "cardiomegaly and edema",
            [("cardiomegaly", None, None, None, True), ("pulmonary_edema", None, None, None, True)],
        ),
        (
            "left effusion, no right effusion",
            [("pleural_effusion", None, "left", None, True), ("pleural_effusion", None, "right", None, False)],
        ),
    ],
)
def test_parse(text: str, expected: list[tuple[Any, ...]]) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["normal", "Normal.", "no finding", "no findings", "No acute abnormality"])
def test_parse_normal(text: str) -> None:
    assert termsets.parse(text, CHEST) == []


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("left efusion", "unknown finding 'left efusion'", "nearest: pleural effusion"),
        ("cardiomegaly, banana", "unknown finding 'banana'", "nearest: "),
        ("purple effusion", "unknown finding 'purple effusion'", "pleural effusion"),
        ("lung", "unknown finding 'lung'", "nearest: "),
        ("left cardiomegaly", "cardiomegaly has no side", "without"),
        ("effusion, no effusion", "asked for and denied", "leave one"),
        ("effusion pneumothorax", "more than one finding", "commas"),
        (" , ", "no finding given", "--findings"),
    ],
)
def test_parse_refuses(text: str, message: str, hint: str) -> None:
    with pytest.raises(MedsynthError) as caught:
        termsets.parse(text, CHEST)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_samples_are_valid_and_plausible() -> None:
    sampled = list(sampling.sample(CHEST, 400, seed=5, plan=sampling.Plan()))
    for number, record in enumerate(sampled):
        assert records.complaint(record, ("terms",)) == ""
        assert record["id"] == f"terms-5-{number:04d}"
        assert record["labels"] == CHEST.labels_of(record["findings"])
        present = [f for f in record["findings"] if f["present"]]
        assert len(present) <= 3
        for finding in present:
            term = CHEST.terms[finding["term"]]
            assert finding["anatomy"] is None or finding["anatomy"] in term.anatomy
            assert finding["side"] is None or term.sided
        terms = [f["term"] for f in record["findings"]]
        assert len(terms) == len(set(terms))
    normal = sum(not any(f["present"] for f in record["findings"]) for record in sampled)
    assert 60 <= normal <= 140
    assert {record["view"] for record in sampled} == {"PA", "AP"}
    assert {record["sex"] for record in sampled} == {"M", "F"}
    assert {label for record in sampled for label in record["labels"]} == set(modality.load("chest_xray").labels)
    assert any(not f["present"] for record in sampled for f in record["findings"])


def test_a_sample_depends_on_seed_and_number_alone() -> None:
    many = list(sampling.sample(CHEST, 20, seed=1, plan=sampling.Plan()))
    assert list(itertools.islice(sampling.sample(CHEST, 500, seed=1, plan=sampling.Plan()), 20)) == many
    assert [r["findings"] for r in sampling.sample(CHEST, 20, seed=2, plan=sampling.Plan())] != [
        r["findings"] for r in many
    ]


def test_sample_keeps_what_is_given() -> None:
    one = {
        "view": people.names("AP", CHEST.views, "view"),
        "sex": people.names("F", "MF", "sex"),
        "age": people.ages("40"),
    }
    for record in sampling.sample(CHEST, 10, seed=1, plan=sampling.Plan(**one)):
        assert (record["view"], record["sex"], record["age"]) == ("AP", "F", 40)


def from_boxes(label: str, *boxes: list[float]) -> dict[str, Any]:
    meta = {"id": "a", "labels": [label], "boxes": [{"label": label, "xywh": box} for box in boxes]}
    record = termsets.from_metadata(meta, CHEST, np.random.default_rng(0))
    assert records.complaint(record, ("terms",)) == ""
    (finding,) = record["findings"]
    return finding


def test_a_box_on_the_image_left_is_the_patients_right() -> None:
    assert from_boxes("Pneumonia", [20, 150, 60, 50])["side"] == "right"
    assert from_boxes("Pneumonia", [170, 150, 60, 50])["side"] == "left"


def test_boxes_on_both_sides_or_across_the_midline_are_bilateral() -> None:
    assert from_boxes("Pneumonia", [20, 150, 60, 50], [170, 150, 60, 50])["side"] == "bilateral"
    assert from_boxes("Pneumonia", [60, 150, 140, 50])["side"] == "bilateral"
    assert from_boxes("Pneumonia", [120, 150, 60, 50])["side"] == "left"


@pytest.mark.parametrize(
    ("y", "zone"), [(30, "upper_lung_zone"), (100, "mid_lung_zone"), (160, "lower_lung_zone"), (230, "lower_lung_zone")]
)
def test_zone_by_the_centre_of_the_box(y: float, zone: str) -> None:
    assert from_boxes("Pneumonia", [20, y, 40, 20])["anatomy"] == zone


def test_boxes_in_several_zones_have_none() -> None:
    assert from_boxes("Pneumonia", [20, 30, 40, 40], [20, 180, 40, 40])["anatomy"] is None


def test_severity_by_area() -> None:
    assert from_boxes("Nodule", [20, 30, 12, 12])["severity"] == "mild"
    assert from_boxes("Nodule", [20, 30, 18, 18])["severity"] == "moderate"
    assert from_boxes("Nodule", [20, 30, 40, 40])["severity"] == "severe"


def test_cardiomegaly_has_no_side() -> None:
    finding = from_boxes("Cardiomegaly", [65, 125, 140, 122])
    assert (finding["side"], finding["anatomy"], finding["severity"]) == (None, "cardiac_silhouette", "severe")


def test_labels_without_boxes_and_shared_fields() -> None:
    meta = {"id": "x-1", "patient": "p", "age": 7, "sex": "F", "view": "PA", "boxes": []}
    meta |= {"labels": ["Effusion", "Pleural Thickening"]}
    record = termsets.from_metadata(meta, CHEST, np.random.default_rng(0))
    assert [(f["term"], f["side"], f["present"]) for f in record["findings"]] == [
        ("pleural_effusion", None, True),
        ("pleural_thickening", None, True),
    ]
    assert record["labels"] == ["Effusion", "Pleural_Thickening"]
    assert {key: record[key] for key in ("id", "patient", "age", "sex", "view")} == {
        "id": "x-1", "patient": "p", "age": 7, "sex": "F", "view": "PA",
    }  # fmt: skip


def test_normal_images_are_sometimes_given_absences() -> None:
    random = np.random.default_rng(0)
    counts = []
    for _ in range(200):
        record = termsets.from_metadata({"id": "n", "labels": []}, CHEST, random)
        assert not any(f["present"] for f in record["findings"])
        counts.append(len(record["findings"]))
    assert set(counts) == {0, 1, 2, 3}
    assert 60 <= counts.count(0) <= 140


def test_an_unknown_label_is_an_error() -> None:
    with pytest.raises(MedsynthError, match="a: label 'Gout' is not in the vocabulary"):
        termsets.from_metadata({"id": "a", "labels": ["Gout"]}, CHEST, np.random.default_rng(0))
