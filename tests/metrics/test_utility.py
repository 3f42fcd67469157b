"""Utility, on features whose worth is known: what teaches scores, what does not stays at chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from medsynth_cli.metrics import patients, reference, utility
from medsynth_cli.metrics.comparison import Comparison
from medsynth_cli.metrics.imagesets import ImageSet
from medsynth_cli.metrics.observers import Observers
from medsynth_cli.runtime import bundles

FEATURES, AFTER = "effnet-lite2", "round trip effnet-lite2"
LABELS = ("Effusion", "Mass")
DISTANCE = 2.0
DIMENSION = 8


@pytest.fixture(scope="module")
def observers():
    return Observers(bundles.load("cxr-mini"), torch.device("cpu"))


def images(name, count, seed, distance=DISTANCE, after=None):
    """Images of two findings, a third each, that shift a feature by so many standard deviations; two a patient."""
    random = np.random.default_rng(seed)
    truth = random.random((count, 2)) < 1 / 3
    noise = random.normal(size=(count, DIMENSION))
    results = {}
    for key, shift in ((FEATURES, distance), (AFTER, after)):
        if shift is not None:
            results[key] = noise.copy()
            results[key][:, :2] += shift * truth
    meta = [
        {
            "id": f"{name}-{n}",
            "patient": f"{name} {n // 2}",
            "labels": [label for label, there in zip(LABELS, own, strict=True) if there],
        }
        for n, own in enumerate(truth)
    ]
    return ImageSet(name, meta, results)


def without(images, field):
    return ImageSet(images.name, [meta | {field: None} for meta in images.meta], {FEATURES: images._results[FEATURES]})


def rows(observers, ours, train, real):
    return utility.score(Comparison(ours, real, train, observers))


def test_images_like_real_ones_are_worth_as_much(observers):
    train, real = images("train", 500, 1, after=0.5), images("real", 600, 2)
    found = rows(observers, images("ours", 250, 0), train, real)
    ceiling = norm.cdf(DISTANCE / 2**0.5)
    ours, alone, both, gain = (found[f"utility {name}-EffNet"] for name in ("synthetic", "real", "both", "gain"))
    for row in (ours, alone, both):
        assert row["value"] == pytest.approx(ceiling, abs=0.035)
        assert row["interval"][0] < row["value"] < row["interval"][1] < row["interval"][0] + 0.12
    assert gain["value"] == pytest.approx(both["value"] - alone["value"])
    assert gain["interval"][1] - gain["interval"][0] < 0.8 * (both["interval"][1] - both["interval"][0]), "paired"
    assert ours["floors"]["training"] == alone["value"]
    assert ours["floors"]["shuffled"] == pytest.approx(0.5, abs=0.15)
    assert ours["floors"]["repeated"] == 0.5
    assert ours["floors"]["round trip"] < alone["value"] - 0.01, "half the shift is lost there"
    assert gain["floors"]["training"] == pytest.approx(gain["value"], abs=0.02), (
        "further real images are worth the same"
    )
    assert gain["floors"]["shuffled"] < gain["floors"]["training"]
    assert {*ours["findings"]} == {*LABELS}
    assert ours["value"] == pytest.approx(np.mean([own["value"] for own in ours["findings"].values()]))
    assert (ours["n"], ours["n_real"]) == (250, 600)
    assert "no training image is of a test patient" in ours["note"]


def test_images_that_do_not_show_what_was_asked_for_are_worth_nothing(observers):
    train, real = images("train", 200, 1), images("real", 400, 2)
    found = rows(observers, images("ours", 200, 0, distance=0.0), train, real)
    ours = found["utility synthetic-EffNet"]
    assert ours["value"] == pytest.approx(0.5, abs=0.15)
    assert ours["interval"][0] < 0.55
    assert found["utility gain-EffNet"]["value"] < 0
    assert "training" not in found["utility gain-EffNet"]["floors"], "there are no further training images"


def test_training_images_of_test_patients_are_left_out(observers, tmp_path):
    train, real = images("train", 100, 1), images("real", 200, 2)
    for n in range(30):
        train.meta[n]["patient"] = real.meta[n]["patient"]
    found = rows(observers, images("ours", 60, 0), train, real)
    assert "30 training images of test patients left out" in found["utility real-EffNet"]["note"]
    hashed = [meta | {"patient": str(reference.patient_number(meta))} for meta in real.meta]
    assert patients.shared(train, ImageSet("a reference", hashed, {})).tolist() == [True] * 30 + [False] * 70
    assert not patients.shared(without(train, "patient"), without(real, "patient")).any()


@pytest.mark.parametrize(
    ("change", "row", "reason"),
    [
        (lambda ours, train, real: (ours, None, real), "gain", "name some with --train"),
        (lambda ours, train, real: (without(ours, "labels"), train, real), "synthetic", "no record says"),
        (lambda ours, train, real: (ours, train, without(real, "labels")), "synthetic", "no labels to test with"),
        (lambda ours, train, real: (ours.take(range(8)), train, real), "synthetic", "no finding that 5 images"),
    ],
    ids=["no training images", "nothing asked for", "no labels", "too few"],
)
def test_what_is_missing_is_said(observers, change, row, reason):
    ours, train, real = change(images("ours", 60, 0), images("train", 60, 1), images("real", 60, 2))
    found = rows(observers, ours, train, real)
    assert found[f"utility {row}-EffNet"]["value"] is None
    assert reason in found[f"utility {row}-EffNet"]["reason"]
    if train is None:
        assert found["utility synthetic-EffNet"]["value"] > 0.7
