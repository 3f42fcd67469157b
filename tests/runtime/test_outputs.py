"""Run folders: what is refused, kept and removed, and what an interruption leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import records
from medsynth_cli.runtime.outputs import RunFolder, uninterrupted

RUN: dict[str, Any] = {
    "command": "generate",
    "settings": {"temperature": 1.0, "views": ["PA"]},
    "seeds": {"run": 1},
    "inputs": {"findings": "effusion"},
    "hashes": {"bundle": "0" * 64},
}


def image(number: int) -> dict[str, Any]:
    id = f"a-{number:04d}"
    return {
        "kind": "image",
        "id": id,
        "source_id": "a",
        "image": f"{id}.png",
        "seed": 1,
        "bundle": {"name": "b", "sha256": "0" * 64},
        "codes_sha256": "0" * 64,
    }


def run(path: Path, count: int, **options: bool) -> RunFolder:
    """A whole run: ``count`` images that are not there yet, and a contact sheet."""
    folder = RunFolder(path, **options)
    folder.start(**RUN)
    for number in range(count):
        if image(number)["id"] not in folder.done_ids():
            folder.add(image(number), f"picture {number}".encode())
    folder.write_file("contact-sheet.png", b"sheet")
    folder.finish({"images": count})
    return folder


def content(path: Path) -> dict[str, bytes]:
    files = {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    files.pop("run.log.json", None)
    return files


def test_a_run_writes_images_records_and_provenance(tmp_path: Path) -> None:
    run(tmp_path / "out", 2)
    assert set(content(tmp_path / "out")) == {
        "a-0000.png", "a-0001.png", "records.jsonl", "run.json", "contact-sheet.png",
    }  # fmt: skip
    written = json.loads((tmp_path / "out" / "run.json").read_text())
    assert {key: written[key] for key in RUN} == RUN
    assert written["counts"] == {"images": 2}
    assert written["versions"]["medsynth"]
    assert written["versions"]["torch"]
    failures = records.Failures()
    found = list(records.read(str(tmp_path / "out" / "records.jsonl"), ("image",), failures))
    assert [r["id"] for r in found] == ["a-0000", "a-0001"]
    assert not failures
    assert set(json.loads((tmp_path / "out" / "run.log.json").read_text())) == {"started", "seconds", "resumed"}


def test_two_runs_are_identical_and_hold_no_time(tmp_path: Path) -> None:
    run(tmp_path / "a", 3)
    run(tmp_path / "b", 3)
    assert content(tmp_path / "a") == content(tmp_path / "b")


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
def test_an_empty_folder_is_taken(options: dict[str, bool], tmp_path: Path) -> None:
    run(tmp_path, 1, **options)
    assert (tmp_path / "a-0000.png").read_bytes() == b"picture 0"


def test_a_folder_that_is_not_empty_is_refused_untouched(tmp_path: Path) -> None:
    run(tmp_path, 1)
    before = content(tmp_path)
    with pytest.raises(MedsynthError, match="not empty") as caught:
        RunFolder(tmp_path)
    assert "--resume" in caught.value.hint
    assert "--overwrite" in caught.value.hint
    assert caught.value.code == 2
    assert content(tmp_path) == before


@pytest.mark.parametrize("option", ["resume", "overwrite"])
@pytest.mark.parametrize("foreign", ["photo.png", "run.json"])
def test_files_of_others_are_never_taken_for_ours(option: str, foreign: str, tmp_path: Path) -> None:
    (tmp_path / foreign).write_text('{"name": "of somebody else"}')
    with pytest.raises(MedsynthError, match=r"no run\.json of an earlier run"):
        RunFolder(tmp_path, **{option: True})
    assert (tmp_path / foreign).exists()


def test_a_file_in_place_of_the_folder_and_both_options(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(MedsynthError, match="is a file"):
        RunFolder(tmp_path / "out", overwrite=True)
    with pytest.raises(MedsynthError, match="exclude"):
        RunFolder(tmp_path / "new", resume=True, overwrite=True)


def test_overwrite_removes_what_the_earlier_run_wrote_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, 3)
    (out / "notes.txt").write_text("mine")
    (out / "a-0009.png").write_text("mine too")
    (tmp_path / "outside.png").write_text("not in the folder")
    with (out / "records.jsonl").open("a") as handle:
        handle.write(json.dumps(image(5) | {"image": "../outside.png"}) + "\n")
    run(out, 1, overwrite=True)
    assert set(content(out)) == {
        "a-0000.png", "records.jsonl", "run.json", "contact-sheet.png", "notes.txt", "a-0009.png",
    }  # fmt: skip
    assert (tmp_path / "outside.png").exists()


def test_overwrite_removes_images_in_subfolders(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.start(**RUN)
    folder.add(image(0) | {"image": "images/a.png"}, b"picture")
    run(tmp_path, 0, overwrite=True)
    assert not (tmp_path / "images").exists()


def test_resume_ends_like_an_uninterrupted_run(tmp_path: Path) -> None:
    run(tmp_path / "whole", 4)
    broken = RunFolder(tmp_path / "part")
    broken.start(**RUN)
    for number in range(2):
        broken.add(image(number), f"picture {number}".encode())
    kept = (tmp_path / "part" / "a-0000.png").stat().st_mtime_ns
    assert len(run(tmp_path / "part", 4, resume=True).records()) == 4
    assert content(tmp_path / "part") == content(tmp_path / "whole")
    assert (tmp_path / "part" / "a-0000.png").stat().st_mtime_ns == kept


def test_resume_drops_a_torn_line_and_records_without_an_image(tmp_path: Path) -> None:
    run(tmp_path / "whole", 3)
    out = tmp_path / "part"
    run(out, 2)
    with (out / "records.jsonl").open("a") as handle:
        handle.write('{"kind": "image", "id": "a-00')
    (out / "a-0001.png").unlink()
    folder = RunFolder(out, resume=True)
    folder.start(**RUN)
    assert folder.done_ids() == {"a-0000"}
    assert (out / "records.jsonl").read_text() == records.dumps(image(0)) + "\n"
    run(out, 3, resume=True)
    assert content(out) == content(tmp_path / "whole")


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    run(tmp_path, 1)
    (tmp_path / "records.jsonl").write_text("{\n" + records.dumps(image(0)) + "\n")
    folder = RunFolder(tmp_path, resume=True)
    with pytest.raises(MedsynthError, match=r"records\.jsonl:1"):
        folder.start(**RUN)
    run(tmp_path, 0, overwrite=True)
    assert not (tmp_path / "a-0000.png").exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"settings": {"temperature": 0.9, "views": ["PA"]}}, r"settings\.temperature: 1.0 there, 0.9 here"),
        ({"seeds": {"run": 2}}, r"seeds\.run"),
        ({"hashes": {"bundle": "1" * 64}}, r"hashes\.bundle"),
        ({"inputs": {"findings": "edema"}}, r"inputs\.findings"),
        ({"command": "align"}, "command"),
    ],
)
def test_resume_refuses_another_run(change: dict[str, Any], named: str, tmp_path: Path) -> None:
    run(tmp_path, 2)
    before = content(tmp_path)
    folder = RunFolder(tmp_path, resume=True)
    with pytest.raises(MedsynthError, match=named):
        folder.start(**RUN | change)
    assert content(tmp_path) == before


def test_an_image_whose_record_cannot_be_written_is_removed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.start(**RUN)
    with pytest.raises(ValueError):
        folder.add(image(0) | {"score": float("nan")}, b"picture")
    assert set(content(tmp_path)) == {"run.json"}
    assert folder.done_ids() == set()


def test_paths_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = run(Path("out"), 1)
    (record,) = folder.records()
    assert record["image"] == "a-0000.png"
    assert Path(folder.from_here(record)["image"]).read_bytes() == b"picture 0"


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_signals_are_held_back_until_the_end() -> None:
    reached = []

    def interrupted() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            reached.append("end of the block")
        reached.append("after it")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert reached == ["end of the block"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


ENDLESS = """
import itertools, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_outputs import RUN, RunFolder, image
folder = RunFolder(Path(sys.argv[2]))
folder.start(**RUN)
for number in itertools.count():
    folder.add(image(number), b"x" * 100_000)
    print(number, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_an_interrupted_run_leaves_whole_files_and_can_go_on(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", ENDLESS, str(Path(__file__).parent), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        done = [int(process.stdout.readline()) for _ in range(20)]
        process.send_signal(getattr(signal, name))
        done += [int(line) for line in process.stdout if line.endswith("\n")]
    assert process.returncode != 0
    if name == "SIGINT":
        lines = (tmp_path / "records.jsonl").read_text().splitlines()
        assert {json.loads(line)["image"] for line in lines} == {p.name for p in tmp_path.glob("*.png*")}
    folder = RunFolder(tmp_path, resume=True)
    folder.start(**RUN)
    assert folder.done_ids() >= {image(number)["id"] for number in done}
    assert all((tmp_path / record["image"]).stat().st_size == 100_000 for record in folder.records())
