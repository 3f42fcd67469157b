"""The kernel distances against formulas written out here."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from medsynth_cli.metrics import kernel


def reference(a, b, k):
    """Unbiased MMD², pair by pair; Gretton et al. 2012, eq. 3."""
    within = [np.mean([k(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j]) for s in (a, b)]
    return sum(within) - 2 * np.mean([k(x, y) for x in a for y in b])


@pytest.fixture
def sets():
    random = np.random.default_rng(0)
    return random.normal(size=(12, 8)), random.normal(size=(9, 8)) + 0.5


def test_kid_is_the_unbiased_estimate(sets):
    assert kernel.distance(*sets) == pytest.approx(reference(*sets, lambda x, y: (x @ y / 8 + 1) ** 3), rel=1e-9)


def test_so_is_the_gaussian_one(sets):
    found = kernel.distance(*sets, functools.partial(kernel.gaussian, width=2.0))
    assert found == pytest.approx(reference(*sets, lambda x, y: np.exp(-((x - y) ** 2).sum() / 8)), rel=1e-9)


def test_blocks_estimate_the_same():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(700, 8)), random.normal(size=(500, 8)) + 0.5
    whole, parts = kernel.compare(a, b), kernel.compare(a, b, block=100)
    assert parts.distance == pytest.approx(whole.distance, rel=0.02)
    assert parts.distance != whole.distance


def test_equal_distributions_are_near_zero_and_a_shift_is_not():
    random = np.random.default_rng(1)
    a, b = random.normal(size=(200, 8)), random.normal(size=(200, 8))
    assert abs(kernel.distance(a, b)) < 0.02
    assert kernel.distance(a, b + 1) > 1


def test_it_is_symmetric_and_does_not_depend_on_the_order(sets):
    a, b = sets
    assert kernel.distance(a, b) == pytest.approx(kernel.distance(b, a), rel=1e-9)
    assert kernel.distance(a[::-1], b) == pytest.approx(kernel.distance(a, b), rel=1e-9)


def test_the_interval_is_as_wide_as_repetitions_spread():
    """Standard deviation over fresh samples against a quarter of the interval's width."""
    values, widths = [], []
    for seed in range(60):
        random = np.random.default_rng(seed)
        a, b = random.normal(size=(100, 8)), random.normal(size=(100, 8)) * 1.2 + 0.3
        found = kernel.compare(a, b)
        low, high = found.interval((np.arange(100), np.arange(100)), seed)
        values.append(found.distance)
        widths.append(high - low)
    assert np.mean(widths) / 3.92 == pytest.approx(np.std(values, ddof=1), rel=0.25)


def test_images_of_one_patient_are_drawn_together():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(40, 8)), random.normal(size=(40, 8)) + 0.5
    alone = kernel.compare(a, b).interval((np.arange(40), np.arange(40)))
    many = kernel.compare(np.repeat(a, 20, axis=0), np.repeat(b, 20, axis=0))
    grouped = many.interval((np.repeat(np.arange(40), 20),) * 2)
    ignored = many.interval((np.arange(800),) * 2)
    assert grouped[1] - grouped[0] == pytest.approx(alone[1] - alone[0], rel=0.3)
    assert ignored[1] - ignored[0] < 0.5 * (grouped[1] - grouped[0])


def embeddings(count, seed, shift=0.0):
    found = np.random.default_rng(seed).normal(size=(count, 24)) + shift
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def test_cmmd_is_the_published_figure():
    """The formula of `cmmd/distance.py`, written out in torch, and from scipy's distances."""
    import torch
    from scipy.spatial.distance import cdist

    ours, real = embeddings(40, 0, 0.3), embeddings(30, 1)
    x, y = torch.from_numpy(ours).double(), torch.from_numpy(real).double()
    terms = [torch.exp(-(torch.cdist(a, b) ** 2) / (2 * 10**2)).mean() for a, b in ((x, x), (y, y), (x, y))]
    found = kernel.cmmd(ours, real)
    assert found == pytest.approx(1000 * float(terms[0] + terms[1] - 2 * terms[2]), abs=1e-6)
    pairs = ((ours, ours, 1), (real, real, 1), (ours, real, -2))
    theirs = sum(sign * np.exp(-cdist(a, b, "sqeuclidean") / 200).mean() for a, b, sign in pairs)
    assert found == pytest.approx(1000 * theirs, abs=1e-6)
    assert kernel.cmmd(ours, ours) == pytest.approx(0, abs=1e-9)


def test_cmmd_pairs_all_images_however_many(monkeypatch):
    ours, real = embeddings(40, 0, 0.3), embeddings(30, 1)
    whole = kernel.cmmd(ours, real)
    monkeypatch.setattr(kernel, "BLOCK", 7)
    assert kernel.cmmd(ours, real) == pytest.approx(whole, abs=1e-9)
