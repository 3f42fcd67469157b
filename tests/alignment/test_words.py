"""Which words an image counts for: labels, boxes and reports."""

from __future__ import annotations

import pytest

from medsynth_cli import modality
from medsynth_cli.alignment.words import Evidence, all_words, words
from medsynth_cli.text import vocabulary

VOCABULARY = vocabulary.load(modality.find("chest_xray"))


def shown(meta: dict, anatomy: bool = False) -> set[str]:
    known = all_words(VOCABULARY, anatomy)
    return {known[number].phrase for number in Evidence(known, VOCABULARY).of(meta)}


def test_every_pathology_has_words_and_the_labelled_ones_are_among_them() -> None:
    found = all_words(VOCABULARY)
    assert {word.term for word in found} == {term.key for term in VOCABULARY.of_kind("pathology")}
    assert set(words(VOCABULARY)) == {word for word in found if word.label}
    assert {word.term for word in all_words(VOCABULARY, anatomy=True)} == set(VOCABULARY.terms)


def test_a_label_tells_of_its_first_term_and_of_no_side() -> None:
    assert shown({"labels": ["Cardiomegaly"]}) == {"cardiomegaly"}
    assert shown({"labels": ["Effusion"]}) == {f"{s}pleural effusion" for s in ("", "left ", "right ")}
    assert shown({"labels": []}) == shown({}) == set()


@pytest.mark.parametrize(("x", "side"), [(20, "right"), (180, "left")])
def test_a_box_tells_the_side_of_the_patient(x: int, side: str) -> None:
    boxes = [{"label": "Effusion", "xywh": [x, 100, 40, 40]}, {"label": "Mass", "xywh": [100, 0, 9, 9]}]
    found = shown({"labels": ["Effusion"], "boxes": boxes})
    assert found == {"pleural effusion", f"{side} pleural effusion"}


def test_a_report_tells_of_what_it_asserts() -> None:
    report = {"findings": "There is a right rib fracture. No pneumothorax. Possible pneumonia.", "impression": ""}
    assert shown({"report": report}) == {"rib fracture", "right rib fracture"}
    assert shown({"report": report["findings"]}) == {"rib fracture", "right rib fracture"}
    assert shown({"report": report, "labels": ["Mass"]}) > {"mass", "right mass", "right rib fracture"}


def test_anatomy_is_in_every_image() -> None:
    found = shown({"report": "Clear right lung."}, anatomy=True)
    assert {"lung", "left lung", "right lung", "carina"} <= found
    assert "pneumothorax" not in found


def test_labels_that_nobody_knows_are_counted() -> None:
    evidence = Evidence(all_words(VOCABULARY), VOCABULARY)
    assert evidence.of({"labels": ["Gout", "Mass"]}) == evidence.of({"labels": ["Mass"]})
    assert evidence.unknown == {"Gout": 1}
