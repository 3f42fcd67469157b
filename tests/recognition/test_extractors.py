"""Feature extractors beside the bundled one, on models made here: the published weights are not at hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from medsynth_cli.errors import MedsynthError
from medsynth_cli.recognition import extractors
from medsynth_cli.recognition.extractors import clip, hub, inception

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("figure", "extractor", "expected"),
    [
        ("FD", "effnet", "FD-EffNet"),
        ("FD∞", "inception", "FID∞"),
        ("coverage", "inception", "coverage-Inception"),
        ("FD", "xrv", "FD-XRV"),
        ("MMD", "clip", "CMMD"),
        ("FD", "clip", "FD-CLIP"),
        ("MMD", "clip:a/b", "CMMD-a/b"),
        ("MMD", "hub:a/b", "MMD-a/b"),
    ],
)
def test_figures_are_named_after_their_extractor(figure, extractor, expected):
    assert extractors.figure_name(figure, extractor) == expected


@pytest.mark.parametrize("name", extractors.EXTRACTORS)
def test_every_row_of_the_table_is_an_extractor(name):
    found, model = extractors.find(name + ":some/model" if name == "hub" else name)
    assert isinstance(found, extractors.Extractor)
    assert model == {"hub": "some/model", "clip": clip.MODEL}.get(name, "")


@pytest.mark.parametrize(
    ("name", "message"),
    [("eyes", "no extractor 'eyes'"), ("hub", "names no model"), ("clip:", "names no model"), ("xrv:a", "no model")],
)
def test_a_name_that_means_nothing_is_refused(name, message):
    with pytest.raises(MedsynthError, match=message):
        extractors.find(name)


def test_clip_says_the_normalised_embedding_that_cmmds_code_computes(small_clip, chests):
    """The published steps, on Pillow's resizing: torchvision's, in the processor, rounds a few pixels otherwise."""
    from PIL import Image
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

    found = extractors.load(f"clip:{small_clip}", None, CPU)(chests[:4])
    images = [np.asarray(Image.fromarray(chest).resize((48, 48), Image.Resampling.BICUBIC)) for chest in chests[:4]]
    gray = np.repeat(np.stack(images)[..., None], 3, axis=-1).astype(np.float32) / 255
    processor = CLIPImageProcessor.from_pretrained(small_clip)
    steps = {"do_resize": False, "do_center_crop": False, "do_rescale": False, "do_normalize": True}
    pixels = processor(images=list(gray), return_tensors="pt", input_data_format="channels_last", **steps)
    with torch.inference_mode():
        model = CLIPVisionModelWithProjection.from_pretrained(small_clip).eval()
        expected = model(pixel_values=pixels["pixel_values"]).image_embeds
    np.testing.assert_allclose(found, expected / expected.norm(dim=-1, keepdim=True), atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
    assert found.shape == (4, 24)


def test_the_hub_says_the_same_of_a_clip_model(small_clip, chests):
    np.testing.assert_array_equal(
        extractors.load(f"hub:{small_clip}", None, CPU)(chests[:3]),
        extractors.load(f"clip:{small_clip}", None, CPU)(chests[:3]),
    )


def test_dinov2_says_the_class_token_after_its_own_processor(small_dino, chests):
    from PIL import Image
    from transformers import AutoImageProcessor, AutoModel

    found = extractors.load(f"hub:{small_dino}", None, CPU)(chests[:3])
    pictures = [Image.fromarray(chest).convert("RGB") for chest in chests[:3]]
    pixels = AutoImageProcessor.from_pretrained(small_dino)(pictures, return_tensors="pt")
    assert pixels["pixel_values"].shape == (3, 3, 56, 56)
    with torch.inference_mode():
        said = AutoModel.from_pretrained(small_dino).eval()(**pixels)
    np.testing.assert_allclose(found, said.last_hidden_state[:, 0], atol=1e-6)
    np.testing.assert_allclose(found, said.pooler_output, atol=1e-6)


def test_a_pooler_without_weights_is_left_out(tmp_path, chests):
    """Classifiers are stored without one: transformers would draw its weights anew at every start."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    config = ViTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=16)
    model = ViTForImageClassification(config).eval()
    model.save_pretrained(tmp_path)
    processor = ViTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path)
    found = extractors.load(f"hub:{tmp_path}", None, CPU)(chests[:2])
    gray = [torch.from_numpy(chest).repeat(3, 1, 1) for chest in chests[:2]]
    with torch.inference_mode():
        expected = model.vit(**processor(gray, return_tensors="pt")).last_hidden_state[:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_what_it_says_is_kept_under_weights_and_processor(small_dino, tmp_path):
    import json
    import shutil

    first = extractors.load(f"hub:{small_dino}", None, CPU)
    shutil.copytree(small_dino, tmp_path / "other")
    file = tmp_path / "other" / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"image_mean": [0.1] * 3}))
    assert extractors.load(f"hub:{small_dino}", None, CPU).key == first.key
    assert extractors.load(f"hub:{tmp_path / 'other'}", None, CPU).identity != first.identity


