"""The judge: what it returns does not depend on how images are batched or ordered."""

from __future__ import annotations

import numpy as np
import torch

from medsynth_cli.recognition import judges
from medsynth_cli.runtime import bundles


def test_probabilities_do_not_depend_on_the_batch_or_the_order(small_bundle, chests):
    judge = judges.load(bundles.load(str(small_bundle)), torch.device("cpu"))
    found = judge.probabilities(chests[:5])
    assert found.shape == (5, len(judge.labels))
    assert found.dtype == np.float32
    assert (found > 0).all()
    assert (found < 1).all()
    assert np.ptp(found, axis=0).max() > 1e-4, "different images are told apart"
    np.testing.assert_allclose(judge.probabilities(chests[:5], batch_size=2), found, atol=1e-5)
    np.testing.assert_allclose(judge.probabilities(chests[:5][::-1])[::-1], found, atol=1e-5)


def test_probabilities_come_in_the_order_of_the_labels(small_bundle, chests):
    bundle = bundles.load(str(small_bundle))
    judge = judges.load(bundle, torch.device("cpu"))
    expected = judge.probabilities(chests[:2])[:, 3]
    with torch.no_grad():
        judge.model.classifier.bias[3] += 20
    raised = judge.probabilities(chests[:2])
    assert (raised[:, 3] > 0.99).all()
    assert (expected < 0.99).all()
    assert list(judge.labels) == bundle.config("judge")["labels"]


def test_label_matrix_takes_spaces_and_underscores_and_leaves_out_other_labels():
    names = ("Edema", "Pleural_Thickening")
    found = judges.label_matrix([["Pleural Thickening"], [], ["Edema", "Pleural_Thickening"], ["Other"]], names)
    np.testing.assert_array_equal(found, [[0, 1], [0, 0], [1, 1], [0, 0]])
