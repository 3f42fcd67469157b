"""Muon against torch's own, and against the singular value decomposition."""

from __future__ import annotations

import pytest
import torch

from medsynth_cli.training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (16, 16)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 1e-3
    found = orthogonal(matrix)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.3
    assert values.max() < 1.3
    assert torch.nn.functional.cosine_similarity(found.flatten(), (u @ v).flatten(), dim=0) > 0.97


def test_steps_are_those_of_torch() -> None:
    random = torch.Generator().manual_seed(1)
    start, gradients = torch.randn(24, 10, generator=random), torch.randn(4, 24, 10, generator=random)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    optimisers = [
        Muon([ours], lr=1e-2, weight_decay=0.1),
        torch.optim.Muon([theirs], lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    ]
    for gradient in gradients:
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        for optimiser in optimisers:
            optimiser.step()
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() < 0.02 * moved  # torch's computes in bfloat16


def test_kernels_are_matrices_of_one_row_an_output() -> None:
    random = torch.Generator().manual_seed(2)
    start, gradient = torch.randn(6, 3, 3, 3, generator=random), torch.randn(6, 3, 3, 3, generator=random)
    kernel, matrix = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.flatten(1).clone())
    kernel.grad, matrix.grad = gradient, gradient.flatten(1)
    Muon([kernel]).step()
    Muon([matrix]).step()
    torch.testing.assert_close(kernel.flatten(1), matrix, rtol=0, atol=0)
    assert not torch.equal(kernel, start)
