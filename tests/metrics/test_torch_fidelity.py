"""Kernel distances, precision and recall against torch-fidelity, on features of real radiographs.

Its KID is the mean over random subsets. One subset as large as the sets is the sets themselves, in another order,
and then both sides compute the same thing: the unbiased estimate of MMD² of the kernel (x·y / D + 1)³. Its
precision and recall take the paper's balls, which hold their own surface; ours do not. That differs where two
distances are equal, which does not happen between features of different images.
"""

from __future__ import annotations

import functools

import pytest
import torch
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from medsynth_cli.metrics import kernel, reference
from medsynth_cli.metrics.observers import ROUND_TRIP
from medsynth_cli.metrics.prdc import prdc
from medsynth_cli.runtime import bundles

EXTRACTOR = "effnet-lite2"


@pytest.fixture(scope="module")
def sets():
    """Features of training radiographs after the tokenizer, and of as many test radiographs."""
    bundle = bundles.load("cxr-mini")
    real = bundle.weights(reference.PREFIX + "nih-test")[EXTRACTOR].double().numpy()
    ours = bundle.weights(reference.PREFIX + "nih-train")[ROUND_TRIP + EXTRACTOR].double().numpy()
    return ours[: len(real)], real


def theirs(compute, a, b, **options):
    return compute(torch.from_numpy(a), torch.from_numpy(b), verbose=False, **options)


def kid(a, b, **options):
    return theirs(kid_features_to_metric, a, b, kid_subsets=1, kid_subset_size=len(a), **options)[KEY_METRIC_KID_MEAN]


def test_kid(sets):
    assert kernel.distance(*sets) == pytest.approx(kid(*sets), rel=1e-5)


def test_kid_of_parts_of_one_set(sets):
    one, other = sets[1][::2], sets[1][1::2]
    assert kernel.distance(one, other) == pytest.approx(kid(one, other), rel=1e-5)


def test_mmd(sets):
    width = kernel.median_width(sets[1])
    found = kernel.distance(*sets, functools.partial(kernel.gaussian, width=width))
    assert found == pytest.approx(kid(*sets, kid_kernel="rbf", kid_kernel_rbf_sigma=width), rel=1e-5)


@pytest.mark.parametrize("neighbours", [3, 5])
def test_precision_and_recall(sets, neighbours):
    ours, real = sets
    expected = theirs(prc_features_to_metric, ours, real[:300], prc_neighborhood=neighbours)
    found = prdc(ours, real[:300], neighbours)
    assert found.precision.mean() == pytest.approx(expected["precision"], rel=1e-5)
    assert found.recall.mean() == pytest.approx(expected["recall"], rel=1e-5)
    assert 0 < expected["recall"] < 1
