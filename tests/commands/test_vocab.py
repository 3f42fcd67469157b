"""``medsynth vocab``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from medsynth_cli import app, modality
from medsynth_cli.files import records

Capture = pytest.CaptureFixture[str]


def test_show_prints_names_and_a_table(capsys: Capture) -> None:
    assert app.main(["vocab", "show"]) == 0
    captured = capsys.readouterr()
    assert "pleural effusion" in captured.out.splitlines()
    assert "lower lobe" in captured.out.splitlines()
    assert "pleural_effusion" in captured.err


def test_show_one_kind_as_json(capsys: Capture) -> None:
    assert app.main(["vocab", "show", "--kind", "pathology", "--json", "--quiet"]) == 0
    captured = capsys.readouterr()
    terms = [json.loads(line) for line in captured.out.splitlines()]
    assert len(terms) >= 40
    assert {term["kind"] for term in terms} == {"pathology"}
    effusion = next(term for term in terms if term["key"] == "pleural_effusion")
    assert effusion["label"] == "Effusion"
    assert effusion["sided"] is True
    assert captured.err == ""


def test_show_one_term(capsys: Capture) -> None:
    assert app.main(["vocab", "show", "enlarged heart"]) == 0
    assert capsys.readouterr().out == "cardiomegaly\n"


def test_show_refuses_unknown_terms_and_kinds(capsys: Capture) -> None:
    assert app.main(["vocab", "show", "efusion"]) == 2
    assert "unknown term 'efusion' (nearest: pleural effusion" in capsys.readouterr().err
    assert app.main(["vocab", "show", "--kind", "colour"]) == 2
    assert "known: anatomy, pathology" in capsys.readouterr().err
    assert app.main(["vocab", "show", "--modality", "knee"]) == 2
    assert "no modality 'knee'" in capsys.readouterr().err


def test_check_is_content_with_the_chest(capsys: Capture) -> None:
    assert app.main(["vocab", "check"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no complaint" in captured.err


def test_check_names_file_and_line(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "chest"
    shutil.copytree(modality.find("chest_xray"), folder)
    path = folder / "pathology.yaml"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, "spot:", "  name: effusion", "  synonyms: []", "  anatomy: [moon]"]) + "\n")
    assert app.main(["vocab", "check", "--modality", str(folder)]) == 3
    rows = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(row["file"], row["line"]) for row in rows] == [(str(path), len(lines) + 1)]
    assert "'sided' is missing" in rows[0]["reason"]
    path.write_text(path.read_text() + "  sided: true\n")
    errors = tmp_path / "errors.jsonl"
    assert app.main(["vocab", "check", "--modality", str(folder), "--errors", str(errors)]) == 3
    rows = [json.loads(line) for line in errors.read_text().splitlines()]
    assert [row["line"] - len(lines) for row in rows] == [2, 4]
    assert app.main(["vocab", "sample", "--modality", str(folder)]) == 2
    assert f"pathology.yaml:{len(lines) + 2}: " in capsys.readouterr().err


def test_sample_writes_records(capsys: Capture) -> None:
    assert app.main(["vocab", "sample", "-n", "6", "--seed", "1"]) == 0
    first = capsys.readouterr().out
    sampled = [json.loads(line) for line in first.splitlines()]
    assert [record["id"] for record in sampled] == [f"terms-1-{n:04d}" for n in range(6)]
    assert all(records.complaint(record, ("terms",)) == "" for record in sampled)
    assert app.main(["vocab", "sample", "-n", "6", "--seed", "1"]) == 0
    assert capsys.readouterr().out == first


def test_sample_with_options_and_config(tmp_path: Path) -> None:
    out, config = tmp_path / "terms.jsonl", tmp_path / "c.yaml"
    config.write_text("count: 3\nview: PA\nsex: F\n")
    assert app.main(["vocab", "sample", "--config", str(config), "--view", "AP", "--age", "5", "-o", str(out)]) == 0
    sampled = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(r["view"], r["sex"], r["age"]) for r in sampled] == [("AP", "F", 5)] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--view", "XX"], "unknown view 'XX' (known: PA, AP, LATERAL)"),
        (["--sex", "X"], "unknown sex 'X'"),
        (["-n", "0"], "'--count': Input should be greater than or equal to 1"),
        (["--age", "200"], "age '200': not between 0 and 130"),
        (["--seed", "-1"], "'--seed': Input should be greater than or equal to 0"),
    ],
)
def test_sample_refuses(options: list[str], message: str, capsys: Capture) -> None:
    assert app.main(["vocab", "sample", *options]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_sample_like_a_corpus(tmp_path: Path, capsys: Capture) -> None:
    corpus = tmp_path / "c.jsonl"
    texts = ["Left effusion.", "Cardiomegaly.", "Clear lungs."] * 10
    corpus.write_text("".join(json.dumps({"findings": text}) + "\n" for text in texts))
    assert app.main(["vocab", "build", str(corpus), "-o", str(tmp_path / "site"), "--quiet"]) == 0
    like = str(tmp_path / "site" / "statistics.json")
    assert app.main(["vocab", "sample", "-n", "40", "--like", like, "--sex", "F:1", "--age", "60-70"]) == 0
    sampled = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    present = {f["term"] for record in sampled for f in record["findings"] if f["present"]}
    assert present == {"pleural_effusion", "cardiomegaly"}
    assert all(60 <= record["age"] <= 70 for record in sampled)
    site = ["--modality", str(tmp_path / "site")]
    assert app.main(["vocab", "sample", "-n", "2", "--strategy", "balanced", "--require", "effusion", *site]) == 0
    assert app.main(["vocab", "sample", "--strategy", "balanced"]) == 2
    assert "add --like statistics.json" in capsys.readouterr().err
    assert app.main(["vocab", "sample", "--like", str(corpus)]) == 2
    assert "no statistics of vocab build" in capsys.readouterr().err
    assert app.main(["vocab", "sample", "--exclude", "efusion"]) == 2
