"""NIQE with three sets of parameters, against pyiqa's own values and a fit written out here."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import io, linalg, ndimage

from medsynth_cli.app import main
from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import dicom, pixels
from medsynth_cli.metrics import naturalness, niqe
from medsynth_cli.runtime import bundles

KINDS = ("NIQE", "NIQE-MATLAB", "NIQE-radiographs")


@pytest.fixture(scope="module")
def bundle(small_bundle):
    return bundles.load(str(small_bundle))


@pytest.fixture(scope="module")
def matlab_file(tmp_path_factory):
    """A folder as torch.hub's, with made parameters where pyiqa keeps MATLAB's."""
    folder = tmp_path_factory.mktemp("hub")
    root = np.random.default_rng(0).normal(size=(naturalness.DIMENSIONS,) * 2) / 5
    (folder / "pyiqa").mkdir()
    stored = {"mu_prisparam": np.linspace(0.2, 1.5, naturalness.DIMENSIONS)[None], "cov_prisparam": root @ root.T}
    io.savemat(folder / "pyiqa" / niqe.MATLAB_FILE, stored)
    return folder / "pyiqa" / niqe.MATLAB_FILE


def as_mat(gaussian, path):
    io.savemat(path, {"mu_prisparam": gaussian.mean[None], "cov_prisparam": gaussian.covariance})
    return path


def by_pyiqa(images, parameters, name="niqe"):
    import pyiqa

    theirs = pyiqa.create_metric(name, device="cpu", pretrained_model_path=str(parameters))
    return [float(theirs(torch.from_numpy(image)[None, None].double() / 255)) for image in images]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_pyiqas_value_with_those_parameters(kind, bundle, matlab_file, chests, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(matlab_file.parents[1]))
    file = {
        "NIQE": bundles.assets() / "niqe" / "niqe_params.mat",
        "NIQE-MATLAB": matlab_file,
        "NIQE-radiographs": as_mat(niqe.radiographs(bundle), tmp_path / "r.mat"),
    }[kind]
    expected = by_pyiqa(chests[:2], file, "niqe_matlab" if kind == "NIQE-MATLAB" else "niqe")
    np.testing.assert_allclose(niqe.observer(bundle, kind)(chests[:2])[:, 0], expected, rtol=1e-6)


def test_matlabs_parameters_are_not_fetched(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(MedsynthError, match=niqe.MATLAB_FILE) as caught:
        niqe.observer(bundle, "NIQE-MATLAB")
    assert "niqe_matlab" in caught.value.hint


def test_it_tells_a_picture_from_noise_and_does_not_depend_on_the_batch(bundle, chests):
    noise = np.random.default_rng(0).integers(0, 256, (1, 256, 256), dtype=np.uint8)
    both = np.concatenate([chests[:2], noise, np.full((1, 256, 256), 7, np.uint8)])
    for kind in ("NIQE", "NIQE-radiographs"):
        found = niqe.observer(bundle, kind)(both)[:, 0]
        assert found[2] > found[:2].max()
        assert np.isnan(found[3]), "a uniform image has no structure"
        np.testing.assert_allclose(niqe.observer(bundle, kind)(both[2:3])[:, 0], found[2:3], rtol=1e-9)


def test_it_sees_only_whole_blocks(bundle, chests):
    changed = chests[:1].copy()
    changed[:, 192:], changed[:, :, 192:] = 0, 0
    look = niqe.observer(bundle)
    np.testing.assert_array_equal(look(changed), look(chests[:1]))
    with pytest.raises(MedsynthError, match="blocks"):
        look(chests[:1, :128, :128])


def test_a_fit_takes_the_sharp_blocks_of_each_image(chests):
    """Sharpness by scipy's filter; a block is kept where it exceeds 0.75 of the sharpest of its image."""
    found = np.stack([naturalness.blocks(chest) for chest in [*chests, *chests[:, ::-1]]])
    gaussian, count = naturalness.fit(found)
    kept = [block[:36] for blocks in found for block in blocks if block[36] > 0.75 * blocks[:, 36].max()]
    assert count == len(kept) < 96
    np.testing.assert_allclose(gaussian.mean, np.mean(kept, axis=0), rtol=1e-9)
    np.testing.assert_allclose(gaussian.covariance, np.cov(np.array(kept).T), rtol=1e-9, atol=1e-12)
    axis = np.arange(-3, 4)
    window = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    image = chests[0, :192, :192].astype(float)
    mean, square = (ndimage.correlate(values, window, mode="nearest") for values in (image, image**2))
    spread = np.sqrt(np.abs(square - mean**2))
    expected = [spread[y : y + 96, x : x + 96].mean() for x in (0, 96) for y in (0, 96)]
    np.testing.assert_allclose(found[0, :, 36], expected, rtol=1e-4, err_msg="pyiqa's window is in float32")


