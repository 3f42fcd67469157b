"""Bundles: written, read back, and refused when damaged or mixed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from medsynth_cli.errors import MedsynthError
from medsynth_cli.runtime import bundles

WEIGHTS = {"a.weight": torch.linspace(0, 1, 12).view(3, 4), "steps": torch.arange(3)}
TOKENIZER = {"num_vq_embeddings": 16, "codes_sha256": "ab" * 32}


def make(folder: Path, **changes: Any) -> bundles.Bundle:
    """A bundle of a tokenizer and a generator that belong together, but for ``changes`` of the latter."""
    bundle = bundles.create(folder, "small", "chest_xray")
    bundles.write_part(bundle, "tokenizer", WEIGHTS, TOKENIZER, half=False)
    config = {"codes": 16, "tokenizer_sha256": bundle.tokenizer_sha256}
    bundles.write_part(bundle, "generator", WEIGHTS, config | changes)
    return bundle


def test_round_trip(tmp_path: Path) -> None:
    made = make(tmp_path)
    bundle = bundles.load(str(tmp_path))
    assert (bundle.name, bundle.sha256) == ("small", made.sha256)
    assert bundle.config("tokenizer") == TOKENIZER
    exact, half = bundle.weights("tokenizer"), bundle.weights("generator")
    for name, value in WEIGHTS.items():
        torch.testing.assert_close(exact[name], value, rtol=0, atol=0)
        torch.testing.assert_close(half[name], value, rtol=1e-3, atol=0)
        assert half[name].dtype == value.dtype
    assert bundle.file("generator").stat().st_size < bundle.file("tokenizer").stat().st_size


def test_describe_sums_up(tmp_path: Path) -> None:
    make(tmp_path)
    described = bundles.describe(str(tmp_path))
    sizes = [(tmp_path / f"{part}.safetensors").stat().st_size for part in ("generator", "tokenizer")]
    assert [part["bytes"] for part in described["parts"].values()] == sizes
    assert described["bytes"] == sum(sizes)
    assert json.loads(json.dumps(described)) == described


def test_the_hash_covers_every_part(tmp_path: Path) -> None:
    first = make(tmp_path / "a").sha256
    assert make(tmp_path / "b").sha256 == first
    assert make(tmp_path / "c", layers=3).sha256 != first


def test_a_damaged_part_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    path = tmp_path / "generator.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    bundle = bundles.load(str(tmp_path))
    with pytest.raises(MedsynthError, match=r"generator\.safetensors: does not match its SHA-256"):
        bundle.weights("generator")
    bundle.weights("tokenizer")


def test_a_missing_part_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "generator.safetensors").unlink()
    bundle = bundles.load(str(tmp_path))
    with pytest.raises(MedsynthError, match=r"generator\.safetensors: missing"):
        bundle.weights("generator")
    with pytest.raises(MedsynthError, match="no judge") as caught:
        bundle.config("judge")
    assert "generator, tokenizer" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "said"), [({"tokenizer_sha256": "0" * 64}, "another tokenizer"), ({"codes": 32}, "32 codes")]
)
def test_parts_that_disagree_are_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    make(tmp_path, **changes)
    with pytest.raises(MedsynthError, match=said):
        bundles.load(str(tmp_path))


def test_a_new_tokenizer_invalidates_the_generator(tmp_path: Path) -> None:
    bundle = make(tmp_path)
    bundles.write_part(bundle, "tokenizer", WEIGHTS, TOKENIZER | {"codes_sha256": "cd" * 32})
    with pytest.raises(MedsynthError, match="generator was made with another tokenizer"):
        bundles.load(str(tmp_path))
    assert bundles.drop_stale(bundle) == ["generator"]
    assert set(bundles.load(str(tmp_path)).parts()) == {"tokenizer"}
    assert not (tmp_path / "generator.safetensors").exists()


def test_parts_that_fit_the_tokenizer_stay(tmp_path: Path) -> None:
    assert bundles.drop_stale(make(tmp_path)) == []
    assert set(bundles.load(str(tmp_path)).parts()) == {"tokenizer", "generator"}


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "x"}', '{"name": "x", "parts": {"tokenizer": {}}}'])
def test_a_manifest_that_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text(text)
    with pytest.raises(MedsynthError, match=r"bundle\.json"):
        bundles.load(str(tmp_path))


def test_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(MedsynthError, match="no bundle 'nothing'") as caught:
        bundles.load("nothing")
    assert "cxr-mini" in caught.value.hint
