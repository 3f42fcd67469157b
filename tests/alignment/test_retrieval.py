"""Retrieval: what a report asserts fetches key patches, what it denies does not."""

from __future__ import annotations

from collections import Counter

import pytest

from medsynth_cli.alignment import retrieval
from medsynth_cli.files.records import complaint
from medsynth_cli.runtime import bundles


@pytest.fixture(scope="module")
def retriever() -> retrieval.Retriever:
    return retrieval.load(bundles.load("cxr-mini"))


def report(findings: str, impression: str = "", id: str = "r1") -> dict:
    writer = {"provider": "test", "model": None, "prompt_sha256": None, "usage": None}
    return {"kind": "report", "id": id, "report": {"findings": findings, "impression": impression}, "writer": writer}


def test_an_aligned_record_is_valid_and_fits_the_bundle(retriever: retrieval.Retriever) -> None:
    record = retriever.align(report("There is a small left pleural effusion."))
    assert complaint(record, ("aligned",)) == ""
    assert record["tokenizer_sha256"] == bundles.load("cxr-mini").tokenizer_sha256


def test_a_side_fetches_patches_of_that_side(retriever: retrieval.Retriever) -> None:
    for side in ("left", "right"):
        patches = retriever.align(report(f"There is a {side} pleural effusion."), k2=3)["key_patches"]
        assert len(patches) == 3
        assert all(p["entry"].startswith(f"pleural_effusion.{side}.") for p in patches)


@pytest.mark.parametrize("text", ["No pleural effusion.", "Pleural effusion cannot be excluded.", "Clear lungs."])
def test_denied_doubted_and_absent_words_fetch_nothing(retriever: retrieval.Retriever, text: str) -> None:
    assert retriever.align(report(text))["key_patches"] == []


def test_patches_spread_over_words(retriever: retrieval.Retriever) -> None:
    record = retriever.align(report("There is a left pleural effusion. There is cardiomegaly."), k2=4)
    assert Counter(p["term"] for p in record["key_patches"]) == {"pleural_effusion": 2, "cardiomegaly": 2}


def test_a_synonym_without_patches_of_its_own_uses_those_of_its_label(retriever: retrieval.Retriever) -> None:
    patches = retriever.align(report("There is subsegmental atelectasis at the left base."))["key_patches"]
    assert patches
    assert all(p["entry"].startswith("atelectasis.left.") for p in patches)


def test_the_draw_depends_on_seed_and_id_alone(retriever: retrieval.Retriever) -> None:
    text = "There is a left pleural effusion."
    first = retriever.align(report(text), seed=3)["key_patches"]
    assert retriever.align(report(text), seed=3)["key_patches"] == first
    others = [retriever.align(report(text, id=f"r{i}"), seed=3)["key_patches"] for i in range(2, 8)]
    assert any(other != first for other in others)


def test_no_patches_on_request(retriever: retrieval.Retriever) -> None:
    assert retriever.align(report("There is a left pleural effusion."), k2=0)["key_patches"] == []