def test_the_distance_is_eq_10_of_the_paper(bundle, chests):
    gaussian = niqe.radiographs(bundle)
    blocks = naturalness.blocks(chests[0])[:, :36]
    both = (np.cov(blocks.T) + gaussian.covariance) / 2
    away = blocks.mean(axis=0) - gaussian.mean
    assert gaussian.distance(chests[0]) == pytest.approx(np.sqrt(away @ linalg.pinvh(both) @ away), rel=1e-6)


def test_a_fit_needs_more_blocks_than_dimensions(chests):
    with pytest.raises(MedsynthError, match="a fit needs more than 36"):
        naturalness.fit(np.stack([naturalness.blocks(chest) for chest in chests[:3]]))


def test_radiographs_tell_blur_and_noise_from_sharp_images(bundle, chests):
    """More of either is worse, image by image."""
    look = niqe.observer(bundle, "NIQE-radiographs")
    random = np.random.default_rng(0)
    noise = random.normal(size=chests[:4].shape)
    worse = {
        "blur": [chests[:4], *(ndimage.gaussian_filter(chests[:4], (0, width, width)) for width in (0.7, 1.5, 3))],
        "noise": [np.clip(chests[:4] + noise * width, 0, 255).astype(np.uint8) for width in (0, 8, 16, 32)],
    }
    for kind, images in worse.items():
        means = [look(level).mean() for level in images]
        assert np.all(np.diff(means) > 0), f"{kind}: {means}"


def test_own_parameters_are_a_part_of_a_bundle(chests, small_bundle, tmp_path, capsys):
    """Fitted by the command; the figure then takes them, and is kept under another key."""
    data = tmp_path / "data"
    data.mkdir()
    for index, chest in enumerate(np.concatenate([chests, chests[:, :, ::-1]])):
        (data / f"{index}.png").write_bytes(pixels.encode_png(np.ascontiguousarray(chest)))
    assert main(["models", "niqe", str(data), "-o", str(tmp_path / "own"), "--quiet"]) == 0
    assert "24 images" in capsys.readouterr().out
    own, small = bundles.load(str(tmp_path / "own")), bundles.load(str(small_bundle))
    expected, _ = naturalness.fit(np.stack([naturalness.blocks(chest) for chest in [*chests, *chests[:, :, ::-1]]]))
    np.testing.assert_allclose(niqe.radiographs(own).covariance, expected.covariance, rtol=1e-9, atol=1e-12)
    assert niqe.observer(own, "NIQE-radiographs").key != niqe.observer(small, "NIQE-radiographs").key


@pytest.mark.parametrize("form", ["png", "dicom", "tar"])
def test_the_row_of_files_is_the_mean_of_pyiqas_values(form, small_bundle, chests, tmp_path, capsys):
    source = _written(form, chests[:3], tmp_path / "images")
    argv = ["evaluate", str(source), "--bundle", str(small_bundle), "--metrics", "niqe,niqe-radiographs,niqe-matlab"]
    assert main([*argv, "--no-cache", "--by", "none"]) == 0
    rows = json.loads(capsys.readouterr().out)["metrics"]
    assert list(rows) == ["NIQE", "NIQE-radiographs", "NIQE-MATLAB"]
    file = as_mat(niqe.radiographs(bundles.load(str(small_bundle))), tmp_path / "r.mat")
    assert rows["NIQE-radiographs"]["value"] == pytest.approx(np.mean(by_pyiqa(chests[:3], file)), rel=1e-6)
    released = bundles.assets() / "niqe" / "niqe_params.mat"
    assert rows["NIQE"]["value"] == pytest.approx(np.mean(by_pyiqa(chests[:3], released)), rel=1e-6)
    for name in ("NIQE", "NIQE-radiographs"):
        assert rows[name]["better"] is None
        assert rows[name]["floors"]["real"] > 0
    if not (Path(torch.hub.get_dir()) / "pyiqa" / niqe.MATLAB_FILE).is_file():
        assert niqe.MATLAB_FILE in rows["NIQE-MATLAB"]["reason"]


def _written(form, images, folder):
    """Images as files of a form, and what to name to have them read."""
    folder.mkdir()
    names = {"series_seed": "0", "modality": "DX", "body_part": "CHEST"}
    for index, image in enumerate(images):
        if form == "dicom":
            (folder / f"{index}.dcm").write_bytes(dicom.secondary_capture(image, **names, uid_seed=str(index)))
        else:
            (folder / f"{index}.png").write_bytes(pixels.encode_png(image))
    if form != "tar":
        return folder
    with tarfile.open(folder / "images.tar", "w") as shard:
        for index in range(len(images)):
            shard.add(folder / f"{index}.png", f"{index}.png")
    return folder / "images.tar"
