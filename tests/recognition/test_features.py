"""The bundled feature extractor."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medsynth_cli.recognition import features, trunks
from medsynth_cli.runtime import bundles


@pytest.fixture(scope="module")
def extractor(small_bundle):
    return features.load(bundles.load(str(small_bundle)), torch.device("cpu"))


def test_bundled_half_precision_gives_the_features_of_the_released_weights(extractor, chests):
    found = extractor(chests[:3])
    model = trunks.imagenet("lite2", num_classes=0).eval()
    with torch.inference_mode():
        expected = model(trunks.normalise(torch.from_numpy(chests[:3])[:, None].float() / 255)).numpy()
    assert extractor.name == "effnet-lite2"
    assert found.shape == expected.shape == (3, 1280)
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


def test_features_do_not_depend_on_the_batch_or_the_order(extractor, chests):
    found = extractor(chests[:5])
    np.testing.assert_allclose(extractor(chests[:5], batch_size=2), found, atol=1e-5)
    np.testing.assert_allclose(extractor(chests[:5][::-1])[::-1], found, atol=1e-5)
