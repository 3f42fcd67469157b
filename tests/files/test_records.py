"""Rules of records: what is read, what is refused and where, and what the schemas say."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from medsynth_cli.errors import Exit, MedsynthError
from medsynth_cli.files import records

KINDS = ("terms", "report", "aligned", "image", "score", "reader-case", "reader-study")
SHA = "0" * 64
TERMS: dict[str, Any] = {"kind": "terms", "id": "a1", "findings": [{"term": "effusion", "present": True}]}
REPORT = TERMS | {
    "kind": "report",
    "report": {"findings": "Left effusion.", "impression": "Effusion."},
    "writer": {"provider": "template"},
}
ALIGNED = REPORT | {
    "kind": "aligned",
    "keywords": [
        {
            "term": "effusion", "text": "effusion", "section": "findings", "span": [5, 13], "side": "left",
            "negated": False, "uncertain": False,
        }
    ],
    "key_patches": [{"term": "effusion", "entry": "e1", "score": 0.5, "at": [10, 2], "codes": [[1, 2], [3, 4]]}],
    "tokenizer_sha256": SHA,
    "codebook_sha256": SHA,
}  # fmt: skip
IMAGE = {
    "kind": "image", "id": "a1", "source_id": "a1", "image": "a1.png", "seed": 1,
    "bundle": {"name": "cxr-mini", "sha256": SHA}, "codes_sha256": SHA,
}  # fmt: skip
SCORE = {"kind": "score", "counts": {"synthetic": 4}, "metrics": {"fd": {"value": None, "reason": "too few images"}}}
CASE = {"kind": "reader-case", "id": "case-001", "truth": "real", "image_id": "scan (3)", "labels": [], "sha256": SHA}
READ = {"answered": 6, "missing": [], "unrated": [], "metrics": {"accuracy": {"value": 0.5, "n": 6, "p": 1.0}}}
STUDY = {
    "kind": "reader-study", "study": {"name": "s", "key_sha256": SHA}, "seed": 0, "readers": {"anna": READ},
    "counts": {"cases": 6, "synthetic": 3, "real": 3, "readers": 1}, "pooled": None, "agreement": {}, "note": "few",
}  # fmt: skip
VALID = {"terms": TERMS, "report": REPORT, "aligned": ALIGNED, "image": IMAGE, "score": SCORE}
VALID |= {"reader-case": CASE, "reader-study": STUDY}


def read(path: Path, capsys: pytest.CaptureFixture[str], *kinds: str) -> tuple[list[records.Record], list[dict]]:
    failures = records.Failures()
    found = list(records.read(str(path), kinds or KINDS, failures))
    failed = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(failures) == len(failed)
    return found, failed


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines), "utf-8")
    return path


@pytest.mark.parametrize("kind", [*KINDS, "common"])
def test_schemas_are_valid(kind: str) -> None:
    Draft202012Validator.check_schema(records.schema(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_valid_record_of_each_kind_is_read_with_unknown_fields(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = VALID[kind] | {"ours": {"kept": [1, None, "ü"]}}
    found, failed = read(write(tmp_path / "r.jsonl", record), capsys, kind)
    assert (found, failed) == ([record], [])


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ([1], "not a JSON object"),
        (TERMS | {"kind": "reports"}, "kind 'reports'"),
        ({k: v for k, v in TERMS.items() if k != "findings"}, "'findings' is a required property"),
        (TERMS | {"id": "../a"}, "id"),
        (TERMS | {"id": ""}, "id"),
        (TERMS | {"id": "a" * 101}, "id"),
        (TERMS | {"id": 7}, "id"),
        (TERMS | {"id": "a1\n"}, "id"),
        (TERMS | {"sex": "female"}, "sex"),
        (TERMS | {"age": -1}, "age"),
        (TERMS | {"findings": [{"term": "effusion", "present": "yes"}]}, "findings.0.present"),
        (TERMS | {"findings": [{"term": "effusion", "present": True, "side": "upper"}]}, "findings.0.side"),
        (TERMS | {"findings": [{"term": "effusion", "present": True, "severity": "huge"}]}, "findings.0.severity"),
        (ALIGNED | {"codebook_sha256": "abc"}, "codebook_sha256"),
        (ALIGNED | {"key_patches": [{"term": "effusion"}]}, "key_patches.0"),
        (IMAGE | {"seed": 1.5}, "seed"),
        (SCORE | {"id": "a1"}, "a1"),
        (SCORE | {"metrics": {"fd": {"value": None}}}, "metrics.fd"),
        (CASE | {"truth": "fake"}, "truth"),
        (STUDY | {"pooled": {"accuracy": {"value": None, "n": 0}}}, "pooled"),
    ],
)
def test_a_wrong_record_is_named_with_its_line_and_the_rest_is_read(
    record: object, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "r.jsonl", TERMS | {"id": "first"}, "", record, TERMS | {"id": "last"})
    found, failed = read(path, capsys)
    assert [r["id"] for r in found] == ["first", "last"]
    (failure,) = failed
    assert (failure["file"], failure["line"]) == (str(path), 3)
    assert said in failure["reason"]


def test_a_line_that_is_no_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, failed = read(write(tmp_path / "r.jsonl", '{"kind": "terms"', TERMS), capsys)
    assert len(found) == 1
    assert failed[0]["line"] == 1
    assert failed[0]["reason"].startswith("not JSON")


def test_ids_are_unique_ignoring_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, failed = read(write(tmp_path / "r.jsonl", TERMS, TERMS | {"id": "A1"}), capsys)
    assert [r["id"] for r in found] == ["a1"]
    assert failed[0]["id"] == "A1"
    assert "twice" in failed[0]["reason"]


def test_a_kind_that_the_stage_does_not_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, failed = read(write(tmp_path / "r.jsonl", TERMS), capsys, "report", "aligned")
    assert found == []
    assert "expected report or aligned" in failed[0]["reason"]


def test_stdin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(TERMS) + "\nno\n"))
    found, failed = read(Path("-"), capsys)
    assert found == [TERMS]
    assert failed[0]["file"] == "<stdin>"


def test_a_missing_file_and_one_that_is_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(MedsynthError, match=r"none\.jsonl"):
        list(records.read(str(tmp_path / "none.jsonl"), KINDS, records.Failures()))
    (tmp_path / "latin.jsonl").write_bytes("{'ü'}\n".encode("latin-1"))
    with pytest.raises(MedsynthError, match="not UTF-8"):
        list(records.read(str(tmp_path / "latin.jsonl"), KINDS, records.Failures()))


def test_failures_go_to_a_file_and_decide_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failures = records.Failures(tmp_path / "errors.jsonl")
    assert failures.exit_code(0) is Exit.DONE
    failures.add("first\nreason", "f.jsonl", 3, "a1")
    failures.add("second")
    lines = [json.loads(line) for line in (tmp_path / "errors.jsonl").read_text().splitlines()]
    assert lines[0] == {"id": "a1", "file": "f.jsonl", "line": 3, "reason": "first reason"}
    assert lines[1]["reason"] == "second"
    assert capsys.readouterr().err == ""
    assert failures.exit_code(1) is Exit.SOME_FAILED
    assert failures.exit_code(0) is Exit.NOTHING_DONE


def test_writer_round_trip_to_a_file_and_to_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = TERMS | {"note": "größer\u2028"}
    path = tmp_path / "deep" / "out.jsonl"
    for out in (str(path), "-"):
        with records.Writer(out) as writer:
            writer.write(record)
        assert writer.count == 1
    assert path.read_text("utf-8") == capsys.readouterr().out == records.dumps(record) + "\n"
    found, _ = read(path, capsys)
    assert found == [record]


def test_an_interrupted_writer_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("earlier\n")

    def interrupted() -> None:
        with records.Writer(str(path)) as writer:
            writer.write(TERMS)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [p.name for p in tmp_path.iterdir()] == ["out.jsonl"]
    assert path.read_text() == "earlier\n"


def test_nan_is_never_written() -> None:
    with pytest.raises(ValueError):
        records.dumps({"value": float("nan")})


def test_copies_keep_the_original_id_as_source() -> None:
    assert list(records.copies(TERMS, 1)) == [TERMS]
    made = list(records.copies(TERMS, 3))
    assert [r["id"] for r in made] == ["a1-0000", "a1-0001", "a1-0002"]
    assert {r["source_id"] for r in made} == {"a1"}
    assert {r["source_id"] for r in records.copies(TERMS | {"source_id": "older"}, 2)} == {"older"}
