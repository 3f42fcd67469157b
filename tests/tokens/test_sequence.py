"""The sequence layout: fixed lengths, disjoint token ranges, and what a prefix says."""

import numpy as np
import pytest

from medsynth_cli.tokens.sequence import Layout, SequenceEncoder
from medsynth_cli.training.corpus import text_tokenizer

LABELS = ("Atelectasis", "Cardiomegaly", "Effusion")


@pytest.fixture(scope="module")
def encoder() -> SequenceEncoder:
    text = text_tokenizer(["small left pleural effusion.", "no pneumothorax."] * 5, 300)
    layout = Layout(codes=64, grid=8, text_size=text.get_vocab_size(), labels=LABELS, views=("PA", "AP"))
    return SequenceEncoder(layout, text, {"pleural_effusion": "Effusion", "cardiomegaly": "Cardiomegaly"})


def record(**changes: object) -> dict:
    word = {"term": "pleural_effusion", "side": "left", "negated": False, "uncertain": False}
    base = {
        "view": "AP",
        "sex": "F",
        "age": 63,
        "findings": [{"term": "pleural_effusion", "severity": "mild", "present": True}],
        "report": {"findings": "small left pleural effusion.", "impression": "no pneumothorax."},
        "keywords": [word],
        "key_patches": [{"term": "pleural_effusion", "at": [5, 4], "codes": np.arange(9).reshape(3, 3).tolist()}],
    }
    return base | changes


def test_every_prefix_has_the_same_length_and_ends_with_the_image_token(encoder: SequenceEncoder) -> None:
    long = record(report={"findings": "effusion " * 500, "impression": ""})
    for prefix in (encoder.prefix(record()), encoder.prefix(long), encoder.person(record())):
        assert prefix.shape == (encoder.layout.prefix,)
        assert prefix[-1] == encoder.layout.image
        assert prefix.max() < encoder.layout.vocab_size


def test_token_ranges_do_not_overlap() -> None:
    layout = Layout(codes=64, grid=8, text_size=300, labels=LABELS, views=("PA",))
    starts = list(layout.offsets.values())
    assert starts == sorted(starts)
    assert layout.offsets["code"] == 0
    assert layout.offsets["label"] + len(LABELS) == layout.offsets["side"]


@pytest.mark.parametrize(
    "change",
    [
        {"view": "PA"},
        {"sex": None},
        {"age": 34},
        {"key_patches": []},
        {"findings": [{"term": "pleural_effusion", "severity": "severe", "present": True}]},
        {"report": {"findings": "", "impression": ""}},
        {"keywords": [{"term": "pleural_effusion", "side": "right", "negated": False, "uncertain": False}]},
        {"keywords": [{"term": "pleural_effusion", "side": "left", "negated": True, "uncertain": False}]},
    ],
)
def test_every_part_of_the_prompt_reaches_the_prefix(encoder: SequenceEncoder, change: dict) -> None:
    assert not np.array_equal(encoder.prefix(record()), encoder.prefix(record(**change)))


def test_the_person_alone_is_what_a_prompt_without_findings_and_words_says(encoder: SequenceEncoder) -> None:
    silent = record(findings=[], keywords=[], key_patches=[], report={"findings": "", "impression": ""})
    np.testing.assert_array_equal(encoder.person(record()), encoder.prefix(silent))
    said = encoder.person(record())[encoder.layout.person_at :]
    assert (encoder.person(record())[: encoder.layout.person_at] == encoder.layout.pad).all()
    assert (said != encoder.layout.pad).all()


def test_a_key_patch_becomes_label_place_and_codes(encoder: SequenceEncoder) -> None:
    offsets = encoder.layout.offsets
    patch = encoder.prefix(record())[-13:-1].tolist()
    assert patch[:3] == [offsets["label"] + 2, offsets["row"] + 5, offsets["column"] + 4]
    assert patch[3:] == list(range(9))


def test_a_denied_finding_is_not_asserted(encoder: SequenceEncoder) -> None:
    denied = {"term": "cardiomegaly", "side": None, "negated": True, "uncertain": False}
    words = [*record()["keywords"], denied]
    assert encoder.asserted(record(keywords=words)) == {2: ("pleural_effusion", "left")}
