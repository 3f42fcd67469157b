"""Heatmaps: where words are found, in files beside the aligned records."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARD
from PIL import Image

from medsynth_cli.files import datasets, pixels


def image_record(id: str, image: Path | str, findings: str) -> dict:
    sha256 = "0" * 64
    return {
        "kind": "image", "id": id, "source_id": id, "image": str(image), "seed": 0, "codes_sha256": sha256,
        "bundle": {"name": "test", "sha256": sha256}, "report": {"findings": findings, "impression": ""},
    }  # fmt: skip


@pytest.fixture
def images(tmp_path: Path, radiographs: list[tuple[dict, np.ndarray]]) -> Path:
    """Folder with records of two radiographs."""
    folder = tmp_path / "images"
    folder.mkdir()
    said = ("There is a small left effusion. Cardiomegaly. No pneumothorax. The lungs are clear.", "Normal chest.")
    for number, findings in enumerate(said):
        (folder / f"r{number}.png").write_bytes(pixels.encode_png(radiographs[number][1]))
        with (folder / "records.jsonl").open("a") as handle:
            handle.write(json.dumps(image_record(f"r{number}", f"r{number}.png", findings)) + "\n")
    return folder


def test_a_picture_of_each_pathology_that_is_not_denied(run, images, tmp_path, radiographs) -> None:
    out, heat = tmp_path / "elsewhere" / "aligned.jsonl", tmp_path / "heat"
    assert run("align", images / "records.jsonl", "--heatmaps", heat, "--arrays", "-o", out).code == 0
    words = {"left-pleural_effusion", "cardiomegaly"}
    assert {file.name for file in heat.iterdir()} == {"r0.npz"} | {f"r0.{word}.png" for word in words}
    with np.load(heat / "r0.npz") as arrays:
        assert set(arrays) == words
        found = {word: arrays[word] for word in words}
    for word, heatmap in found.items():
        assert (heatmap.dtype, heatmap.shape) == (np.float32, (256, 256))
        assert -1 <= heatmap.min() < heatmap.max() <= 1
        drawn = np.asarray(Image.open(heat / f"r0.{word}.png")).astype(int)
        tinted = np.abs(drawn - radiographs[0][1][..., None].astype(int)).sum(-1) > 3
        assert 0.1 < tinted.mean() <= 0.26
        assert heatmap[tinted].min() > np.median(heatmap)
    assert not np.allclose(*found.values())
    aligned = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(out.parent / record["image"]).resolve() for record in aligned] == [images / "r0.png", images / "r1.png"]


def test_what_has_no_image_or_no_report_is_told(run, images) -> None:
    (images / "r1.png").unlink()
    source = (images / "records.jsonl").read_text()
    bare = image_record("bare", "r0.png", "")
    del bare["report"]
    result = run(
        "align", "-", "--heatmaps", images / "heat", stdin=source.replace('r1"', 'x1"') + json.dumps(bare) + "\n"
    )
    failed = {json.loads(line)["id"]: json.loads(line)["reason"] for line in result.err.splitlines()}
    assert result.code == 1, "paths on stdin are relative to the working directory"
    assert set(failed) == {"r0", "x1", "bare"}
    assert "report" in failed["bare"]
    assert "r0.png" in failed["r0"]


def test_options_about_heatmaps_need_a_folder(run) -> None:
    result = run("align", "--arrays", stdin="")
    assert result.code == 2
    assert "--heatmaps" in result.err


@pytest.mark.skipif(not SHARD.exists(), reason="reads ../shared/data")
def test_the_best_place_lies_in_radiologists_boxes(run, tmp_path) -> None:
    names = {"Infiltration": "infiltrate"}
    lines, boxes = [], {}
    for item in datasets.read([SHARD]):
        for label in sorted({box["label"] for box in item.meta.get("boxes", [])}):
            id = f"{item.id}-{label}"
            (tmp_path / f"{id}.png").write_bytes(pixels.encode_png(item.pixels(256)))
            lines.append(json.dumps(image_record(id, f"{id}.png", f"There is {names.get(label, label.lower())}.")))
            boxes[id] = [box["xywh"] for box in item.meta["boxes"] if box["label"] == label]
    (tmp_path / "records.jsonl").write_text("\n".join(lines))
    run("align", tmp_path / "records.jsonl", "--heatmaps", tmp_path / "heat", "--arrays", "-o", tmp_path / "out.jsonl")
    hits = []
    for id, xywhs in boxes.items():
        with np.load(tmp_path / "heat" / f"{id}.npz") as arrays:
            (heatmap,) = (arrays[word] for word in arrays)
        row, column = np.unravel_index(heatmap.argmax(), heatmap.shape)
        hits.append(any(x <= column < x + w and y <= row < y + h for x, y, w, h in xywhs))
    assert len(hits) > 50
    assert np.mean(hits) > 0.45
