"""Muon: momentum whose update has all its singular values near one (Jordan et al. 2024,
https://kellerjordan.github.io/posts/muon/).

`torch.optim.Muon` computes in bfloat16 always, which processors without instructions for it emulate, hundreds
of times slower than float32, and takes matrices alone. This one computes where it is told to and takes the
kernels of convolutions too, as matrices of one row an output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

ROUNDS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton-Schulz iteration; they bring singular values to 0.7-1.2 in five rounds."""
SPREAD = 0.2
"""Root mean square of AdamW's updates, which ours are scaled to (Liu et al. 2025, arXiv 2502.16982)."""


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; decoupled weight decay.

    Args:
        params: parameters of two or more dimensions, or groups of them.
        lr: learning rate, of the size that AdamW takes.
        momentum: of the running mean of gradients.
        weight_decay: share of the weights that a step takes off, times ``lr``.
        precision: type that the iteration computes in.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.precision = precision

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step along the gradients; ``closure`` is not used."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad, group)

    def _move(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        mean = state["momentum"].lerp_(gradient, 1 - group["momentum"])
        update = orthogonal(gradient.lerp(mean, group["momentum"]).flatten(1), self.precision)
        scale = SPREAD * max(update.shape) ** 0.5
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(update.view(weight.shape), alpha=-group["lr"] * scale)


def orthogonal(matrix: Tensor, precision: torch.dtype = torch.float32) -> Tensor:
    """The matrix ``(M, N)`` with its singular vectors and with singular values near one."""
    a, b, c = COEFFICIENTS
    x = matrix.to(precision)
    wide = x if x.shape[0] <= x.shape[1] else x.T
    wide = wide / wide.norm().clamp_min(1e-7)
    for _ in range(ROUNDS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return (wide if x.shape[0] <= x.shape[1] else wide.T).to(matrix.dtype)
