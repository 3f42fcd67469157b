"""Aligners from image-text models, on small models made here: the published weights are not at hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_models import save_siglip

from medsynth_cli.alignment import aligners, hub
from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import pixels
from medsynth_cli.runtime import bundles

CPU = torch.device("cpu")


def test_clip_tokens_go_the_way_of_the_class_token(small_clip: Path) -> None:
    aligner = hub.load(str(small_clip), CPU)
    inputs = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    found = aligner.network.get_image_features(pixel_values=inputs)
    wanted = found if isinstance(found, torch.Tensor) else found.pooler_output
    assert torch.allclose(hub.clip_tokens(aligner.network, inputs)[:, 0], wanted, atol=1e-5)


def test_an_image_of_one_patch_is_the_image_to_siglip(tmp_path: Path) -> None:
    aligner = hub.load(str(save_siglip(tmp_path, 16)), CPU)
    image = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    found = aligner.network.get_image_features(pixel_values=hub.prepare(aligner.processor, image))
    wanted = F.normalize(found if isinstance(found, torch.Tensor) else found.pooler_output)
    assert torch.allclose(aligner.encode_patches(image)[..., 0, 0], wanted, atol=1e-5)


def test_a_model_in_a_folder_is_an_aligner(small_clip: Path, tmp_path: Path) -> None:
    for folder, grid in ((small_clip, 3), (save_siglip(tmp_path, 64), 4)):
        aligner = aligners.load(bundles.load("cxr-mini"), str(folder), CPU)
        patches = aligner.encode_patches(torch.rand(2, 1, 100, 100))
        words = aligner.encode_words(["left pleural effusion", "cardiomegaly"])
        assert aligner.grid == grid
        assert patches.shape[2:] == (grid, grid)
        assert torch.allclose(patches.norm(dim=1), torch.ones(2, grid, grid), atol=1e-5)
        assert torch.allclose(words.norm(dim=1), torch.ones(2), atol=1e-5)
        assert not torch.allclose(words[0], words[1])
        assert aligner.match(patches, words).shape == (2, 2, grid, grid)
        finer = aligners.load(bundles.load("cxr-mini"), str(folder), CPU, grid=16)
        assert finer.encode_patches(torch.rand(1, 1, 64, 64)).shape[2:] == (16, 16)


def test_align_draws_heatmaps_with_it(run, small_clip: Path, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(pixels.encode_png(image))
    record = {
        "kind": "report", "id": "a", "image": str(tmp_path / "a.png"),
        "report": {"findings": "Left pleural effusion.", "impression": ""},
        "writer": {"provider": "test", "model": None, "prompt_sha256": None, "usage": None},
    }  # fmt: skip
    result = run("align", "--heatmaps", tmp_path / "h", "--aligner", small_clip, stdin=json.dumps(record))
    assert result.code == 0, result.err
    assert [file.name for file in (tmp_path / "h").iterdir()] == ["a.left-pleural_effusion.png"]


def test_a_model_without_texts_is_refused(small_dino: Path) -> None:
    with pytest.raises(MedsynthError, match="dinov2") as caught:
        hub.load(str(small_dino), CPU)
    assert "clip" in caught.value.hint
