"""The language model, arranged for writing one code after another.

Same function as `language_model.LanguageModel`, in fewer and larger operations, because at one token a
row the time goes into their number and into reading weights: both layer norms of a layer share one
normalisation (their scales and shifts are folded into the weights that follow), queries, keys, values and
the MLP's first half come from one product, attention's output and the MLP's second half leave by one, and
rotary positions are one multiplication of complex numbers.

Shapes: B batch, T tokens, H heads, D dimensions of a head, E hidden size, V vocabulary, K image codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from medsynth_cli.tokens.language_model import LanguageModel, LanguageModelConfig, Layer


@dataclass
class Cache:
    """Keys and values of all tokens so far.

    Attributes:
        layers: of each layer, keys and values ``(2, B, H, T, D)``, filled from the left.
        filled: number of tokens so far.
    """

    layers: list[Tensor]
    filled: int = 0


class Decoder:
    """Tokens to the logits of the next image code.

    Args:
        model: trained weights; they are copied.
        codes: K; the first K tokens of the vocabulary are image codes.
        length: most tokens of a sequence.
    """

    def __init__(self, model: LanguageModel, codes: int, length: int) -> None:
        self.config = model.config
        self.device = model.lm_head.weight.device
        self._length = length
        self._embeddings = model.gpt_neox.embed_in.weight.detach()
        self._layers = [_fused(cast("Layer", layer), model.config) for layer in model.gpt_neox.layers]
        last = model.gpt_neox.final_layer_norm
        head = model.lm_head.weight[:codes]
        self._head = product(head * last.weight, head @ last.bias)
        self._turns = _turns(model.config, length).to(self.device)

    def begin(self, prefixes_BT: Tensor, against_BT: Tensor | None = None, alike: int = 0) -> tuple[Tensor, Cache]:
        """Logits of the first code of each sequence, and the cache for those that follow.

        Args:
            prefixes_BT: int64, [0, V).
            against_BT: B more sequences, whose first ``alike`` tokens are the same in all rows and read once.
            alike: [1, T) if ``against_BT`` is given.

        Returns:
            ``(B, K)``, or ``(2 B, K)`` with those of ``against_BT`` last; a cache of as many rows.
        """
        rows = len(prefixes_BT)
        if against_BT is None:
            cache = self.cache(rows)
            return self.logits(prefixes_BT, cache), cache
        cache = self.cache(2 * rows)
        asked = Cache([stored[:, :rows] for stored in cache.layers])
        against = Cache([stored[:, rows:] for stored in cache.layers])
        first = Cache([stored[:, :1] for stored in against.layers])
        logits = self.logits(prefixes_BT, asked)
        self.logits(against_BT[:1, :alike], first)
        for stored in against.layers:
            stored[:, 1:, :, :alike] = stored[:, :1, :, :alike]
        against.filled = alike
        for token in against_BT[:, alike:].split(1, dim=1):
            unasked = self.logits(token, against)
        cache.filled = asked.filled
        return torch.cat([logits, unasked]), cache

    def cache(self, rows: int) -> Cache:
        """An empty cache for ``rows`` sequences."""
        config = self.config
        heads, size = config.num_attention_heads, config.hidden_size // config.num_attention_heads
        shape = (2, rows, heads, self._length, size)
        return Cache([torch.zeros(shape, device=self.device) for _ in self._layers])

    def logits(self, tokens_BT: Tensor, cache: Cache) -> Tensor:
        """Logits ``(B, K)`` of the code after ``tokens_BT``, int64, [0, V); they go on from ``cache``.

        Either the cache is empty, or T is 1.
        """
        b, t = tokens_BT.shape
        turns = self._turns[cache.filled : cache.filled + t]
        x = self._embeddings[tokens_BT].flatten(0, 1)
        for (enter, leave), stored in zip(self._layers, cache.layers, strict=True):
            x = x + leave(self._mixed(enter(self._normal(x)), stored, turns, b, cache.filled))
        cache.filled += t
        return self._head(self._normal(x.view(b, t, -1)[:, -1]))

    def _normal(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, (self.config.hidden_size,), eps=self.config.layer_norm_eps)

    def _mixed(self, packed: Tensor, stored: Tensor, turns: Tensor, rows: int, start: int) -> Tensor:
        """What attention fetches beside the MLP's inner values: ``(B T, 3 E + M)`` -> ``(B T, E + M)``."""
        config = self.config
        heads, width = config.num_attention_heads, config.hidden_size
        end = start + len(turns)
        pairs = packed[:, : 3 * width].view(rows, len(turns), 3 * heads, -1, 2)
        turned = torch.view_as_real(torch.view_as_complex(pairs) * turns).view(rows, len(turns), 3, heads, -1)
        turned = turned.permute(2, 0, 3, 1, 4)
        stored[:, :, :, start:end] = turned[1:]
        k, v = stored[:, :, :, :end]
        fetched = F.scaled_dot_product_attention(turned[0], k, v, is_causal=len(turns) > 1)
        return torch.cat([fetched.transpose(1, 2).reshape(-1, width), F.gelu(packed[:, 3 * width :])], dim=1)


def product(weight: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
    """``x -> x @ weight.T + bias`` for ``x (N, in)``.

    On CPUs with weights packed for oneDNN where PyTorch has it: half the time of its usual product of few rows.
    """
    weight, bias = weight.detach().contiguous(), bias.detach().contiguous()
    if weight.device.type == "cpu" and torch.backends.mkldnn.is_available():
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, 32)
        return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    return lambda x: F.linear(x, weight, bias)


def _fused(layer: Layer, config: LanguageModelConfig) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """The two products of a layer: into queries, keys, values and MLP, and out of attention and MLP."""
    order = _order(config)
    qkv, into = layer.attention.query_key_value, layer.mlp.dense_h_to_4h
    parts = [
        _after_norm(qkv.weight[order], qkv.bias[order], layer.input_layernorm),
        _after_norm(into.weight, into.bias, layer.post_attention_layernorm),
    ]
    enter = product(torch.cat([weight for weight, _ in parts]), torch.cat([bias for _, bias in parts]))
    out, back = layer.attention.dense, layer.mlp.dense_4h_to_h
    return enter, product(torch.cat([out.weight, back.weight], dim=1), out.bias + back.bias)


def _after_norm(weight: Tensor, bias: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """Weight and bias that do to normalised values what the given ones do after scale and shift."""
    return weight * norm.weight, bias + weight @ norm.bias


def _order(config: LanguageModelConfig) -> Tensor:
    """Rows of the packed query-key-value weight as: all queries, all keys, all values, heads in order.

    In queries and keys, the two halves of the turned dimensions are interleaved, so that a pair that turns
    together is one complex number.
    """
    heads, size = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    rows = torch.arange(3 * config.hidden_size).view(heads, 3, size)
    turned = config.turned
    pairs = torch.arange(turned).view(2, -1).T.flatten()
    inner = torch.cat([pairs, torch.arange(turned, size)])
    return torch.cat([rows[:, 0, inner].flatten(), rows[:, 1, inner].flatten(), rows[:, 2].flatten()])


def _turns(config: LanguageModelConfig, length: int) -> Tensor:
    """Complex factors ``(length, 3 H, D / 2)`` of queries, keys and values; 1 where nothing turns."""
    heads, size = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    angles = torch.zeros(length, 3, heads, size // 2)
    angles[:, :2, :, : config.turned // 2] = config.angles(length)[:, None, None]
    return torch.polar(torch.ones_like(angles), angles).flatten(1, 2)
