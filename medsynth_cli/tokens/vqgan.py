"""The VQGAN image tokenizer: gray pixels <-> a grid of codes.

The network is `diffusers.VQModel` on pixel-unshuffled images (Esser et al. 2021, arXiv 2012.09841),
with the same weight names and configuration, so that weights go both ways; a test compares the two.
It is written out here because importing diffusers takes longer than making an image.

Shapes: B batch, H W pixels, h w code grid, K codes, C channels, D code dimensions.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class VqganConfig:
    """Shape of a tokenizer; see `diffusers_config` for its counterpart there."""

    patch_px: int = 8
    block_out_channels: tuple[int, ...] = (128, 256)
    layers_per_block: int = 2
    latent_channels: int = 256
    num_vq_embeddings: int = 1024
    vq_embed_dim: int = 16
    norm_num_groups: int = 32
    resolution_px: int = 256

    @property
    def grid(self) -> int:
        """Side of the code grid."""
        return self.resolution_px // self.patch_px // 2 ** (len(self.block_out_channels) - 1)

    def diffusers_config(self) -> dict[str, object]:
        """Arguments of `diffusers.VQModel` for the network between pixel-unshuffle and pixel-shuffle."""
        config = asdict(self)
        patch_px, _ = config.pop("patch_px"), config.pop("resolution_px")
        blocks = len(self.block_out_channels)
        return config | {
            "in_channels": patch_px**2,
            "out_channels": patch_px**2,
            "down_block_types": ("DownEncoderBlock2D",) * blocks,
            "up_block_types": ("UpDecoderBlock2D",) * blocks,
        }


class Resnet(nn.Module):
    """GroupNorm, SiLU, convolution, twice, with a shortcut."""

    def __init__(self, channels_in: int, channels: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels_in, eps=1e-6)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, channels, eps=1e-6)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(channels_in, channels, 1) if channels_in != channels else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Attention(nn.Module):
    """Single-head self-attention over the grid, with a residual."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        tokens = self.group_norm(x).flatten(2).transpose(1, 2)
        y = F.scaled_dot_product_attention(self.to_q(tokens), self.to_k(tokens), self.to_v(tokens))
        return x + self.to_out[0](y).transpose(1, 2).reshape(b, c, h, w)


