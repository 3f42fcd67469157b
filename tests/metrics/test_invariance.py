"""No figure of `medsynth evaluate` depends on names, order or format of files, or on how the work is divided."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medsynth_cli.app import main
from medsynth_cli.files import dicom, pixels, reading
from medsynth_cli.metrics import imagesets

METRICS = "fd,kid,mmd,prdc,vendi,auroc,niqe"


def png(image, name):
    return pixels.encode_png(image)


def dcm(image, name):
    return dicom.secondary_capture(image, uid_seed=name, series_seed="s", modality="DX", body_part="CHEST")


def write(folder, images, metas, suffix=".png", encode=png):
    folder.mkdir()
    for image, meta in zip(images, metas, strict=True):
        (folder / (meta["id"] + suffix)).write_bytes(encode(image, meta["id"]))
    (folder / "meta.jsonl").write_text("".join(json.dumps(meta | {"id": meta["id"] + suffix}) + "\n" for meta in metas))
    return folder


@pytest.fixture(scope="module")
def score(small_bundle, tmp_path_factory):
    """Folder of images -> all numbers of its score by their place in it; nothing is kept from one call to the next."""

    def numbers(found, place=""):
        if isinstance(found, dict | list):
            inner = found.items() if isinstance(found, dict) else enumerate(found)
            return {k: v for key, value in inner for k, v in numbers(value, f"{place}/{key}").items()}
        return {place: found} if isinstance(found, int | float) and not isinstance(found, bool) else {}

    def call(folder):
        result = tmp_path_factory.mktemp("score") / "score.json"
        options = ["--bundle", str(small_bundle), "--metrics", METRICS, "--by", "none", "--quiet"]
        assert main(["evaluate", str(folder), "--no-cache", "--json", str(result), *options]) == 0
        return numbers(json.loads(result.read_text())["metrics"])

    return call


@pytest.fixture(scope="module")
def plain(score, chests, chest_meta, tmp_path_factory):
    return score(write(tmp_path_factory.mktemp("plain") / "images", chests, chest_meta))


def same(found, expected):
    assert len(expected) > 60
    assert any("interval" in place for place in expected)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_names_and_order_of_files(score, plain, chests, chest_meta, tmp_path):
    order = np.random.default_rng(0).permutation(len(chests))
    renamed = []
    for new, old in enumerate(order):
        patient = f"someone {9 - int(chest_meta[old]['patient'][-1])}"
        renamed.append(chest_meta[old] | {"id": f"x{new}", "patient": patient})
    same(score(write(tmp_path / "images", chests[order], renamed)), plain)


def test_dicom_of_the_same_pixels(score, plain, chests, chest_meta, tmp_path):
    same(score(write(tmp_path / "images", chests, chest_meta, ".dcm", dcm)), plain)


def test_number_of_workers_and_of_images_at_once(score, plain, chests, chest_meta, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "threads", lambda: 5)
    monkeypatch.setattr(imagesets, "BATCH", 3)
    same(score(write(tmp_path / "images", chests, chest_meta)), plain)
