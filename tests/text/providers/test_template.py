"""Template reports say exactly what was asked for, in varied but short and reproducible text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from medsynth_cli import modality
from medsynth_cli.errors import MedsynthError
from medsynth_cli.text import entities, providers, sampling, vocabulary

FOLDER = modality.find("chest_xray")
CHEST = vocabulary.load(FOLDER)
TERM_SETS = list(sampling.sample(CHEST, 500, seed=11, plan=sampling.Plan()))


@pytest.fixture(scope="module")
def writer() -> providers.Provider:
    return providers.load("template", FOLDER, seed=4)


def mentioned(draft: providers.Draft) -> list[dict[str, Any]]:
    report = {"findings": draft.findings, "impression": draft.impression}
    return [k for k in entities.keywords(report, CHEST) if CHEST.terms[k["term"]].kind == "pathology"]


def record(*findings: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"kind": "terms", "id": "r", "findings": [{"present": True} | f for f in findings]} | fields


def test_500_reports_assert_what_is_present_and_deny_what_is_absent(writer: providers.Provider) -> None:
    for terms in TERM_SETS:
        draft = writer.write(terms, 0)
        found = mentioned(draft)
        asserted = {(k["term"], k["side"]) for k in found if not k["negated"]}
        denied = {k["term"] for k in found if k["negated"]}
        wanted = {(f["term"], f["side"]) for f in terms["findings"] if f["present"]}
        assert asserted == wanted, draft
        assert {f["term"] for f in terms["findings"] if not f["present"]} <= denied, draft
        assert not denied & {term for term, _ in wanted}, draft
        assert not any(k["uncertain"] for k in found), draft


def test_reports_are_short_and_varied(writer: providers.Provider) -> None:
    drafts = [writer.write(terms, 0) for terms in TERM_SETS]
    assert all(25 <= len(draft.findings.split()) <= 55 for draft in drafts)
    assert all(4 <= len(draft.impression.split()) <= 20 for draft in drafts)
    assert len({draft.findings for draft in drafts}) > 0.95 * len(drafts)
    assert len({word for draft in drafts for word in draft.findings.lower().split()}) < 600


def test_the_same_seed_and_record_give_the_same_report(writer: providers.Provider) -> None:
    again = providers.load("template", FOLDER, seed=4)
    backwards = {terms["id"]: again.write(terms, 0) for terms in reversed(TERM_SETS[:50])}
    assert all(writer.write(terms, 0) == backwards[terms["id"]] for terms in TERM_SETS[:50])
    other = providers.load("template", FOLDER, seed=5)
    assert sum(other.write(t, 0) != writer.write(t, 0) for t in TERM_SETS[:50]) > 45


def test_side_site_and_severity_are_said(writer: providers.Provider) -> None:
    finding = {"term": "pleural_effusion", "anatomy": "lung_base", "side": "left", "severity": "severe"}
    for number in range(20):
        text = writer.write(record(finding, id=f"r{number}"), 0).findings.lower()
        assert "large" in text
        assert "at the left lung base" in text


def test_many_findings_stay_readable(writer: providers.Provider) -> None:
    keys = ["atelectasis", "consolidation", "mass", "nodule", "pneumonia", "pleural_effusion", "pneumothorax"]
    sides = ["left", "right", "bilateral", None, None, "left", None]
    findings = [{"term": k, "side": s, "severity": "mild"} for k, s in zip(keys, sides, strict=True)]
    for number in range(30):
        draft = writer.write(record(*findings, id=f"r{number}"), 0)
        assert {(k["term"], k["side"]) for k in mentioned(draft)} >= set(zip(keys, sides, strict=True))
        assert len(draft.findings.split()) <= 60
        assert len(draft.impression.split()) <= 20


def test_normal_structures_are_not_called_normal_beside_their_findings(writer: providers.Provider) -> None:
    for number in range(40):
        text = writer.write(record({"term": "cardiomegaly"}, {"term": "pneumonia"}, id=f"r{number}"), 0).findings
        assert "heart is normal" not in text
        assert "Heart size" not in text
        assert "lungs are" not in text


def test_context_follows_the_record() -> None:
    writer = providers.load("template", FOLDER, context="1")
    texts = {writer.write(record(id=f"r{n}", view="AP", sex="F", age=81), 0).findings for n in range(30)}
    assert all("AP" in text for text in texts)
    assert any("AP view of an 81-year-old woman." in text for text in texts)
    child = [writer.write(record(id=f"r{n}", view="PA", sex="M", age=7), 0).findings for n in range(30)]
    assert any("a 7-year-old boy" in text for text in child)
    unknown = writer.write(record(view=None, sex="M", age=7), 0).findings
    assert "7" not in unknown
    assert "view" not in unknown


def test_settings() -> None:
    writer = providers.load("template", FOLDER, context="0", min_words="0", max_words="0")
    draft = writer.write(record({"term": "mass", "side": "left"}, view="PA", sex="M", age=50), 0)
    assert len(draft.findings.split()) < 10
    with pytest.raises(MedsynthError) as caught:
        providers.load("template", FOLDER, colour="red")
    assert "no setting 'colour'" in caught.value.message
    assert caught.value.hint == "known: context, min_words, max_words"
    for wrong in ({"context": "2"}, {"context": "much"}, {"min_words": "90"}):
        with pytest.raises(MedsynthError, match="setting"):
            providers.load("template", FOLDER, **wrong)
    with pytest.raises(MedsynthError, match="unknown provider 'parrot'"):
        providers.load("parrot", FOLDER)


def test_grammar_speaks_of_known_terms_only() -> None:
    import yaml

    grammar = yaml.safe_load((FOLDER / "grammar.yaml").read_text())
    for section in ("say", "sized", "at", "silent"):
        assert {key for key in grammar[section] if key not in CHEST.terms} == set(), section
    structures = {term.structure for term in CHEST.of_kind("pathology")}
    assert set(grammar["normal"]) <= structures
    assert json.dumps(grammar).isascii()
