"""References: features and facts in a bundle, no images."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import niqe, reference
from medsynth_cli.metrics.observers import Observers
from medsynth_cli.recognition import features, judges
from medsynth_cli.runtime import bundles

CPU = torch.device("cpu")


def test_a_reference_holds_what_the_networks_say_and_no_image(small_bundle, chests, chest_meta):
    bundle = bundles.load(str(small_bundle))
    found = reference.load(bundle, "chests")
    assert found.name == "small:chests"
    extractor, judge = features.load(bundle, CPU), judges.load(bundle, CPU)
    order = np.argsort([hashlib.sha256(chest.tobytes()).hexdigest() for chest in chests])
    for observer in (extractor, judge.observer, niqe.observer(bundle), niqe.observer(bundle, "NIQE-radiographs")):
        np.testing.assert_allclose(found.of(observer), observer(chests[order]), rtol=2e-3, atol=1e-3)
    for field in ("view", "sex", "age", "labels"):
        assert found.field(field) == [chest_meta[i][field] for i in order]
    with pytest.raises(MedsynthError, match="holds no images"):
        found.pixels(0)
    stored = load_file(small_bundle / "reference-chests.safetensors")
    assert max(tensor.numel() for tensor in stored.values()) == 12 * 1280 < chests.size


def test_training_images_are_also_kept_after_the_tokenizer(small_bundle):
    bundle = bundles.load(str(small_bundle))
    observers = Observers(bundle, CPU)
    trained, other = (reference.load(bundle, name) for name in ("trained", "chests"))
    after = trained.of(observers.round_trip(observers.extractor("effnet")))
    before = trained.of(observers.extractor("effnet"))
    assert after.shape == before.shape == (6, 1280)
    assert 0.02 < np.abs(after - before).mean() / np.abs(before).mean() < 1, "changed, but not beyond recognition"
    with pytest.raises(MedsynthError, match="holds no round trip effnet-lite2"):
        other.of(observers.round_trip(observers.extractor("effnet")))


def test_patients_are_told_apart_but_not_named(small_bundle, chest_meta):
    found = reference.load(bundles.load(str(small_bundle)), "chests")
    patients = [meta["patient"] for meta in chest_meta]
    assert sorted(np.bincount(found.groups)) == sorted(patients.count(patient) for patient in set(patients))
    data = (small_bundle / "reference-chests.safetensors").read_bytes() + (small_bundle / "bundle.json").read_bytes()
    assert not any(patient.encode() in data for patient in patients)


def test_a_reference_of_another_network_is_refused(small_bundle, tmp_path):
    shutil.copytree(small_bundle, tmp_path / "b")
    manifest = json.loads((tmp_path / "b" / "bundle.json").read_text())
    manifest["parts"]["judge"]["sha256"] = "0" * 64
    (tmp_path / "b" / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(MedsynthError, match="other networks"):
        reference.load(bundles.load(str(tmp_path / "b")), "chests")


def test_an_unknown_reference_names_the_known_ones(small_bundle):
    with pytest.raises(MedsynthError, match="no reference 'other'") as caught:
        reference.load(bundles.load(str(small_bundle)), "other")
    assert "chests" in caught.value.hint
