"""``medsynth train``: every part learns from a shard, goes on after an interruption, and fits a bundle."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from medsynth_cli.runtime import bundles

Run = Callable[..., "object"]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the embedded bundle, to train into."""
    folder = tmp_path / "copy"
    shutil.copytree(bundles.assets() / "cxr-mini", folder)
    return folder


@pytest.mark.parametrize(
    ("part", "options", "column"),
    [
        ("tokenizer", ["batch_size=2", "autoencoder_until=0.3", "perceptual_from=0.6"], "l1"),
        ("decoder", ["batch_size=2", "adversary_weight=1", "crop_px=128"], "discriminator"),
        ("aligner", ["batch_size=4"], "words"),
        ("generator", ["batch_size=2", "versions=1"], "loss"),
        ("judge", ["batch_size=4", "size_px=64"], "loss"),
    ],
)
def test_a_part_trains_resumes_and_lands_in_the_bundle(
    run: Run, shard: Path, copy: Path, tmp_path: Path, part: str, options: list[str], column: str
) -> None:
    written = {"decoder": "tokenizer"}.get(part, part)
    before = bundles.load(str(copy)).part_sha256(written)
    arguments = ["train", part, shard, "--validation", shard, "-o", copy, "--run", tmp_path / "run"]
    settings = [argument for option in options for argument in ("--set", option)]
    assert run(*arguments, *settings, "--set", "steps=4", "--validate-every", 2, "--device", "cpu").code == 0
    refused = run(*arguments, *settings, "--set", "steps=6", "--device", "cpu")
    assert refused.code == 2
    assert "--resume" in refused.err
    resumed = run(*arguments, *settings, "--set", "steps=6", "--resume", "--validate-every", 2, "--device", "cpu")
    assert resumed.code == 0, resumed.err
    assert "writing the codes" not in resumed.err  # the generator finds those of its first run
    with (tmp_path / "run" / "curves.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [row["step"] for row in rows] == ["2", "4", "6"]
    assert all(float(row[column]) > 0 for row in rows)
    assert (tmp_path / "run" / "curves.png").stat().st_size > 1000
    manifest = json.loads((copy / "bundle.json").read_text())
    assert manifest["parts"][written]["sha256"] != before


def test_a_generator_goes_on_from_a_bundles_weights(run: Run, shard: Path, copy: Path, tmp_path: Path) -> None:
    arguments = ["train", "generator", shard, "--validation", shard, "-o", copy, "--set", "versions=1"]
    short = ["--set", "batch_size=2", "--set", "steps=2", "--validate-every", 2, "--device", "cpu"]
    losses = {}
    for name, start in (("fresh", []), ("onwards", ["--start", bundles.assets() / "cxr-mini"])):
        folder = tmp_path / name
        assert run(*arguments, *short, "--run", folder, *start).code == 0
        with (folder / "curves.csv").open() as handle:
            losses[name] = float(next(csv.DictReader(handle))["val_loss"])
    assert losses["onwards"] < 0.8 * losses["fresh"]


def test_a_decoder_keeps_the_codes_and_goes_as_far_as_it_is_told(
    run: Run, shard: Path, copy: Path, tmp_path: Path
) -> None:
    embedded = bundles.load("cxr-mini")
    weights = {}
    for blend in ("1", "0.25"):
        shutil.copytree(embedded.folder, copy, dirs_exist_ok=True)
        arguments = ["train", "decoder", shard, "--validation", shard, "-o", copy, "--run", tmp_path / blend]
        only = ["batch_size=2", "steps=2", "learning_rate=0.05", f"blend={blend}"]
        settings = [argument for option in only for argument in ("--set", option)]
        assert run(*arguments, *settings, "--device", "cpu").code == 0
        bundle = bundles.load(str(copy))
        assert bundle.tokenizer_sha256 == embedded.tokenizer_sha256
        assert {"generator", "codebook"} <= set(bundle.parts())
        weights[blend] = bundle.weights("tokenizer")
    name = "decoder.conv_out.weight"
    start = embedded.weights("tokenizer")[name].float()
    whole, quarter = (weights[blend][name].float() - start for blend in ("1", "0.25"))
    assert whole.abs().max() > 1e-4
    torch.testing.assert_close(quarter, 0.25 * whole, rtol=0, atol=1e-4)


def test_other_codes_leave_no_generator_behind(run: Run, shard: Path, copy: Path, tmp_path: Path) -> None:
    arguments = ["train", "tokenizer", shard, "--validation", shard, "-o", copy, "--run", tmp_path / "run"]
    result = run(*arguments, "--set", "steps=1", "--set", "batch_size=2", "--device", "cpu")
    assert result.code == 0
    assert "generator was made with other codes" in result.err
    assert "codebook was made with other codes" in result.err
    assert {"generator", "codebook"}.isdisjoint(bundles.load(str(copy)).parts())


def test_unknown_settings_are_named(run: Run, shard: Path, tmp_path: Path) -> None:
    result = run("train", "judge", shard, "--validation", shard, "-o", tmp_path / "b", "--set", "stepz=4")
    assert result.code == 2
    assert "stepz" in result.err
    assert "steps" in result.err
