"""Training of the judge: it learns, resumes where it was, and exports what a bundle loads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medsynth_cli.files.tensors import load_tree, save_tree
from medsynth_cli.recognition import judges
from medsynth_cli.runtime import bundles
from medsynth_cli.training.judge import JudgeOptions, JudgeTrainee, positive_weights

OPTIONS = JudgeOptions(steps=6, batch_size=4, size_px=64, warmup=2, learning_rate=3e-3, average_decay=0.5)


@pytest.fixture(scope="module")
def data():
    """Dark and bright noise, and which is which."""
    random = np.random.default_rng(0)
    bright = np.arange(16) % 2
    images = random.integers(0, 100, (16, 96, 96)) + 150 * bright[:, None, None]
    labels = np.stack([bright, 1 - bright], axis=1).astype(np.float32)
    return images.astype(np.uint8), labels


def trainee(data):
    return JudgeTrainee(*data, *data, ("bright", "dark"), OPTIONS, torch.device("cpu"))


def test_it_learns_resumes_and_exports(data, tmp_path):
    first = trainee(data)
    for step in range(5):
        first.step(step)
    assert first.validate()["val_auroc"] > 0.9

    second = trainee(data)
    save_tree(tmp_path / "checkpoint.safetensors", first.state())
    second.restore(load_tree(tmp_path / "checkpoint.safetensors"))
    first.step(5)
    second.step(5)
    for name, value in first.export()[0].items():
        torch.testing.assert_close(second.export()[0][name], value, msg=name)

    weights, config = first.export()
    bundle = bundles.create(tmp_path / "b", "b", "chest_xray")
    bundles.write_part(bundle, judges.PART, weights, config, half=False)
    judge = judges.load(bundles.load(str(tmp_path / "b")), torch.device("cpu"))
    found = judge.probabilities(data[0])
    assert judge.labels == ("bright", "dark")
    first.model.load_state_dict(first.average.weights)
    trained = judges.Judge(first.model.eval(), judge.labels, OPTIONS.size_px, torch.device("cpu"))
    np.testing.assert_allclose(found, trained.probabilities(data[0]), rtol=1e-4, atol=1e-5)


def test_positives_weigh_by_how_rare_they_are():
    truth = torch.tensor([[1.0, 1.0, 0.0, 1.0]] + [[0.0, 0.0, 0.0, 1.0]] * 9)
    truth[:5, 1] = 1
    found = positive_weights(truth, power=0.5, most=2.5)
    torch.testing.assert_close(found, torch.tensor([2.5, 1.0, 2.5, 1.0]))
