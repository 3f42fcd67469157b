"""``medsynth vocab build``, ``apply`` and ``diff`` on a small corpus."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medsynth_cli import modality
from medsynth_cli.text import vocabulary

Run = Callable[..., Any]

# How often each report is in the corpus. The blanks, the name and the rare word must never become terms.
REPORTS = {
    "Small left pleural effusion. The heart is enlarged. No pneumothorax.": 12,
    "Right basilar atelectasis and cardiomegaly. No pneumothorax or effusion.": 9,
    "The lungs are clear. No effusion. Seen with XXXX XXXX and ___ and [** first name **].": 30,
    "Fluffy glorps are seen in the right lower lobe. Read by Doctor Wimpole.": 8,
    "Tracheal wobble.": 2,
}
COUNT = sum(REPORTS.values()) + 1


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "site.jsonl"
    texts = [text for text, count in REPORTS.items() for _ in range(count)] + [""]
    path.write_text("".join(json.dumps({"id": f"r{i}", "findings": text}) + "\n" for i, text in enumerate(texts)))
    return path


@pytest.fixture
def built(run: Run, corpus: Path, tmp_path: Path) -> Path:
    out = tmp_path / "my_site"
    done = run("vocab", "build", corpus, "-o", out)
    assert done.code == 0
    assert done.out == ""
    assert f"{COUNT} reports (1 without text)" in done.err
    return out


def rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "review.csv").open(newline="") as handle:
        return {row["key"]: row for row in csv.DictReader(handle)}


def edit(folder: Path, **decisions: dict[str, str]) -> None:
    """Edit rows of review.csv as a person does."""
    changed = [row | decisions.get(key, {}) for key, row in rows(folder).items()]
    with (folder / "review.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(changed[0]))
        writer.writeheader()
        writer.writerows(changed)


def test_build_keeps_what_the_corpus_has(run: Run, built: Path) -> None:
    terms = vocabulary.load(built, lexicon=True)
    assert {"pleural_effusion", "cardiomegaly", "atelectasis", "pneumothorax", "lower_lobe"} <= terms.terms.keys()
    assert not {"emphysema", "catheter", "scapula"} & terms.terms.keys()
    assert terms.terms["pneumothorax"].common
    assert not terms.terms["atelectasis"].common
    assert terms.terms["atelectasis"].anatomy[0] == "lung_base"
    assert run("vocab", "check", "--modality", built).code == 0
    assert run("vocab", "sample", "-n", 3, "--modality", built).code == 0


def test_build_counts(built: Path) -> None:
    found = json.loads((built / "statistics.json").read_text())
    assert (found["reports"], found["empty"], found["extractor"]) == (COUNT, 1, "rules")
    effusion = found["terms"]["pleural_effusion"]
    assert {key: effusion[key] for key in ("present", "absent", "uncertain", "mentioned")} == {
        "present": 12, "absent": 39, "uncertain": 0, "mentioned": 51,
    }  # fmt: skip
    assert effusion["sides"] == {"left": 12}
    assert effusion["severities"] == {"mild": 12}
    assert found["located"]["atelectasis"] == {"lung_base": 9}
    assert found["together"]["cardiomegaly"] == {"pleural_effusion": 12}
    assert found["together"]["atelectasis"] == {"cardiomegaly": 9}


def test_blanks_names_and_rare_words_are_in_no_file(built: Path) -> None:
    text = "".join(path.read_text().lower() for path in built.iterdir() if path.name in WRITTEN)
    assert "glorp" in text
    for word in ("xxxx", "first name", "___", "wimpole", "wobble"):
        assert word not in text


WRITTEN = ("anatomy.yaml", "pathology.yaml", "lexicon.yaml", "statistics.json", "review.csv")


def test_suggestions_are_phrases_that_the_vocabulary_lacks(built: Path) -> None:
    found = rows(built)
    assert found["fluffy_glorp"]["decision"] == "suggest"
    assert "glorp" not in found
    assert found["emphysema"]["decision"] == "drop"
    assert "fluffy_glorp" not in vocabulary.load(built).terms


def test_apply_keeps_drops_and_merges(run: Run, built: Path, tmp_path: Path) -> None:
    edit(
        built,
        fluffy_glorp={"decision": "keep", "name": "glorp", "sided": "yes", "anatomy": "lower_lobe"},
        atelectasis={"decision": "merge", "merge_into": "pleural_effusion"},
        pneumothorax={"decision": "drop"},
    )
    assert run("vocab", "apply", built / "review.csv", "-o", tmp_path / "new", "--modality", built).code == 0
    terms = vocabulary.load(tmp_path / "new")
    assert terms.terms["fluffy_glorp"].anatomy == ("lower_lobe",)
    assert terms.find("glorps") is terms.terms["fluffy_glorp"]
    assert terms.find("atelectasis") is terms.terms["pleural_effusion"]
    assert "pneumothorax" not in terms.terms


def test_apply_without_edits_changes_nothing(run: Run, built: Path) -> None:
    before = {path.name: path.read_bytes() for path in built.iterdir()}
    assert run("vocab", "apply", built / "review.csv").code == 0
    assert {path.name: path.read_bytes() for path in built.iterdir()} == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decision": "maybe"}, "no decision 'maybe'"),
        ({"kind": "colour"}, "no kind 'colour'"),
        ({"sided": "perhaps"}, "'perhaps' is neither yes nor no"),
        ({"decision": "merge", "merge_into": "scapula"}, "merged into 'scapula', which is not kept"),
        ({"synonyms": "effusion"}, "'effusion' also stands for"),
        ({"anatomy": "moon"}, "no anatomy 'moon'"),
    ],
)
def test_apply_refuses_what_does_not_fit(run: Run, built: Path, change: dict[str, str], message: str) -> None:
    before = (built / "pathology.yaml").read_bytes()
    edit(built, cardiomegaly=change)
    done = run("vocab", "apply", built / "review.csv")
    assert done.code == 2
    assert message in done.err
    assert (built / "pathology.yaml").read_bytes() == before


def test_diff(run: Run, built: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(built, other)
    assert run("vocab", "diff", built, other).out == ""
    text = (other / "pathology.yaml").read_text()
    (other / "pathology.yaml").write_text(text.replace("enlarged heart,", "big heart,"))
    counts = json.loads((other / "statistics.json").read_text())
    counts["terms"]["atelectasis"]["present"] = 50
    (other / "statistics.json").write_text(json.dumps(counts))
    lines = run("vocab", "diff", built, other).out.splitlines()
    assert lines[0].startswith("~ pathology cardiomegaly: synonyms -enlarged heart, +big heart")
    assert lines[1] == "~ pathology atelectasis: in 14.75% of reports, now 81.97%"
    found = run("vocab", "diff", "chest_xray", built, "--json").records
    assert {"change": "removed", "kind": "lexicon", "key": "catheter"} in found
    assert run("vocab", "diff", built, tmp_path / "none").code == 2


def test_workers_and_parts_do_not_change_the_result(run: Run, corpus: Path, tmp_path: Path) -> None:
    lines = corpus.read_text().splitlines(keepends=True) * 18
    large = tmp_path / "large.jsonl"
    large.write_text("".join(lines))
    halves = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for path, part in zip(halves, (lines[:700], lines[700:]), strict=True):
        path.write_text("".join(part))
    folders = [tmp_path / name for name in ("one", "two", "parts")]
    for folder, sources, workers in zip(folders, ([large], [large], halves), (1, 2, 1), strict=True):
        assert run("vocab", "build", *sources, "-o", folder, "--workers", workers).code == 0
    for name in WRITTEN:
        first, *others = ((folder / name).read_bytes() for folder in folders)
        assert all(other == first for other in others)


def test_bad_lines_and_used_folders(run: Run, built: Path, corpus: Path, tmp_path: Path) -> None:
    assert "not empty" in run("vocab", "build", corpus, "-o", built).err
    bad = tmp_path / "bad.jsonl"
    bad.write_text(corpus.read_text() + "no json\n")
    errors = tmp_path / "errors.jsonl"
    done = run("vocab", "build", bad, "-o", built, "--overwrite", "--errors", errors)
    assert done.code == 3
    assert json.loads(errors.read_text())["line"] == COUNT + 1
    bad.write_text("no json\n")
    assert run("vocab", "build", bad, "-o", tmp_path / "x").code == 1
    assert not (tmp_path / "x").exists()
    same = modality.find("chest_xray")
    assert "is the vocabulary to start from" in run("vocab", "build", corpus, "-o", same, "--overwrite").err
    assert run("vocab", "build", corpus, "-o", tmp_path / "x", "--extractor", "magic").code == 2


def test_stdin_and_thresholds(run: Run, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    options = ("--min-reports", 10, "--suggestions", 0)
    assert run("vocab", "build", "-", "-o", out, *options, stdin=corpus.read_text()).code == 0
    terms = vocabulary.load(out).terms
    assert "pleural_effusion" in terms
    assert "atelectasis" not in terms
    assert {row["decision"] for row in rows(out).values()} == {"keep", "drop"}


def test_counts_of_few_patients_are_hidden(run: Run, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    assert run("vocab", "build", corpus, "-o", out, "--min-reports", 11).code == 0
    found = json.loads((out / "statistics.json").read_text())
    effusion = found["terms"]["pleural_effusion"]
    assert (effusion["present"], effusion["uncertain"]) == (12, 0)
    assert found["terms"]["cardiomegaly"]["mentions"] == 21
    assert "located" in found
    assert found["located"] == {}
    assert found["findings"] == {"0": 40, "2": 21}
    assert rows(out)["atelectasis"]["mentioned"] == "<11"


def test_denials_and_degrees_make_no_synonyms(run: Run, tmp_path: Path) -> None:
    corpus, out = tmp_path / "c.jsonl", tmp_path / "site"
    texts = ["The heart is not enlarged.", "Cardiac silhouette remains mildly enlarged.", "Left atrial enlargement."]
    corpus.write_text("".join(json.dumps({"findings": text}) + "\n" for text in texts * 6))
    assert run("vocab", "build", corpus, "-o", out).code == 0
    kept, base = vocabulary.load(out).terms, vocabulary.load(modality.find("chest_xray")).terms
    assert set(kept["cardiomegaly"].synonyms) == set(base["cardiomegaly"].synonyms)
    assert set(kept["left_atrium"].synonyms) == set(base["left_atrium"].synonyms)
