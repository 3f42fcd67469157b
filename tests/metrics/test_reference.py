"""References: features and facts in a bundle, no images."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import reference
from medsynth_cli.recognition import features, judges
from medsynth_cli.runtime import bundles

CPU = torch.device("cpu")


def test_a_reference_holds_what_the_networks_say_and_no_image(small_bundle, chests, chest_meta):
    bundle = bundles.load(str(small_bundle))
    found = reference.load(bundle, "chests")
    assert found.name == "small:chests"
    assert found.images is None
    np.testing.assert_allclose(found.features, features.load(bundle, CPU)(chests), rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(
        found.probabilities, judges.load(bundle, CPU).probabilities(chests), rtol=2e-3, atol=1e-3
    )
    assert found.views == tuple(meta["view"] for meta in chest_meta)
    assert found.sexes == tuple(meta["sex"] for meta in chest_meta)
    np.testing.assert_array_equal(found.ages, [np.nan if m["age"] is None else m["age"] for m in chest_meta])
    assert found.truth[:, found.labels.index("Effusion")].tolist() == ["Effusion" in m["labels"] for m in chest_meta]
    stored = load_file(small_bundle / "reference-chests.safetensors")
    assert max(tensor.numel() for tensor in stored.values()) == found.features.size < chests.size


def test_patients_are_told_apart_but_not_named(small_bundle, chest_meta):
    found = reference.load(bundles.load(str(small_bundle)), "chests")
    patients = [meta["patient"] for meta in chest_meta]
    for i, one in enumerate(patients):
        for j, other in enumerate(patients):
            assert (found.patients[i] == found.patients[j]) == (one == other)
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
