"""Planted copies of training images are found, by name; images that only look like training images are not."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from medsynth_cli.files import pixels
from medsynth_cli.metrics import copies, memory
from medsynth_cli.metrics.observers import Observers
from medsynth_cli.recognition import fingerprints
from medsynth_cli.runtime import bundles


def shifted(image, down, across):
    return np.roll(np.pad(image, 8, mode="edge"), (down, across), (0, 1))[8:-8, 8:-8]


def brightened(image):
    return np.clip(255 * (image / 255) ** 0.8 * 1.1 + 5, 0, 255).round().astype(np.uint8)


def compressed(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=40)
    return np.asarray(Image.open(io.BytesIO(buffer.getvalue())))


CHANGES = {
    "none": lambda image: image,
    "shift": lambda image: shifted(image, 7, -6),
    "brightness": brightened,
    "compression": compressed,
    "all": lambda image: compressed(brightened(shifted(image, -8, 5))),
}


@pytest.fixture(scope="module")
def remembered():
    """The training images of cxr-mini, after its tokenizer."""
    return memory.of(None, Observers(bundles.load("cxr-mini"), torch.device("cpu")))


@pytest.fixture(scope="module")
def mirrored(remembered):
    """Images that are no copies, but as like training images as any: training images mirrored."""
    return [np.ascontiguousarray(remembered.picture(index)[:, ::-1]) for index in range(0, 1900, 80)]


def write(folder, images):
    folder.mkdir()
    for name, image in images.items():
        (folder / f"{name}.png").write_bytes(pixels.encode_png(image))
    return folder


def scored(run, folder, *more):
    return run("evaluate", folder, "--metrics", "copies", "--by", "none", "--no-cache", "--quiet", *more).records[0]


def test_copies_are_found_whatever_was_done_to_them(run, tmp_path, remembered, mirrored):
    planted = {
        f"copy-{name}-{index}": change(remembered.picture(index))
        for place, (name, change) in enumerate(CHANGES.items())
        for index in range(10 * place, 10 * place + 2)
    }
    images = planted | {f"own-{index}": image for index, image in enumerate(mirrored)}
    score = scored(run, write(tmp_path / "synthetic", images), "--html", tmp_path / "report.html")
    row = score["metrics"]["copies"]
    found = {pair["id"]: pair["training"] for pair in row["pairs"] if pair["copied"]}
    assert found == {name: remembered.ids[int(name.rpartition("-")[2])] for name in planted}
    assert row["value"] == pytest.approx(len(planted) / len(images))
    assert row["floors"]["round trip"] > 0.99
    assert row["floors"]["real"] < 0.01
    assert {alarm["name"] for alarm in score["alarms"] if alarm["raised"]} >= {"memorisation"}
    report = (tmp_path / "report.html").read_text()
    assert report.count("counted as a copy") == len(planted)
    assert remembered.ids[0] in report


def test_likeness_alone_raises_no_alarm(run, tmp_path, mirrored):
    images = {f"own-{index}": image for index, image in enumerate(mirrored)}
    score = scored(run, write(tmp_path / "synthetic", images))
    assert score["metrics"]["copies"]["value"] == 0
    assert {alarm["name"]: alarm["raised"] for alarm in score["alarms"]}["memorisation"] is False


def test_training_images_can_be_named(run, tmp_path, mirrored):
    """Copies of named training images are found, and those of the bundle's own are not looked for."""
    images = {f"own-{index}": image for index, image in enumerate(mirrored)}
    train = write(tmp_path / "train", images)
    folder = write(tmp_path / "synthetic", {"a": shifted(mirrored[3], 4, 4), "b": mirrored[5][:, ::-1]})
    row = scored(run, folder, "--train", train)["metrics"]["copies"]
    closest = row["pairs"][0]
    assert (closest["id"], closest["training"], closest["copied"]) == ("a", "own-3", True)
    assert row["value"] == 0.5
    assert row["n_train"] == len(mirrored)


def test_too_few_real_images(run, tmp_path, mirrored):
    folder = write(tmp_path / "images", {"a": mirrored[0], "b": mirrored[1]})
    row = scored(run, folder, "--real", folder)["metrics"]["copies"]
    assert row["value"] is None
    assert "needs 50" in row["reason"]


def test_nearest_is_the_cosine_over_all_shifts():
    random = np.random.default_rng(0)
    found = random.integers(-100, 100, (70, 3 * 5)).astype(np.int8)
    training = random.integers(-100, 100, (40, 5)).astype(np.int8)
    result = copies.nearest(found, training)
    for index in range(70):
        views = found[index].reshape(3, 5).astype(float)
        cosines = (
            views @ training.T / np.outer(np.linalg.norm(views, axis=1), np.linalg.norm(training.astype(float), axis=1))
        )
        assert result.likeness[index] == pytest.approx(cosines.max(), abs=1e-6)
        assert result.training[index] == cosines.max(axis=0).argmax()


def test_nearest_of_another_patient():
    prints = np.eye(3, 4, dtype=np.int8) * 100
    own = np.array([7, 8, 9])
    result = copies.nearest(prints, prints, (own, own))
    assert (result.likeness == 0).all()
    assert (result.training != np.arange(3)).all()


def test_bar_is_passed_as_often_as_it_says():
    """On likenesses that are the largest of many, as they are in use; a tenth of copies among them moves it little."""
    likeness = np.tanh(stats.gumbel_r.rvs(0.6, 0.1, size=200_000, random_state=0))
    limit = copies.bar(likeness)
    assert (likeness > limit).mean() == pytest.approx(copies.CHANCE, rel=0.15)
    mixed = np.concatenate([likeness, np.full(22_000, 0.99)])
    assert limit < copies.bar(mixed) < limit + 0.06


def test_fingerprints_survive_writing_and_do_not_see_brightness(mirrored):
    images = np.stack(mirrored)
    fitted = fingerprints.fit(fingerprints.reductions()(images), torch.device("cpu"))
    again = fingerprints.restore(
        {"mean": fitted.mean.half().float(), "basis": fitted.basis.half().float()}, fitted.device
    )
    said = fitted.observer(images)
    assert (again.observer(images) == said).all()
    darker = (images // 2).astype(np.uint8)
    assert copies.nearest(fitted.observer(darker), said).likeness.min() > 0.98


def test_shifted_fingerprints_are_those_of_shifted_images(mirrored):
    fitted = fingerprints.fit(fingerprints.reductions()(np.stack(mirrored)), torch.device("cpu"))
    image = mirrored[0]
    views = fitted.shifted(image[None]).reshape(25, -1)
    step = round(256 * fingerprints.STEP)
    assert (views[12] == fitted.observer(image[None])[0]).all()
    moved = shifted(image, -step, 2 * step)
    assert (views[5 * (2 + 1) + (2 - 2)] == fitted.observer(moved[None])[0]).all()
