"""``medsynth models``: list, verify, import."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from medsynth_cli.app import main
from medsynth_cli.runtime import bundles
from medsynth_cli.tokens import tokenizer
from medsynth_cli.tokens.vqgan import Vqgan, VqganConfig

SMALL = VqganConfig(
    patch_px=8, block_out_channels=(16, 32), layers_per_block=1, latent_channels=16, num_vq_embeddings=64,
    vq_embed_dim=8, norm_num_groups=8, resolution_px=64,
)  # fmt: skip


@pytest.fixture
def model() -> Vqgan:
    torch.manual_seed(0)
    return Vqgan(SMALL).eval()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    theirs = SMALL.diffusers_config() | {"_class_name": "VQModel", "act_fn": "silu", "resolution_px": 64}
    path.write_text(json.dumps(theirs))
    return path


def same(bundle: Path, model: Vqgan) -> bool:
    imported = tokenizer.load(bundles.load(str(bundle)), torch.device("cpu"))
    pixels = torch.rand(2, 1, 64, 64)
    return torch.equal(imported.encode(pixels), model.encode(pixels))


def test_import_safetensors_list_and_verify(
    model: Vqgan, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file(model.state_dict(), tmp_path / "vq.safetensors")
    out = tmp_path / "mine"
    assert main(["models", "import", "tokenizer", str(tmp_path / "vq.safetensors"), "-o", str(out)]) == 0
    bundle = bundles.load(str(out))
    assert bundle.name == "mine"
    assert bundle.config("tokenizer").items() >= json.loads(json.dumps(asdict(SMALL))).items()
    assert len(bundle.tokenizer_sha256) == 64
    assert same(out, model)
    capsys.readouterr()
    assert main(["models", "list", str(out)]) == 0
    listed = capsys.readouterr().out
    assert bundle.sha256 in listed
    assert bundle.part_sha256("tokenizer") in listed
    assert main(["models", "verify", str(out)]) == 0
    part = out / "tokenizer.safetensors"
    part.write_bytes(part.read_bytes()[:-1] + b"\x7f")
    assert main(["models", "verify", str(out)]) == 1
    assert "damaged" in capsys.readouterr().out


@pytest.mark.parametrize("nested", [False, True])
def test_import_a_pickle(nested: bool, model: Vqgan, config: Path, tmp_path: Path) -> None:
    weights = model.state_dict()
    torch.save({"state_dict": weights, "epoch": 3} if nested else weights, tmp_path / "vq.pt")
    arguments = ["models", "import", "tokenizer", str(tmp_path / "vq.pt"), "--model-config", str(config)]
    assert main([*arguments, "-o", str(tmp_path / "out")]) == 0
    assert same(tmp_path / "out", model)


def test_import_a_diffusers_folder_as_half(model: Vqgan, config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "vq"
    folder.mkdir()
    config.rename(folder / "config.json")
    save_file(model.state_dict(), folder / "diffusion_pytorch_model.safetensors")
    assert main(["models", "import", "tokenizer", str(folder), "-o", str(tmp_path / "out"), "--half"]) == 0
    stored = bundles.load(str(tmp_path / "out")).weights("tokenizer")
    torch.testing.assert_close(stored, dict(model.state_dict()), rtol=1e-3, atol=1e-6)


def test_a_part_is_replaced_only_on_request(model: Vqgan, config: Path, tmp_path: Path) -> None:
    save_file(model.state_dict(), tmp_path / "vq.safetensors")
    arguments = ["models", "import", "tokenizer", str(tmp_path / "vq.safetensors"), "-o", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert main(arguments) == 2
    assert main([*arguments, "--overwrite"]) == 0


class Harmful:
    """Unpickling this would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self.path), "w"))


def test_a_pickle_runs_no_code(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "vq.pt").write_bytes(pickle.dumps(Harmful(tmp_path / "made")))
    assert main(["models", "import", "tokenizer", str(tmp_path / "vq.pt"), "-o", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "out").exists()
    assert "vq.pt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"in_channels": 3}, "in_channels"),
        ({"block_out_channels": None}, "block_out_channels"),
        ({"mid_block_add_attention": False}, "mid_block_add_attention"),
        ({"num_vq_embeddings": 32}, "quantize.embedding.weight"),
        ({"layers_per_block": 2}, "absent in the file"),
        ({"norm_num_groups": 7}, "num_groups"),
    ],
)
def test_networks_of_another_shape_are_refused(
    change: dict[str, object], said: str, model: Vqgan, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    save_file(model.state_dict(), tmp_path / "vq.safetensors")
    assert main(["models", "import", "tokenizer", str(tmp_path / "vq.safetensors"), "-o", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out" / "tokenizer.safetensors").exists()


@pytest.mark.parametrize(
    "arguments", [["import", "judge", "a.pt", "-o", "b"], ["verify", "nothing"], ["list", "nothing"]]
)
def test_unknown_names(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", *arguments]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_embedded_bundles_verify() -> None:
    for name in bundles.embedded():
        assert main(["models", "verify", name]) == 0
