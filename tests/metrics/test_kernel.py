"""The kernel distance against a formula written out here."""

from __future__ import annotations

import numpy as np
import pytest

from medsynth_cli.metrics import kernel


def reference(a, b):
    """Unbiased MMD² with (x·y / D + 1)³, pair by pair; Binkowski et al. 2018, eq. 4."""
    k = lambda x, y: (float(x @ y) / len(x) + 1) ** 3  # noqa: E731
    within = [np.mean([k(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j]) for s in (a, b)]
    return sum(within) - 2 * np.mean([k(x, y) for x in a for y in b])


@pytest.fixture
def sets():
    random = np.random.default_rng(0)
    return random.normal(size=(12, 8)), random.normal(size=(12, 8)) + 0.5


def test_it_is_the_unbiased_estimate(sets):
    assert kernel.distance(*sets) == pytest.approx(reference(*sets), rel=1e-9)


def test_equal_distributions_are_near_zero_and_others_are_not():
    random = np.random.default_rng(1)
    a, b = random.normal(size=(300, 16)), random.normal(size=(300, 16))
    assert abs(kernel.distance(a, b)) < 0.02
    assert kernel.distance(a, b + 1) > 1


def test_it_is_symmetric_and_does_not_depend_on_the_order(sets):
    a, b = sets
    assert kernel.distance(a, b) == pytest.approx(kernel.distance(b, a), rel=1e-9)
    assert kernel.distance(a[::-1], b) == pytest.approx(kernel.distance(a, b), rel=1e-9)


def test_the_seed_decides_the_subsets_and_the_global_generator_is_left_alone():
    random = np.random.default_rng(2)
    a, b = random.normal(size=(50, 4)), random.normal(size=(20, 4))
    np.random.seed(3)
    first = kernel.distance(a, b, subsets=3, seed=1)
    after = np.random.random()
    np.random.seed(3)
    assert after == np.random.random()
    assert kernel.distance(a, b, subsets=3, seed=1) == first
    assert kernel.distance(a, b, subsets=3, seed=2) != first
