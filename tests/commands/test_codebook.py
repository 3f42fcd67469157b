"""``medsynth codebook`` and ``medsynth align`` on files."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medsynth_cli.alignment import codebook
from medsynth_cli.files import pixels, records

Run = Callable[..., "object"]
FILES = (codebook.TENSORS, codebook.LINES)
FEW = ("--k1", 4, "--min-patients", 1)


@pytest.fixture(scope="module")
def many(
    radiographs: list[tuple[dict, np.ndarray]], tmp_path_factory: pytest.TempPathFactory, write_shard: Callable
) -> Path:
    """A shard of 96 images: the radiographs, and shifted ones of other patients."""
    images = [
        (meta | {"id": f"{meta['id']}-{shift}", "patient": f"{meta['patient']}-{shift}"}, np.roll(image, shift, axis=1))
        for shift in range(0, 18, 6)
        for meta, image in radiographs
    ]
    return write_shard(tmp_path_factory.mktemp("many") / "many.tar", images)


@pytest.fixture(scope="module")
def book(many: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The codebook of one pass over ``many``."""
    from medsynth_cli.app import main

    folder = tmp_path_factory.mktemp("one") / "book"
    assert main(["codebook", "build", str(many), "-o", str(folder), "--quiet"]) == 0
    return folder


def same(one: Path, other: Path) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in FILES)


def valid(record: dict) -> bool:
    return records.complaint(record, (record["kind"],)) == ""


def test_build_then_align_with_the_new_codebook(run: Run, book: Path) -> None:
    rows = [json.loads(line) for line in (book / "codebook.jsonl").read_text().splitlines()]
    assert {len(row["codes"]) for row in rows} == {3}
    terms = run("vocab", "sample", "-n", 4, "--seed", 2)
    reports = run("report", stdin=terms.out)
    aligned = run("align", "--codebook", book, stdin=reports.out)
    assert aligned.code == 0
    entries = {row["entry"] for row in rows}
    used = {patch["entry"] for record in aligned.records for patch in record["key_patches"]}
    assert used
    assert used <= entries


def test_merged_shards_are_the_codebook_of_one_pass(run: Run, many: Path, book: Path, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        assert run("codebook", "build", many, "-o", tmp_path / f"{number}", "--shard", f"{number}/3").code == 0
    missing = run("codebook", "merge", tmp_path / "3", tmp_path / "1", "-o", tmp_path / "merged")
    assert missing.code == 2
    assert "2/3" in missing.err
    twice = run("codebook", "merge", tmp_path / "1", tmp_path / "1", "-o", tmp_path / "merged")
    assert twice.code == 2
    assert not (tmp_path / "merged").exists()
    parts = (tmp_path / "3", tmp_path / "1", tmp_path / "2" / "pool.safetensors")
    assert run("codebook", "merge", *parts, "-o", tmp_path / "merged").code == 0
    assert same(tmp_path / "merged", book)


def test_a_build_that_is_killed_goes_on_to_the_same_codebook(many: Path, book: Path, run: Run, tmp_path: Path) -> None:
    checkpoint = tmp_path / "book" / "checkpoint.safetensors"
    command = [sys.executable, "-m", "medsynth_cli", "codebook", "build", str(many), "-o", str(tmp_path / "book")]
    seen = 0
    for _ in range(2):
        with subprocess.Popen([*command, "--resume", "--quiet"]) as process:
            while process.poll() is None and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == seen):
                time.sleep(0.005)
            assert process.poll() is None, "it was to be killed in the middle"
            process.send_signal(signal.SIGKILL)
        seen = checkpoint.stat().st_mtime_ns
        assert not (tmp_path / "book" / codebook.TENSORS).exists()
    other = run("codebook", "build", many, "-o", tmp_path / "book", "--resume", "--per-patient", 7)
    assert other.code == 2
    assert "per_patient" in other.err
    assert run("codebook", "build", many, "-o", tmp_path / "book").code == 2
    assert run("codebook", "build", many, "-o", tmp_path / "book", "--resume").code == 0
    assert same(tmp_path / "book", book)
    assert not checkpoint.exists()
    again = run("codebook", "build", many, "-o", tmp_path / "book", "--resume")
    assert (again.code, "built before" in again.err) == (0, True)