class Middle(nn.Module):
    """Resnet, attention, resnet, at the resolution of the code grid."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([Attention(channels, groups)])
        self.resnets = nn.ModuleList([Resnet(channels, channels, groups) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class Resample(nn.Module):
    """Halve (strided convolution) or double (nearest, then convolution) the resolution."""

    def __init__(self, channels: int, down: bool) -> None:
        super().__init__()
        self.down = down
        self.conv = nn.Conv2d(channels, channels, 3, stride=2 if down else 1, padding=0 if down else 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.down:
            return self.conv(F.pad(x, (0, 1, 0, 1)))
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """The resnets of one resolution and the step to the next."""

    def __init__(self, channels_in: int, channels: int, layers: int, groups: int, resample: str | None) -> None:
        super().__init__()
        sizes = [channels_in] + [channels] * layers
        self.resnets = nn.ModuleList([Resnet(a, b, groups) for a, b in itertools.pairwise(sizes)])
        if resample:
            setattr(self, f"{resample}samplers", nn.ModuleList([Resample(channels, resample == "down")]))
        self.resample = f"{resample}samplers" if resample else None

    def forward(self, x: Tensor) -> Tensor:
        for resnet in self.resnets:
            x = resnet(x)
        return getattr(self, self.resample)[0](x) if self.resample else x


class Encoder(nn.Module):
    """Pixel-unshuffled pixels ``(B, patch_px², H/patch_px, W/patch_px)`` to latents ``(B, C, h, w)``."""

    def __init__(self, config: VqganConfig) -> None:
        super().__init__()
        channels, groups = config.block_out_channels, config.norm_num_groups
        self.conv_in = nn.Conv2d(config.patch_px**2, channels[0], 3, padding=1)
        inputs = (channels[0], *channels)
        self.down_blocks = nn.ModuleList(
            [
                Level(inputs[i], c, config.layers_per_block, groups, "down" if i < len(channels) - 1 else None)
                for i, c in enumerate(channels)
            ]
        )
        self.mid_block = Middle(channels[-1], groups)
        self.conv_norm_out = nn.GroupNorm(groups, channels[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(channels[-1], config.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.down_blocks:
            x = level(x)
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))


class Decoder(nn.Module):
    """Latents ``(B, C, h, w)`` to pixel-unshuffled pixels ``(B, patch_px², H/patch_px, W/patch_px)``."""

    def __init__(self, config: VqganConfig) -> None:
        super().__init__()
        channels, groups = config.block_out_channels[::-1], config.norm_num_groups
        self.conv_in = nn.Conv2d(config.latent_channels, channels[0], 3, padding=1)
        self.mid_block = Middle(channels[0], groups)
        inputs = (channels[0], *channels)
        self.up_blocks = nn.ModuleList(
            [
                Level(inputs[i], c, config.layers_per_block + 1, groups, "up" if i < len(channels) - 1 else None)
                for i, c in enumerate(channels)
            ]
        )
        self.conv_norm_out = nn.GroupNorm(groups, channels[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(channels[-1], config.patch_px**2, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        z = self.mid_block(self.conv_in(z))
        for level in self.up_blocks:
            z = level(z)
        return self.conv_out(F.silu(self.conv_norm_out(z)))


class Quantizer(nn.Module):
    """The table of code vectors."""

    def __init__(self, codes: int, dimensions: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(codes, dimensions)

    def nearest(self, latents_BDhw: Tensor) -> Tensor:
        """Nearest code by Euclidean distance: latents ``(B, D, h, w)`` -> int64 ``(B, h, w)``, [0, K)."""
        b, d, h, w = latents_BDhw.shape
        flat = latents_BDhw.permute(0, 2, 3, 1).reshape(-1, d).float()
        table = self.embedding.weight
        scores = flat @ table.T - 0.5 * table.square().sum(1)
        return scores.argmax(1).view(b, h, w)

    def lookup(self, codes_Bhw: Tensor) -> Tensor:
        """Code vectors: int64 ``(B, h, w)`` -> ``(B, D, h, w)``."""
        return self.embedding(codes_Bhw).permute(0, 3, 1, 2)


class Vqgan(nn.Module):
    """Gray images <-> codes.

    pixels: float32 ``(B, 1, H, W)``, [0, 1]; codes: int64 ``(B, h, w)``, [0, K).
    """

    def __init__(self, config: VqganConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.quant_conv = nn.Conv2d(config.latent_channels, config.vq_embed_dim, 1)
        self.quantize = Quantizer(config.num_vq_embeddings, config.vq_embed_dim)
        self.post_quant_conv = nn.Conv2d(config.vq_embed_dim, config.latent_channels, 1)
        self.decoder = Decoder(config)

    def latents(self, pixels: Tensor) -> Tensor:
        """Continuous latents ``(B, D, h, w)`` of pixels, before quantisation."""
        x = F.pixel_unshuffle(pixels * 2 - 1, self.config.patch_px)
        return self.quant_conv(self.encoder(x.contiguous(memory_format=torch.channels_last)))

    def reconstruct(self, vectors_BDhw: Tensor) -> Tensor:
        """Pixels of code vectors ``(B, D, h, w)``, not clipped to [0, 1]."""
        x = self.decoder(self.post_quant_conv(vectors_BDhw))
        return (F.pixel_shuffle(x.float(), self.config.patch_px) + 1) / 2

    @torch.inference_mode()
    def encode(self, pixels: Tensor) -> Tensor:
        """Codes of pixels."""
        return self.quantize.nearest(self.latents(pixels))

    @torch.inference_mode()
    def decode(self, codes_Bhw: Tensor) -> Tensor:
        """Pixels of codes, [0, 1]."""
        return self.reconstruct(self.quantize.lookup(codes_Bhw)).clamp(0, 1)
