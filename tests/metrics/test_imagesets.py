"""Sets of images: every source, in an order of their own, read once."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import pixels
from medsynth_cli.files.cache import Cache
from medsynth_cli.files.records import Failures
from medsynth_cli.metrics import imagesets
from medsynth_cli.recognition.observers import Observer

SIZE = 24


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (40, SIZE, SIZE), dtype=np.uint8)


@pytest.fixture
def seen():
    """An observer of mean and first pixel, and how many images it has looked at, batches filled up."""
    counted = []

    def forward(images):
        counted.append(len(images))
        return torch.stack([images.float().mean(dim=(1, 2)), images[:, 0, 0].float()], dim=1)

    return Observer("mean", "1", forward, torch.device("cpu")), counted


def folder_of(path, pictures, names=None):
    path.mkdir()
    for index, picture in enumerate(pictures):
        (path / f"{names[index] if names else index}.png").write_bytes(pixels.encode_png(picture))
    return str(path)


def read(*sources, cache=None, **more):
    return imagesets.read(sources, SIZE, Failures(), cache or Cache(None), **more)


def test_results_do_not_depend_on_names_order_or_format(tmp_path, pictures, seen):
    names = [f"z{99 - index}" for index in range(len(pictures))]
    one = read(folder_of(tmp_path / "a", pictures))
    other = read(folder_of(tmp_path / "b", pictures[::-1], names))
    with tarfile.open(tmp_path / "c.tar", "w") as shard:
        for index, picture in enumerate(pictures):
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, format="PNG", compress_level=0)
            member = tarfile.TarInfo(f"x{index}.png")
            member.size = buffer.tell()
            buffer.seek(0)
            shard.addfile(member, buffer)
    third = read(str(tmp_path / "c.tar"))
    found = one.of(seen[0])
    assert sorted(found[:, 1]) == sorted(float(picture[0, 0]) for picture in pictures)
    np.testing.assert_array_equal(other.of(seen[0]), found)
    np.testing.assert_array_equal(third.of(seen[0]), found)
    for index in (0, 7, 39):
        assert one.pixels(index).mean() == pytest.approx(found[index, 0])


def test_a_second_look_reads_nothing_and_another_observer_looks_again(tmp_path, pictures, seen):
    observer, counted = seen
    folder = folder_of(tmp_path / "a", pictures)
    first = read(folder, cache=Cache(tmp_path / "cache"), observers=[observer]).of(observer)
    assert sum(counted) == 48, "three batches of 16"
    second = read(folder, cache=Cache(tmp_path / "cache"), observers=[observer]).of(observer)
    assert sum(counted) == 48
    np.testing.assert_array_equal(first, second)
    read(folder, cache=Cache(tmp_path / "cache")).of(replace(observer, identity="2"))
    assert sum(counted) == 96


def test_only_new_images_are_looked_at(tmp_path, pictures, seen):
    observer, counted = seen
    cache = Cache(tmp_path / "cache")
    read(folder_of(tmp_path / "a", pictures[:16]), cache=cache).of(observer)
    both = read(str(tmp_path / "a"), folder_of(tmp_path / "b", pictures), cache=cache)
    assert len(both) == 56
    assert both.of(observer).shape == (56, 2)
    assert sum(counted) == 16 + 32, "the same file in two folders counts once"


def test_images_that_cannot_be_read_are_reported_and_left_out(tmp_path, pictures):
    folder = folder_of(tmp_path / "a", pictures[:3])
    (tmp_path / "a" / "broken.png").write_bytes(b"no picture")
    failures = Failures(tmp_path / "failed.jsonl")
    assert len(imagesets.read([folder], SIZE, failures, Cache(None))) == 3
    assert '"id": "broken"' in (tmp_path / "failed.jsonl").read_text()


def test_a_table_of_chexgenbench(tmp_path, pictures):
    folder_of(tmp_path / "images", pictures[:2])
    table = tmp_path / "prompts.csv"
    table.write_text("prompt,img_savename\nLarge effusion.,images/0.png\nNo effusion.,images/1.png\nLost.,none.png\n")
    failures = Failures(tmp_path / "failed.jsonl")
    found = imagesets.read([str(table)], SIZE, failures, Cache(None))
    assert sorted(found.field("prompt")) == ["Large effusion.", "No effusion."]
    assert len(failures) == 1
    assert "none.png" in (tmp_path / "failed.jsonl").read_text()


def test_a_part_is_chosen_by_id_and_not_by_order(tmp_path, pictures):
    one = read(folder_of(tmp_path / "a", pictures), most=5)
    other = read(*(str(tmp_path / "a" / f"{i}.png") for i in reversed(range(40))), most=5)
    assert [meta["id"] for meta in one.meta] == [meta["id"] for meta in other.meta]
    assert len(one) == 5


def test_images_of_a_patient_or_of_a_record_belong_together():
    meta = [{"id": "a", "patient": "p"}, {"id": "b", "patient": "p"}, {"id": "c-0", "source_id": "c"}, {"id": "d"}]
    groups = imagesets.ImageSet("x", meta, {}).groups
    assert groups[0] == groups[1]
    assert len(set(groups.tolist())) == 3


def test_a_set_without_images_says_what_it_lacks(seen):
    with pytest.raises(MedsynthError, match="stored holds no mean and no images"):
        imagesets.ImageSet("stored", [{"id": "a"}], {}).of(seen[0])
