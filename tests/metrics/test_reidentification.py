"""Patients are known again by descriptions fitted to others, and in synthetic images that show them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import pixels
from medsynth_cli.metrics import memory
from medsynth_cli.metrics.auroc import auroc
from medsynth_cli.metrics.observers import Observers
from medsynth_cli.recognition import identities
from medsynth_cli.runtime import bundles

AXES = np.random.default_rng(0).normal(size=(2, 6, 40))
"""What patients differ in, and the directions in which an image of a patient differs from another."""


def images_of(patients, seed):
    """Features ``(2 patients, 40)`` of two images a patient; what differs within a patient is much the larger."""
    random = np.random.default_rng(seed)
    own = random.normal(size=(patients, 6)).repeat(2, axis=0) @ AXES[0]
    found = own + 5 * random.normal(size=(2 * patients, 6)) @ AXES[1] + 0.1 * random.normal(size=(2 * patients, 40))
    return found.astype(np.float32), [f"patient {i // 2}" for i in range(2 * patients)]


def same_patient_auroc(x, patients):
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    pairs = np.triu_indices(len(x), 1)
    names = np.array(patients)
    return auroc((x @ x.T)[pairs], (names[pairs[0]] == names[pairs[1]]).astype(float))


def test_other_patients_are_told_apart():
    features, patients = images_of(200, 1)
    fitted = identities.fit([features[:, :25], features[:, 25:]], patients, [])
    new, whose = images_of(60, 2)
    said = (torch.from_numpy(new) - fitted.mean) @ fitted.projection
    assert same_patient_auroc(new - features.mean(0), whose) < 0.7
    assert same_patient_auroc(said.numpy(), whose) > 0.9


def test_too_few_patients():
    features, patients = images_of(10, 1)
    with pytest.raises(MedsynthError, match="10 patients have several"):
        identities.fit([features], patients, [])


def test_command(run, tmp_path):
    """Training images are re-identified; the bundle's own figure for real patients stands beside."""
    remembered = memory.of(None, Observers(bundles.load("cxr-mini"), torch.device("cpu")))
    for index in range(4):
        (tmp_path / f"{index}.png").write_bytes(pixels.encode_png(remembered.picture(40 * index)))
    options = ("--metrics", "re-identification", "--by", "none", "--no-cache", "--quiet")
    row = run("evaluate", tmp_path, *options).records[0]["metrics"]["re-identified"]
    assert row["value"] == 1
    assert row["auroc"] > 0.8
    assert row["floors"]["real"] < row["floors"]["same patient"]
    assert row["floors"]["real"] < 0.05


def test_a_bundle_that_knows_no_patients(run, tmp_path, small_bundle, chests):
    (tmp_path / "a.png").write_bytes(pixels.encode_png(chests[0]))
    options = ("--metrics", "re-identification", "--by", "none", "--bundle", small_bundle, "--quiet")
    row = run("evaluate", tmp_path, *options).records[0]["metrics"]["re-identified"]
    assert row["value"] is None
    assert "no identities" in row["reason"]
