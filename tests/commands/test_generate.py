"""``medsynth generate`` with the embedded bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medsynth_cli.files import pixels
from medsynth_cli.files.records import complaint

Run = Callable[..., "object"]


def images(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.png")) if path.name != "contact-sheet.png"}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from medsynth_cli.app import main

    folder = tmp_path_factory.mktemp("three") / "out"
    assert main(["generate", "--findings", "left effusion", "-n", "3", "--seed", "1", "-o", str(folder)]) == 0
    return folder


def test_findings_become_images_with_records(three: Path) -> None:
    lines = [json.loads(line) for line in (three / "records.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [f"pleural_effusion-1-{i:04d}" for i in range(3)]
    for line in lines:
        assert complaint(line, ("image",)) == ""
        image = pixels.read(three / line["image"])
        assert image.shape == (256, 256)
        assert image.std() > 20
        assert line["key_patches"]
        assert "effusion" in line["report"]["findings"].lower()
    assert len({line["codes_sha256"] for line in lines}) == 3


def test_run_json_holds_seed_hashes_and_versions_and_no_time(three: Path) -> None:
    run = json.loads((three / "run.json").read_text())
    assert run["seeds"] == {"seed": 1}
    assert len(run["hashes"]["bundle"]) == 64
    assert run["counts"] == {"wanted": 3, "images": 3, "failed": 0}
    assert "seconds" not in json.dumps(run)


def test_same_command_same_bytes_whatever_the_batch_size(three: Path, run: Run, tmp_path: Path) -> None:
    arguments = ("generate", "--findings", "left effusion", "-n", 3, "--seed", 1, "-o", tmp_path / "again")
    assert run(*arguments, "--batch-size", 1).code == 0
    assert images(tmp_path / "again") == images(three)
    for name in ("records.jsonl", "run.json", "contact-sheet.png"):
        assert (tmp_path / "again" / name).read_bytes() == (three / name).read_bytes()


def test_another_seed_gives_other_images(three: Path, run: Run, tmp_path: Path) -> None:
    assert run("generate", "--findings", "left effusion", "--seed", 2, "-o", tmp_path / "o").code == 0
    assert set(images(tmp_path / "o").values()).isdisjoint(images(three).values())


def test_a_folder_in_use_is_refused_resumed_and_overwritten(run: Run, tmp_path: Path) -> None:
    arguments = ["generate", "--findings", "effusion", "-n", "2", "-o", str(tmp_path / "o")]
    assert run(*arguments).code == 0
    whole = images(tmp_path / "o")
    refused = run(*arguments)
    assert refused.code == 2
    assert "--resume" in refused.err
    first = sorted(whole)[0]
    (tmp_path / "o" / first).unlink()
    assert run(*arguments, "--resume").code == 0
    assert images(tmp_path / "o") == whole
    assert run(*arguments, "--overwrite").code == 0
    assert images(tmp_path / "o") == whole


def test_dicom_holds_the_same_pixels_and_says_synthetic(three: Path, run: Run, tmp_path: Path) -> None:
    code = run(
        "generate", "--findings", "left effusion", "-n", 3, "--seed", 1, "-o", tmp_path / "d", "--format", "dicom"
    ).code
    assert code == 0
    for name in images(three):
        dataset = pydicom.dcmread(tmp_path / "d" / name.replace(".png", ".dcm"))
        assert dataset.SyntheticData == "YES"
        np.testing.assert_array_equal(dataset.pixel_array, pixels.read(three / name))


def test_an_unknown_finding_names_the_nearest_ones(run: Run, tmp_path: Path) -> None:
    result = run("generate", "--findings", "efusion", "-o", tmp_path / "o")
    assert result.code == 2
    assert "effusion" in result.err
    assert "Traceback" not in result.err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--findings", "effusion", "--device", "cuda:7"], "cuda:7"),
        (["--findings", "effusion", "--view", "OBLIQUE"], "OBLIQUE"),
        (["--findings", "effusion", "--bundle", "nowhere"], "nowhere"),
        (["nowhere.jsonl"], "nowhere.jsonl"),
        ([], "--findings"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(run: Run, tmp_path: Path, arguments: list[str], said: str) -> None:
    result = run("generate", *arguments, "-o", tmp_path / "o")
    assert result.code == 2
    assert said in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not (tmp_path / "o").exists()


def test_bad_records_are_named_and_the_others_drawn(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    good = {"kind": "terms", "id": "good", "findings": [{"term": "cardiomegaly", "present": True}], "hospital": "X"}
    bad = {"kind": "terms", "id": "../bad", "findings": []}
    source.write_text("\n".join([json.dumps(good), "{", json.dumps(bad), json.dumps(good)]))
    result = run("generate", source, "-o", tmp_path / "o")
    assert result.code == 3
    failures = [json.loads(line) for line in result.err.splitlines() if line.startswith("{")]
    assert [(failure["line"], failure["file"]) for failure in failures] == [(n, str(source)) for n in (2, 3, 4)]
    (record,) = [json.loads(line) for line in (tmp_path / "o" / "records.jsonl").read_text().splitlines()]
    assert record["hospital"] == "X"


def test_records_on_stdout_name_images_from_here(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("generate", "--findings", "normal", "--sex", "F", "--age", 40, "--view", "AP", "-o", "o")
    (record,) = result.records
    assert Path(record["image"]).is_file()
    assert (record["sex"], record["age"], record["view"]) == ("F", 40, "AP")


def test_the_default_folder_is_named_after_finding_and_seed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("generate", "--findings", "cardiomegaly", "--seed", 4).code == 0
    assert (tmp_path / "medsynth-out" / "cardiomegaly-4" / "cardiomegaly-4.png").is_file()
