"""The language model that writes image codes: GPT-NeoX (Black et al. 2022, arXiv 2204.06745).

Same weight names and arithmetic as `transformers.GPTNeoXForCausalLM`; a test compares the two. It is
written out here because importing transformers takes longer than making an image. `decoder.Decoder` is the
same function for writing codes one by one.

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
    hidden_size: int = 256
    num_hidden_layers: int = 6
    num_attention_heads: int = 4
    intermediate_size: int = 1024
    rotary_pct: float = 0.5
    rotary_emb_base: float = 10000.0
    layer_norm_eps: float = 1e-5
    dropout: float = 0.0

    @property
    def turned(self) -> int:
        """How many dimensions of a head rotary positions turn."""
        return int(self.hidden_size // self.num_attention_heads * self.rotary_pct)

    def angles(self, length: int, device: torch.device | None = None) -> Tensor:
        """Rotary angles of the first ``length`` positions: float32 ``(length, turned / 2)``."""
        steps = torch.arange(0, self.turned, 2, device=device, dtype=torch.float32) / self.turned
        return torch.arange(length, device=device, dtype=torch.float32)[:, None] * self.rotary_emb_base**-steps


class Attention(nn.Module):
    """Causal self-attention with rotary positions on a part of each head."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x_BTE: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        b, t, e = x_BTE.shape
        packed = self.query_key_value(x_BTE).view(b, t, self.heads, -1).transpose(1, 2)
        q, k, v = packed.chunk(3, dim=-1)
        q, k = rotate(q, *turn), rotate(k, *turn)
        y = F.scaled_dot_product_attention(q, k, v.to(q.dtype), is_causal=True)
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

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        attended = self.attention(self.input_layernorm(x), turn)
        added = attended + self.mlp(self.post_attention_layernorm(x))
        return x + F.dropout(added, self.dropout, self.training)


class Trunk(nn.Module):
    """Embedding, layers, final norm."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        self.embed_in = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
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

    def hidden(self, tokens_BT: Tensor) -> Tensor:
        """Hidden states ``(B, T, E)`` of tokens int64 ``(B, T)``, [0, V)."""
        angles = self.config.angles(tokens_BT.shape[1], tokens_BT.device)
        angles = torch.cat([angles, angles], dim=-1)
        turn = angles.cos(), angles.sin()
        x = self.gpt_neox.embed_in(tokens_BT)
        for layer in self.gpt_neox.layers:
            x = layer(x, turn)
        return self.gpt_neox.final_layer_norm(x)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits ``(B, T, V)``."""
        return self.lm_head(self.hidden(tokens_BT))


def rotate(x_BHTD: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Apply rotary positions (Su et al. 2021, arXiv 2104.09864) to the first R of D dimensions."""
    turned = cosine.shape[-1]
    a, rest = x_BHTD[..., :turned], x_BHTD[..., turned:]
    low, high = a.chunk(2, dim=-1)
    mixed = a * cosine.to(a.dtype) + torch.cat([-high, low], dim=-1) * sine.to(a.dtype)
    return torch.cat([mixed, rest], dim=-1)
