"""Corpora of reports in every format, and what becomes of lines that are none."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import corpora
from medsynth_cli.files.corpora import Layout
from medsynth_cli.files.records import Failures

TEXT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  Cough.

 FINDINGS:

 The heart is enlarged.
 No effusion.

 IMPRESSION:  Cardiomegaly.
"""
XML = """<?xml version="1.0"?><eCitation><uId id="CXR7"/><MedlineCitation><Article><Abstract>
<AbstractText Label="INDICATION">Cough</AbstractText>
<AbstractText Label="FINDINGS">The heart is enlarged.</AbstractText>
<AbstractText Label="IMPRESSION">Cardiomegaly.</AbstractText></Abstract></Article></MedlineCitation></eCitation>"""


def read(source: Path | str, layout: Layout | None = None, lost: int = 0) -> list[corpora.Report]:
    failures = Failures()
    found = list(corpora.read(str(source), layout or Layout(), failures))
    assert len(failures) == lost
    return found


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("end", ["", ".gz"])
def test_json_lines_in_three_shapes(tmp_path: Path, end: str) -> None:
    rows = [
        {"id": "a", "findings": "Left effusion.", "impression": ""},
        {"id": "b", "report": {"findings": "Mass.", "impression": "Mass."}},
        {"study_id": 3, "text": "FINDINGS: Clear.\nIMPRESSION: Normal."},
    ]
    path = write(tmp_path / f"c.jsonl{end}", "\n".join(map(json.dumps, rows)) + "\n\n")
    assert read(path) == [
        {"id": "a", "findings": "Left effusion.", "impression": ""},
        {"id": "b", "findings": "Mass.", "impression": "Mass."},
        {"id": "3", "findings": "Clear.", "impression": "Normal."},
    ]


def test_bad_lines_are_reported_with_their_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "c.jsonl", '{"findings": "Clear."}\nnot json\n[1]\n{"other": 1}\n{"findings": ""}\n')
    assert [report["findings"] for report in read(path, lost=3)] == ["Clear.", ""]
    rows = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(row["file"], row["line"]) for row in rows] == [(str(path), 2), (str(path), 3), (str(path), 4)]


@pytest.mark.parametrize(("name", "separator"), [("c.csv", ","), ("c.tsv.gz", "\t")])
def test_tables_by_their_columns(tmp_path: Path, name: str, separator: str) -> None:
    rows = [["uid", "FINDINGS", "Impression"], ["1", '"Left, and ""right"".\nMass."', "Mass."], ["2", "", "Clear."]]
    path = write(tmp_path / name, "\n".join(separator.join(row) for row in rows) + "\n")
    assert read(path) == [
        {"id": "1", "findings": 'Left, and "right".\nMass.', "impression": "Mass."},
        {"id": "2", "findings": "", "impression": "Clear."},
    ]


def test_columns_of_other_names(tmp_path: Path) -> None:
    path = write(tmp_path / "c.csv", "Accession,Befund\n7,FINDINGS: Mass. \n")
    layout = Layout(columns={"id": "Accession", "text": "Befund"})
    assert read(path, layout) == [{"id": "7", "findings": "Mass.", "impression": ""}]
    with pytest.raises(MedsynthError, match="no column findings, impression or text") as caught:
        read(path)
    assert "Accession, Befund" in caught.value.hint
    with pytest.raises(MedsynthError, match="no column Report"):
        read(path, Layout(columns={"text": "Report"}))
    with pytest.raises(MedsynthError, match="no field body"):
        Layout(columns={"body": "Befund"})


def test_sections_of_a_text() -> None:
    assert corpora.sections(TEXT) == {
        "findings": "The heart is enlarged.\n No effusion.",
        "impression": "Cardiomegaly.",
    }
    assert corpora.sections("Clear lungs.") == {"findings": "Clear lungs.", "impression": ""}
    assert corpora.sections("INDICATION: Cough.\nCOMPARISON: None.\n\nClear lungs.")["findings"].endswith(
        "Clear lungs."
    )
    assert corpora.sections("FINDINGS AND IMPRESSION: Mass.\nCONCLUSION: Mass.")["impression"] == "Mass."


def test_a_folder_as_mimic_has_it_and_xml(tmp_path: Path) -> None:
    write(tmp_path / "files/p11/p11000001/s2.txt.gz", TEXT)
    write(tmp_path / "files/p10/p10000001/s1.txt", TEXT)
    write(tmp_path / "xml/1.xml", XML)
    write(tmp_path / "xml/2.xml", "<broken")
    write(tmp_path / "index.html", "no report")
    found = read(tmp_path, lost=1)
    assert [report["id"] for report in found] == ["s1", "s2", "CXR7"]
    assert {report["impression"] for report in found} == {"Cardiomegaly."}


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    line = b'{"id": "a", "findings": "Mass."}\n'
    for data in (line, gzip.compress(line)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(data))))
        assert read("-") == [{"id": "a", "findings": "Mass.", "impression": ""}]


def test_what_is_not_there_or_not_known(tmp_path: Path) -> None:
    with pytest.raises(MedsynthError, match="no such file"):
        read(tmp_path / "none.jsonl")
    with pytest.raises(MedsynthError, match="no file of reports"):
        read(tmp_path)
    path = write(tmp_path / "reports.dat", '{"findings": "Mass."}\n')
    with pytest.raises(MedsynthError, match="does not show from its name"):
        read(path)
    assert len(read(path, Layout("jsonl"))) == 1
    with pytest.raises(MedsynthError, match="unknown format 'word'"):
        Layout("word")


def test_a_damaged_file_is_reported_and_the_rest_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(TEXT.encode())[:-20])
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\xff")
    write(tmp_path / "c.txt", TEXT)
    assert [report["id"] for report in read(tmp_path, lost=2)] == ["c"]