def test_clip_refuses_a_model_without_embeddings(small_dino):
    with pytest.raises(MedsynthError, match="not a CLIP model"):
        extractors.load(f"clip:{small_dino}", None, CPU)


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(MedsynthError, match=r"hub:no/such-model: not in the cache, and http://127.0.0.1:9 cannot"):
        extractors.load("hub:no/such-model", None, CPU)
    with pytest.raises(MedsynthError, match="hub:"):
        hub.load(None, CPU, str(tmp_path))


def test_inception_without_weights_or_network_says_where_they_belong(tmp_path, monkeypatch):
    monkeypatch.setattr("cleanfid.downloads_helper.inception_url", "http://127.0.0.1:9/inception-2015-12-05.pt")
    with pytest.raises(MedsynthError, match="could not be fetched") as caught:
        inception.fetch(tmp_path)
    assert inception.FILE in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def xrv(monkeypatch, tmp_path):
    """The library, with an empty folder of weights; the file that it looks for."""
    library = pytest.importorskip("torchxrayvision", reason="the extra xrv is not installed")
    monkeypatch.setenv("HOME", str(tmp_path))
    url = library.models.model_urls["densenet121-res224-all"]["weights_url"]
    file = tmp_path / ".torchxrayvision" / "models_data" / url.rsplit("/", 1)[1]
    file.parent.mkdir(parents=True)
    return library, file


def test_xrv_says_the_pooled_features_of_the_librarys_own_steps(xrv, chests, capsys):
    library, file = xrv
    torch.manual_seed(0)
    model = library.models.DenseNet().eval()
    torch.save(model, file)
    dark = chests[:3] // 20  # on which the library remarks, on stdout
    found = extractors.load("xrv", None, CPU)(np.concatenate([dark, chests[:3]]))
    pixels = torch.from_numpy(library.utils.normalize(np.concatenate([dark, chests[:3]]), 255))[:, None]
    resized = F.interpolate(pixels, size=(224, 224), mode="bilinear", antialias=True)
    with torch.inference_mode():
        expected = F.relu(model.features(resized)).mean(dim=(2, 3))
    assert found.shape == (6, 1024)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert capsys.readouterr().out == ""


def test_xrv_without_its_weights_says_where_they_belong(xrv, monkeypatch, capsys):
    library, file = xrv
    url = f"http://127.0.0.1:9/{file.name}"
    monkeypatch.setitem(library.models.model_urls["densenet121-res224-all"], "weights_url", url)
    with pytest.raises(MedsynthError, match="could not be fetched") as caught:
        extractors.load("xrv", None, CPU)
    assert str(file) in caught.value.message
    assert url in caught.value.hint
    file.write_bytes(b"half a file")
    with pytest.raises(MedsynthError, match="not the weights of densenet121-res224-all"):
        extractors.load("xrv", None, CPU)
    assert capsys.readouterr().out == ""


def test_xrv_without_the_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torchxrayvision", None)
    with pytest.raises(MedsynthError, match="not installed") as caught:
        extractors.load("xrv", None, CPU)
    assert "medsynth[xrv]" in caught.value.hint