def test_mixed_sources_with_damaged_items(
    run: Run, shard: Path, radiographs: list[tuple[dict, np.ndarray]], tmp_path: Path
) -> None:
    """A folder with a table, a tree of DICOM files without suffixes, a shard that ends early, and what is broken."""
    from medsynth_cli.files import dicom

    folder, tree = tmp_path / "folder", tmp_path / "tree"
    folder.mkdir()
    rows = []
    for meta, image in radiographs[:6]:
        (folder / f"{meta['id']}.png").write_bytes(pixels.encode_png(image))
        rows.append(f"{meta['id']},{'|'.join(meta['labels'])},{meta['patient']}\n")
    (folder / "table.csv").write_text("id,labels,patient\n" + "".join(rows))
    (folder / "broken.png").write_bytes((folder / f"{radiographs[0][0]['id']}.png").read_bytes()[:5000])
    lines = []
    for number, (meta, image) in enumerate(radiographs[6:10]):
        place = tree / f"study{number}" / "IM0001"
        place.parent.mkdir(parents=True)
        uid = meta["id"]
        data = dicom.secondary_capture(image, uid_seed=uid, series_seed=uid, modality="DX", body_part="CHEST")
        place.write_bytes(data if number else data[:-9000])
        lines.append(json.dumps({"image": f"study{number}/IM0001", "labels": meta["labels"]}) + "\n")
    (tree / "labels.jsonl").write_text("".join(lines) + "{broken\n")
    data = shard.read_bytes()
    (tmp_path / "cut.tar").write_bytes(data[: len(data) // 2 // 512 * 512 + 100])
    errors = tmp_path / "errors.jsonl"
    sources = (folder, tree, tmp_path / "cut.tar", shard)
    result = run("codebook", "build", *sources, "-o", tmp_path / "book", *FEW, "--errors", errors)
    assert result.code == 3
    reasons = [json.loads(line) for line in errors.read_text().splitlines()]
    text = " ".join(row["reason"] + row["file"] for row in reasons)
    assert all(name in text for name in ("broken.png", "study0/IM0001", "labels.jsonl:5", "cut.tar"))
    counts = run("codebook", "stats", "--codebook", tmp_path / "book").records[0]["counts"]
    assert counts["images"] >= 6 + 3 + len(radiographs)
    assert counts["unreadable"] <= 3


def test_patients_of_dicom_files_can_be_left_out(
    run: Run, radiographs: list[tuple[dict, np.ndarray]], tmp_path: Path
) -> None:
    from medsynth_cli.files import dicom, dicom_header

    (tmp_path / "tree").mkdir()
    names = []
    for meta, image in radiographs[:4]:
        uid = meta["patient"]
        data = dicom.secondary_capture(image, uid_seed=uid, series_seed=uid, modality="DX", body_part="CHEST")
        (tmp_path / "tree" / f"{meta['id']}.dcm").write_bytes(data)
        names.append(dicom_header.read(data, "")["patient"])
    rows = "".join(f"{meta['id']},{meta['labels'][0]}\n" for meta, _ in radiographs[:4])
    (tmp_path / "tree" / "labels.csv").write_text("id,labels\n" + rows)
    (tmp_path / "excluded.txt").write_text(f"# withdrew\n{names[0]}\n\n")
    options = (*FEW, "--exclude-patients", tmp_path / "excluded.txt")
    assert run("codebook", "build", tmp_path / "tree", "-o", tmp_path / "book", *options).code == 0
    assert run("codebook", "stats", "--codebook", tmp_path / "book").records[0]["counts"]["excluded"] == 2
    everyone = tmp_path / "everyone.txt"
    everyone.write_text("\n".join(names))
    nothing = run("codebook", "build", tmp_path / "tree", "-o", tmp_path / "none", "--exclude-patients", everyone)
    assert nothing.code == 1
    assert not (tmp_path / "none" / codebook.TENSORS).exists()


@pytest.mark.parametrize("shard", ["0/2", "3/2", "x"])
def test_shards_that_there_are_not(run: Run, shard: str, many: Path, tmp_path: Path) -> None:
    assert run("codebook", "build", many, "-o", tmp_path / "book", "--shard", shard).code == 2


def test_a_codebook_is_not_overwritten_unasked(run: Run, shard: Path, book: Path) -> None:
    before = (book / codebook.TENSORS).read_bytes()
    for command in (("build", shard), ("merge", shard)):
        refused = run("codebook", *command, "-o", book)
        assert refused.code == 2
        assert "--overwrite" in refused.err
    assert (book / codebook.TENSORS).read_bytes() == before


def test_stats_say_what_is_there_and_what_is_not(run: Run, book: Path) -> None:
    result = run("codebook", "stats", "--codebook", book)
    (record,) = result.records
    assert valid(record)
    loaded = codebook.load(book)
    assert record["patches"] == len(loaded.at) == sum(entry["patches"] for entry in record["entries"])
    assert record["patients"] == len(set(loaded.patient.tolist()))
    first = record["entries"][0]
    own = loaded.score[: first["patches"]]
    assert first["score"]["quantiles"]["0.5"] == pytest.approx(np.median(own), abs=1e-3)
    assert sum(first["score"]["histogram"]) == first["patches"]
    assert {"term": "scoliosis", "side": None, "reason": "no image shows it"} in record["empty"]
    assert "scoliosis" in result.err
    bundled = run("codebook", "stats")
    assert valid(bundled.records[0])


def test_audit_finds_the_patches_that_were_put_into_images(run: Run, tmp_path: Path) -> None:
    import torch

    from medsynth_cli.runtime import bundles
    from medsynth_cli.runtime.conversion import to_images
    from medsynth_cli.tokens import tokenizer

    bundle = bundles.load("cxr-mini")
    book, model = codebook.of(bundle, None), tokenizer.load(bundle, torch.device("cpu"))
    entries = np.linspace(0, len(book.at) - 1, 12).astype(int)
    hosts = book.codes[(book.image[entries] + len(book.source) // 2) % len(book.source)].copy()
    for codes, entry in zip(hosts, entries, strict=True):
        row, column = (max(0, place - 2) for place in book.at[entry])
        codes[row : row + 7, column : column + 7] = book.codes[book.image[entry]][row : row + 7, column : column + 7]
    (tmp_path / "images").mkdir()
    for number, image in enumerate(to_images(model.decode(torch.from_numpy(hosts)))):
        (tmp_path / "images" / f"{number:02d}.png").write_bytes(pixels.encode_png(image))
    (record,) = run("codebook", "audit", tmp_path / "images").records
    assert valid(record)
    found = {(copy["id"], copy["entry"]): copy["at"] for copy in record["found"]}
    hits = [found.get((f"{n:02d}", book.name(entry))) == book.at[entry].tolist() for n, entry in enumerate(entries)]
    assert sum(hits) >= 10, "of 12 patches, with a margin of two codes around them"


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


def test_a_codebook_in_its_bundle_becomes_the_bundles(run: Run, shard: Path, tmp_path: Path) -> None:
    from medsynth_cli.runtime import bundles

    bundle = tmp_path / "bundle"
    shutil.copytree(bundles.assets() / "cxr-mini", bundle)
    before = codebook.load(bundle).sha256
    run("codebook", "build", shard, "-o", tmp_path / "part", "--shard", "1/1", *FEW)
    assert run("codebook", "merge", tmp_path / "part", "-o", bundle, "--overwrite").code == 0
    assert codebook.of(bundles.load(str(bundle)), None).sha256 != before
    assert run("models", "verify", bundle).code == 0


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
