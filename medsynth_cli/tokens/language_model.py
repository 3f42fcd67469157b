"""The language model that writes image codes: GPT-NeoX (Black et al. 2022, arXiv 2204.06745).

Same weight names and arithmetic as `transformers.GPTNeoXForCausalLM`; a test compares the two. It is
written out here because importing transformers takes longer than making an image, and because decoding
with a cache of fixed size needs no bookkeeping.

Shapes: B batch, T tokens, H heads, D dimensions of a head, E hidden size, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class LanguageModelConfig:
    """Shape of the model; names as in `transformers.GPTNeoXConfig`."""

    vocab_size: int
    hidden_size: int = 320
    num_hidden_layers: int = 8
    num_attention_heads: int = 8
    intermediate_size: int = 1280
    rotary_pct: float = 0.5
    rotary_emb_base: float = 10000.0
    layer_norm_eps: float = 1e-5
    dropout: float = 0.0


class Cache:
    """Keys and values of all layers, ``(B, H, T, D)`` each, filled from the left.

    Args:
        config: shape of the model.
        batch: rows.
        length: most tokens that will be seen.
        device: where to hold them.
    """

    def __init__(self, config: LanguageModelConfig, batch: int, length: int, device: torch.device) -> None:
        size = (batch, config.num_attention_heads, length, config.hidden_size // config.num_attention_heads)
        self.keys = [torch.zeros(size, device=device) for _ in range(config.num_hidden_layers)]
        self.values = [torch.zeros(size, device=device) for _ in range(config.num_hidden_layers)]
        self.filled = 0

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store the newest keys and values of one layer; return all so far."""
        end = self.filled + keys.shape[2]
        self.keys[layer][:, :, self.filled : end] = keys
        self.values[layer][:, :, self.filled : end] = values
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]


class Attention(nn.Module):
    """Causal self-attention with rotary positions on a part of each head."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x_BTE: Tensor, turn: tuple[Tensor, Tensor], cache: Cache | None, layer: int) -> Tensor:
        b, t, e = x_BTE.shape
        packed = self.query_key_value(x_BTE).view(b, t, self.heads, -1).transpose(1, 2)
        q, k, v = packed.chunk(3, dim=-1)
        q, k = rotate(q, *turn), rotate(k, *turn)
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        y = F.scaled_dot_product_attention(q, k, v.to(q.dtype), is_causal=t > 1)
        return self.dense(y.transpose(1, 2).reshape(b, t, e))


class Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.dense_h_to_4h = nn.Linear(config.hidden_size, config.intermediate_size)
        self.dense_4h_to_h = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense_4h_to_h(F.gelu(self.dense_h_to_4h(x)))


class Layer(nn.Module):
    """Attention and MLP side by side on the same input."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = Attention(config)
        self.mlp = Mlp(config)
        self.dropout = config.dropout

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], cache: Cache | None, layer: int) -> Tensor:
        attended = self.attention(self.input_layernorm(x), turn, cache, layer)
        added = attended + self.mlp(self.post_attention_layernorm(x))
        return x + F.dropout(added, self.dropout, self.training)


class Trunk(nn.Module):
    """Embedding, layers, final norm."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.embed_in = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([Layer(config) for _ in range(config.num_hidden_layers)])
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)


class LanguageModel(nn.Module):
    """Tokens to next-token logits."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.config = config
        self.gpt_neox = Trunk(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def reset_weights(self) -> None:
        """Draw fresh weights: normal with spread 0.02, smaller where a residual is added."""
        for name, value in self.named_parameters():
            if value.dim() > 1:
                residual = name.endswith(("dense.weight", "dense_4h_to_h.weight"))
                nn.init.normal_(value, std=0.02 / (2 * self.config.num_hidden_layers) ** 0.5 if residual else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(value)

    def hidden(self, tokens_BT: Tensor, cache: Cache | None = None) -> Tensor:
        """Hidden states ``(B, T, E)`` of tokens int64 ``(B, T)``, [0, V); continues ``cache`` if given.

        With a cache, either it is empty or a single token a row is given.
        """
        start = 0 if cache is None else cache.filled
        turn = self._angles(start, tokens_BT.shape[1], tokens_BT.device)
        x = self.gpt_neox.embed_in(tokens_BT)
        for number, layer in enumerate(self.gpt_neox.layers):
            x = layer(x, turn, cache, number)
        if cache is not None:
            cache.filled += tokens_BT.shape[1]
        return self.gpt_neox.final_layer_norm(x)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits ``(B, T, V)``."""
        return self.lm_head(self.hidden(tokens_BT))

    def _angles(self, start: int, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Cosine and sine of the rotary angles, ``(T, R)`` each; R of the D dimensions turn."""
        config = self.config
        turned = int(config.hidden_size // config.num_attention_heads * config.rotary_pct)
        steps = torch.arange(0, turned, 2, device=device, dtype=torch.float32) / turned
        frequencies = config.rotary_emb_base**-steps
        angles = torch.arange(start, start + count, device=device, dtype=torch.float32)[:, None] * frequencies
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos(), angles.sin()


def rotate(x_BHTD: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Apply rotary positions (Su et al. 2021, arXiv 2104.09864) to the first R of D dimensions."""
    turned = cosine.shape[-1]
    a, rest = x_BHTD[..., :turned], x_BHTD[..., turned:]
    low, high = a.chunk(2, dim=-1)
    mixed = a * cosine.to(a.dtype) + torch.cat([-high, low], dim=-1) * sine.to(a.dtype)
    return torch.cat([mixed, rest], dim=-1)
