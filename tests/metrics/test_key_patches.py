"""Images that repeat their key patches are told from those that do not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medsynth_cli.files import pixels
from medsynth_cli.metrics import key_patches


@pytest.fixture(scope="module")
def pictures():
    """Eighteen training images of cxr-mini after its tokenizer, and their codes ``(18, 16, 16)`` when coded again."""
    import torch

    from medsynth_cli.metrics import memory
    from medsynth_cli.metrics.observers import Observers
    from medsynth_cli.runtime import bundles

    observers = Observers(bundles.load("cxr-mini"), torch.device("cpu"))
    images = np.stack([memory.of(None, observers).picture(index) for index in range(0, 180, 10)])
    return images, observers.codes(images).reshape(-1, 16, 16)


def scored(run, folder, images, shown):
    folder.mkdir()
    lines = []
    for index, (image, codes) in enumerate(zip(images, shown, strict=True)):
        (folder / f"{index}.png").write_bytes(pixels.encode_png(image))
        patch = {"term": "mass", "entry": "mass.any.0001", "score": 0.5, "at": [4, 4], "codes": codes.tolist()}
        record = {"kind": "image", "id": f"image-{index}", "source_id": "image", "image": f"{index}.png", "seed": 0}
        record |= {"bundle": {"name": "x", "sha256": "0" * 64}, "codes_sha256": "0" * 64, "key_patches": [patch]}
        lines.append(json.dumps(record) + "\n")
    (folder / "records.jsonl").write_text("".join(lines))
    options = ("--metrics", "key-patches", "--by", "none", "--no-cache", "--quiet")
    return run("evaluate", folder, *options).records[0]["metrics"]["key patches copied"]


def test_images_that_repeat_their_key_patches(run, tmp_path, pictures):
    images, codes = pictures
    row = scored(run, tmp_path / "own", images, codes[:, 4:8, 4:8])
    assert row["value"] == 1
    assert row["floors"]["shuffled"] <= key_patches.CHANCE
    assert row["patches"] == len(images)


def test_images_that_do_not(run, tmp_path, pictures):
    images, codes = pictures
    row = scored(run, tmp_path / "others", images[:9], codes[9:, 4:8, 4:8])
    assert row["value"] < 0.1


def test_records_without_key_patches(run, tmp_path, chests):
    (tmp_path / "a.png").write_bytes(pixels.encode_png(chests[0]))
    (tmp_path / "b.png").write_bytes(pixels.encode_png(chests[1]))
    options = ("--metrics", "key-patches", "--by", "none", "--quiet")
    row = run("evaluate", tmp_path, *options).records[0]["metrics"]["key patches copied"]
    assert row["value"] is None
    assert "no key patches" in row["reason"]
