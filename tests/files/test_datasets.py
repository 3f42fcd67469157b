"""Data sets of every form, written here and read back."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import datasets, dicom, pixels

META = {"id": "x1", "patient": "p1", "sex": "F", "age": 41, "view": "PA", "labels": ["Effusion"]}


def picture(seed: int, size: tuple[int, int] = (12, 12)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def shard(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_shard(tmp_path: Path) -> None:
    path = shard(
        tmp_path / "a.tar",
        [
            ("deep/x1.png", pixels.encode_png(picture(1))),
            ("deep/x1.json", json.dumps(META).encode()),
            ("notes.txt", b"no image"),
            ("x2.JSON", b'{"labels": []}'),
            ("x2.png", pixels.encode_png(picture(2))),
        ],
    )
    first, second = datasets.read([path])
    assert (first.id, first.meta) == ("x1", META)
    assert second.id == "x2"
    assert second.meta["labels"] == []
    np.testing.assert_array_equal(first.pixels(), picture(1))
    np.testing.assert_array_equal(second.pixels(), picture(2))
    assert first.origin == f"{path}:x1.png"


def test_folder_with_jsonl_in_name_order(tmp_path: Path) -> None:
    for name, seed in (("b.png", 2), ("a.png", 1)):
        (tmp_path / name).write_bytes(pixels.encode_png(picture(seed)))
    row = META | {"image": "a.png"}
    (tmp_path / "meta.jsonl").write_text(json.dumps(row) + "\n")
    first, second = datasets.read([tmp_path])
    assert (first.id, second.id) == ("x1", "b")
    assert first.meta["labels"] == ["Effusion"]
    assert second.meta == {}
    np.testing.assert_array_equal(second.pixels(), picture(2))


def test_folder_with_csv(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(pixels.encode_png(picture(1)))
    (tmp_path / "meta.csv").write_text("id,labels,view\na,Effusion|Edema,AP\n")
    (item,) = datasets.read([tmp_path])
    assert item.meta["labels"] == ["Effusion", "Edema"]
    assert item.meta["view"] == "AP"


def test_folder_with_shards_and_dicom(tmp_path: Path) -> None:
    shard(tmp_path / "s.tar", [("x1.png", pixels.encode_png(picture(1)))])
    data = dicom.secondary_capture(picture(2), uid_seed="a", series_seed="b", modality="DX", body_part="CHEST")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "y.dcm").write_bytes(data)
    first, second = datasets.read([tmp_path])
    assert (first.id, second.id) == ("x1", "y")
    np.testing.assert_array_equal(second.pixels(), picture(2))


def test_single_file_and_the_order_of_paths(tmp_path: Path) -> None:
    for name, seed in (("b.png", 2), ("a.png", 1)):
        (tmp_path / name).write_bytes(pixels.encode_png(picture(seed)))
    assert [item.id for item in datasets.read([tmp_path / "b.png", tmp_path / "a.png"])] == ["b", "a"]


def test_stack_makes_squares(tmp_path: Path) -> None:
    wide = picture(3, (10, 30))
    (tmp_path / "a.png").write_bytes(pixels.encode_png(wide))
    (tmp_path / "b.png").write_bytes(pixels.encode_png(picture(4, (40, 20))))
    stacked = datasets.stack(datasets.read([tmp_path]), 10)
    assert (stacked.shape, stacked.dtype) == ((2, 10, 10), np.uint8)
    np.testing.assert_array_equal(stacked[0], wide[:, 10:20])


@pytest.mark.parametrize("name", ["none.tar", "none"])
def test_missing_paths(name: str, tmp_path: Path) -> None:
    with pytest.raises(MedsynthError, match=name):
        list(datasets.read([tmp_path / name]))


def test_unreadable_things(tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(b"not a tar" * 100)
    with pytest.raises(MedsynthError, match="damaged or compressed tar"):
        list(datasets.read([tmp_path / "bad.tar"]))
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(MedsynthError, match=r"notes\.txt"):
        list(datasets.read([tmp_path / "notes.txt"]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(MedsynthError, match="no image"):
        list(datasets.read([tmp_path / "empty"]))
    with pytest.raises(MedsynthError, match="holds no image"):
        datasets.stack([], 8)
    damaged = shard(tmp_path / "j.tar", [("x.png", b""), ("x.json", b"{")])
    with pytest.raises(MedsynthError, match=r"x\.json: not JSON"):
        list(datasets.read([damaged]))


def test_a_broken_line_of_metadata_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(pixels.encode_png(picture(1)))
    (tmp_path / "meta.jsonl").write_text('{"id": "a"}\n{"id"\n')
    with pytest.raises(MedsynthError, match=r"meta\.jsonl:2"):
        list(datasets.read([tmp_path]))
