"""Reports are compared with what was asked for; records that cannot be reported are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medsynth_cli import modality
from medsynth_cli.files import records
from medsynth_cli.text import providers, reports, sampling, termsets, vocabulary

FOLDER = modality.find("chest_xray")
CHEST = vocabulary.load(FOLDER)


@pytest.mark.parametrize(
    ("wanted", "text", "missing", "contradicted"),
    [
        ("left effusion", "Large left effusion.", [], []),
        ("left effusion", "Large effusion.", ["pleural_effusion"], []),
        ("left effusion", "Right effusion.", ["pleural_effusion"], ["pleural_effusion"]),
        ("left effusion", "Bilateral effusions. Left effusion.", [], ["pleural_effusion"]),
        ("left effusion, right effusion", "Left effusion. Right effusion.", [], []),
        ("effusion", "Right effusion.", [], []),
        ("effusion", "No effusion.", ["pleural_effusion"], ["pleural_effusion"]),
        ("effusion", "Possible effusion.", ["pleural_effusion"], []),
        ("effusion", "The lungs are clear.", ["pleural_effusion"], []),
        ("left effusion", "Left effusion. No right effusion.", [], []),
        ("no pneumothorax", "No effusion or pneumothorax.", [], []),
        ("no pneumothorax", "The lungs are clear.", ["pneumothorax"], []),
        ("no pneumothorax", "Small left pneumothorax.", ["pneumothorax"], ["pneumothorax"]),
        ("left effusion, no right effusion", "Left effusion. No right effusion.", [], []),
        ("left effusion, no right effusion", "Bilateral effusions.", ["pleural_effusion"], ["pleural_effusion"]),
        ("normal", "Normal. No effusion.", [], []),
        ("normal", "Mild cardiomegaly.", [], ["cardiomegaly"]),
    ],
)
def test_check(wanted: str, text: str, missing: list[str], contradicted: list[str]) -> None:
    findings = termsets.parse(wanted, CHEST)
    assert reports.check({"findings": text, "impression": ""}, findings, CHEST) == {
        "missing": missing,
        "contradicted": contradicted,
    }


def test_template_reports_pass_the_check_and_the_schema() -> None:
    failures = records.Failures()
    writer = providers.load("template", FOLDER, seed=1)
    written = list(reports.compose(sampling.sample(CHEST, 100, seed=2, plan=sampling.Plan()), writer, CHEST, failures))
    assert len(written) == 100
    assert len(failures) == 0
    for record in written:
        assert records.complaint(record, ("report",)) == ""
        assert record["checks"] == {"missing": [], "contradicted": []}
        assert record["writer"]["provider"] == "template"
        assert len(record["writer"]["prompt_sha256"]) == 64


@pytest.mark.parametrize(
    ("finding", "reason"),
    [
        ({"term": "efusion"}, "unknown pathology 'efusion' (nearest: pleural effusion"),
        ({"term": "lung"}, "unknown pathology 'lung'"),
        ({"term": "mass", "anatomy": "liver"}, "unknown anatomy 'liver'"),
    ],
)
def test_unknown_terms_fail_their_record(tmp_path: Path, finding: dict[str, Any], reason: str) -> None:
    failures = records.Failures(tmp_path / "errors.jsonl")
    bad = {"kind": "terms", "id": "bad", "findings": [finding | {"present": True}]}
    good = {"kind": "terms", "id": "good", "findings": [], "note": "kept"}
    writer = providers.load("template", FOLDER)
    written = list(reports.compose([bad, good], writer, CHEST, failures))
    assert [(record["id"], record["note"]) for record in written] == [("good", "kept")]
    assert reason in (tmp_path / "errors.jsonl").read_text()
