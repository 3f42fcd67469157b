"""Training text and targets from metadata: sides, boxes, and reports that say what the labels say."""

from __future__ import annotations

import numpy as np
import pytest

from medsynth_cli import modality
from medsynth_cli.alignment import words as word_lists
from medsynth_cli.files.datasets import Item
from medsynth_cli.text import vocabulary
from medsynth_cli.training import corpus


@pytest.fixture(scope="module")
def terms() -> vocabulary.Vocabulary:
    return vocabulary.load(modality.find("chest_xray"))


def item(labels: list[str], boxes: list[tuple[str, list[float]]]) -> Item:
    meta = {"id": "x", "labels": labels, "boxes": [{"label": label, "xywh": xywh} for label, xywh in boxes]}
    return Item("x", bytes, "x", meta)


def test_box_cells_cover_the_area_of_the_box() -> None:
    cells = corpus.box_cells([40.0, 100.0, 30.0, 50.0], 16, 256)
    assert cells.sum() == pytest.approx(30 * 50 / 16**2, rel=1e-5)
    rows, columns = np.nonzero(cells)
    assert (rows.min(), rows.max()) == (6, 9)
    assert (columns.min(), columns.max()) == (2, 4)


def test_a_box_on_the_right_of_the_image_is_the_patients_left(terms: vocabulary.Vocabulary) -> None:
    words = [w for w in word_lists.words(terms) if w.label == "Effusion"]
    said = corpus.mentions([item(["Effusion"], [("Effusion", [180.0, 150.0, 40.0, 40.0])])], words, 16, 256)
    target = {word.side: value for word, value in zip(words, said.targets[0], strict=True)}
    assert target == {"": 1.0, "left": 1.0, "right": 0.0}
    filled = {word.side: boxes.sum() > 0 for word, boxes in zip(words, said.boxes[0], strict=True)}
    assert filled == {"": True, "left": True, "right": False}


def test_a_label_without_a_box_has_no_side(terms: vocabulary.Vocabulary) -> None:
    words = [w for w in word_lists.words(terms) if w.label == "Effusion"]
    said = corpus.mentions([item(["Effusion"], []), item([], [])], words, 16, 256)
    with_label = {word.side: value for word, value in zip(words, said.targets[0], strict=True)}
    assert with_label[""] == 1.0
    assert np.isnan(with_label["left"])
    assert np.isnan(with_label["right"])
    assert (said.targets[1] == 0).all()


def test_reports_assert_the_labels_and_vary(terms: vocabulary.Vocabulary) -> None:
    writer = corpus.ReportWriter(modality.find("chest_xray"), terms, 0)
    random = np.random.default_rng(0)
    meta = item(["Effusion", "Cardiomegaly"], [("Effusion", [180.0, 150.0, 40.0, 40.0])]).meta
    records = [writer.aligned(meta, random) for _ in range(12)]
    for record in records:
        asserted = {(k["term"], k["side"]) for k in record["keywords"] if not k["negated"]}
        assert ("pleural_effusion", "left") in asserted
        assert ("cardiomegaly", None) in asserted
    assert len({record["report"]["findings"] for record in records}) > 6


def test_the_text_tokenizer_gives_any_text_back() -> None:
    text = corpus.text_tokenizer(["small left pleural effusion."] * 3, 300)
    written = "größe: pleural effusion, 12 mm?"
    assert text.decode(text.encode(written).ids).strip() == written
