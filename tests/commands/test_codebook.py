"""``medsynth codebook`` and ``medsynth align`` on files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from medsynth_cli.files import pixels

Run = Callable[..., "object"]


def test_build_then_align_with_the_new_codebook(run: Run, shard: Path, tmp_path: Path) -> None:
    result = run("codebook", "build", shard, "-o", tmp_path / "book", "--k1", 4)
    assert result.code == 0
    rows = [json.loads(line) for line in (tmp_path / "book" / "codebook.jsonl").read_text().splitlines()]
    assert {len(row["codes"]) for row in rows} == {3}
    terms = run("vocab", "sample", "-n", 4, "--seed", 2)
    reports = run("report", stdin=terms.out)
    aligned = run("align", "--codebook", tmp_path / "book", stdin=reports.out)
    assert aligned.code == 0
    entries = {row["entry"] for row in rows}
    used = {patch["entry"] for record in aligned.records for patch in record["key_patches"]}
    assert used
    assert used <= entries


def test_a_codebook_is_not_overwritten_unasked(run: Run, shard: Path, tmp_path: Path) -> None:
    assert run("codebook", "build", shard, "-o", tmp_path / "book").code == 0
    refused = run("codebook", "build", shard, "-o", tmp_path / "book")
    assert refused.code == 2
    assert "--overwrite" in refused.err


def test_show_draws_one_row_a_word(run: Run, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    result = run("codebook", "show", "left effusion", "cardiomegaly", "-n", 3, "-o", sheet)
    assert result.code == 0
    assert [line.split("\t")[:2] for line in result.out.splitlines()] == [
        ["pleural_effusion", "left"],
        ["cardiomegaly", "-"],
    ]
    image = pixels.read(sheet)
    assert image.shape[1] > 3 * 128
    assert image.shape[0] > 2 * 128
    assert (image == 255).sum() > 6 * 80, "the frames"


def test_show_names_the_words_it_has(run: Run, tmp_path: Path) -> None:
    result = run("codebook", "show", "rib fracture", "-o", tmp_path / "sheet.png")
    assert result.code == 2
    assert "pleural_effusion" in result.err


def test_align_reports_bad_lines_and_goes_on(run: Run) -> None:
    terms = run("vocab", "sample", "-n", 2, "--seed", 2)
    reports = run("report", stdin=terms.out)
    result = run("align", stdin="nonsense\n" + reports.out)
    assert result.code == 3
    assert len(result.records) == 2
    assert json.loads(result.err.splitlines()[0])["line"] == 1


def test_align_with_another_vocabulary_folder_that_is_missing(run: Run) -> None:
    result = run("align", "--modality", "nowhere", stdin="")
    assert result.code == 2
    assert "chest_xray" in result.err
