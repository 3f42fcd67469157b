"""``medsynth report`` with the template provider; the openai provider has tests of its own."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from medsynth_cli import app
from medsynth_cli.files import records

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def terms(capsys: Capture) -> str:
    """Six term sets as JSON lines."""
    assert app.main(["vocab", "sample", "-n", "6", "--seed", "1"]) == 0
    return capsys.readouterr().out


def test_stdin_to_stdout(terms: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(terms))
    assert app.main(["report"]) == 0
    captured = capsys.readouterr()
    written = [json.loads(line) for line in captured.out.splitlines()]
    assert [record["id"] for record in written] == [f"terms-1-{n:04d}" for n in range(6)]
    for record in written:
        assert records.complaint(record, ("report",)) == ""
        assert record["view"] in ("PA", "AP")
    assert captured.err == ""


def test_files_are_reproducible_and_follow_the_seed(terms: str, tmp_path: Path) -> None:
    source = tmp_path / "terms.jsonl"
    source.write_text(terms)
    texts = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert app.main(["report", str(source), "-o", str(tmp_path / name), "--seed", seed]) == 0
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1] != texts[2]


def test_bad_lines_are_named_and_the_rest_is_done(terms: str, tmp_path: Path, capsys: Capture) -> None:
    source = tmp_path / "terms.jsonl"
    unknown = {"kind": "terms", "id": "x", "findings": [{"term": "gout", "present": True}]}
    source.write_text("{broken\n" + terms.splitlines()[0] + "\n" + json.dumps(unknown) + "\n")
    assert app.main(["report", str(source)]) == 3
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 1
    failures = [json.loads(line) for line in captured.err.splitlines()]
    assert (failures[0]["file"], failures[0]["line"]) == (str(source), 1)
    assert failures[1]["id"] == "x"
    assert "unknown pathology 'gout'" in failures[1]["reason"]


def test_settings_of_the_provider(terms: str, tmp_path: Path) -> None:
    source, out = tmp_path / "terms.jsonl", tmp_path / "out.jsonl"
    source.write_text(terms)
    short = ["--set", "context=0", "--set", "min_words=0", "--set", "max_words=0"]
    assert app.main(["report", str(source), "-o", str(out), *short]) == 0
    lengths = [len(json.loads(line)["report"]["findings"].split()) for line in out.read_text().splitlines()]
    assert min(lengths) < 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--provider", "parrot"], "unknown provider 'parrot' (known: template, openai)"),
        (["--set", "colour=red"], "no setting 'colour' (known: context, min_words, max_words)"),
        (["--set", "context"], "--set context: not KEY=VALUE"),
        (["--model", "m"], "provider template has no setting 'model'"),
        (["--modality", "knee"], "no modality 'knee'"),
    ],
)
def test_refuses_with_a_way_out(options: list[str], message: str, terms: str, tmp_path: Path, capsys: Capture) -> None:
    source, out = tmp_path / "terms.jsonl", tmp_path / "out.jsonl"
    source.write_text(terms)
    assert app.main(["report", str(source), "-o", str(out), *options]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_a_missing_file_leaves_nothing_behind(tmp_path: Path, capsys: Capture) -> None:
    assert app.main(["report", str(tmp_path / "no.jsonl"), "-o", str(tmp_path / "out.jsonl")]) == 2
    assert "no.jsonl: No such file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
