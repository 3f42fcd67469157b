"""The tokenizer network: the same function as `diffusers.VQModel` with the same weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from medsynth_cli.tokens.vqgan import Vqgan, VqganConfig

SMALL = VqganConfig(
    patch_px=4, block_out_channels=(16, 32), layers_per_block=1, latent_channels=24, num_vq_embeddings=64,
    vq_embed_dim=8, norm_num_groups=8, resolution_px=32,
)  # fmt: skip


@pytest.fixture
def model() -> Vqgan:
    torch.manual_seed(0)
    made = Vqgan(SMALL).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
    return made


def images(count: int) -> torch.Tensor:
    return torch.rand(count, 1, 32, 32, generator=torch.Generator().manual_seed(1))


def test_equal_to_diffusers(model: Vqgan) -> None:
    from diffusers.models.autoencoders.vq_model import VQModel

    theirs = VQModel(**SMALL.diffusers_config()).eval()
    theirs.load_state_dict(model.state_dict())
    pixels = images(3)
    with torch.no_grad():
        latents = theirs.encode(F.pixel_unshuffle(pixels * 2 - 1, SMALL.patch_px)).latents
        torch.testing.assert_close(model.latents(pixels), latents, rtol=0, atol=1e-5)
        vectors, _, (_, _, codes) = theirs.quantize(latents)
        decoded = F.pixel_shuffle(theirs.decode(latents).sample, SMALL.patch_px)
        ours = model.encode(pixels)
        assert torch.equal(ours.flatten(), codes.flatten())
        assert len(ours.unique()) > 5
        torch.testing.assert_close(model.quantize.lookup(ours), vectors, rtol=0, atol=1e-5)
        torch.testing.assert_close(model.reconstruct(vectors), (decoded + 1) / 2, rtol=0, atol=1e-5)


def test_shapes_and_ranges(model: Vqgan) -> None:
    codes = model.encode(images(2))
    assert (codes.shape, codes.dtype) == ((2, SMALL.grid, SMALL.grid), torch.int64)
    assert 0 <= int(codes.min()) <= int(codes.max()) < SMALL.num_vq_embeddings
    pixels = model.decode(codes)
    assert (pixels.shape, pixels.dtype) == ((2, 1, 32, 32), torch.float32)
    assert 0 <= float(pixels.min()) <= float(pixels.max()) <= 1


def test_codes_of_code_vectors_are_these_codes(model: Vqgan) -> None:
    codes = torch.arange(64).view(1, 8, 8)
    assert torch.equal(model.quantize.nearest(model.quantize.lookup(codes)), codes)


def test_an_image_does_not_depend_on_its_neighbours_in_the_batch(model: Vqgan) -> None:
    pixels = images(4)
    assert torch.equal(model.encode(pixels)[2], model.encode(pixels[[2, 0]])[0])


def test_the_grid_of_the_default_shape() -> None:
    assert VqganConfig().grid == 16
    assert VqganConfig(patch_px=4, block_out_channels=(32, 64, 64)).grid == 16
