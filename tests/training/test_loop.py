"""The training loop, with a small real model."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from medsynth_cli.errors import MedsynthError
from medsynth_cli.training import loop


class Line:
    """Fits y = 3 x0 - 2 x1 + 1 with noisy steps; ``stop_at`` is the step that Ctrl-C comes in."""

    def __init__(self, stop_at: int | None = None) -> None:
        torch.manual_seed(0)
        random = np.random.default_rng(7)
        self.x = torch.as_tensor(random.normal(size=(50, 2)), dtype=torch.float32)
        self.y = self.x @ torch.tensor([3.0, -2.0]) + 1
        self.model = nn.Linear(2, 1)
        self.optimiser = torch.optim.AdamW(self.model.parameters())
        self.average = loop.Average(self.model, 0.9)
        self.stop_at = stop_at

    def step(self, step: int) -> dict[str, float]:
        if step == self.stop_at:
            raise KeyboardInterrupt
        batch = loop.batch_indices(len(self.x), 8, 0, step)
        noise = torch.as_tensor(loop.draws(0, step).normal(size=8) * 0.01, dtype=torch.float32)
        loss = ((self.model(self.x[batch])[:, 0] + noise - self.y[batch]) ** 2).mean()
        loop.set_rate(self.optimiser, loop.cosine(step, 60, 0.2, 5))
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.average.update(self.model, step)
        return {"loss": loss.item()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        return {"val_error": float((self.model(self.x)[:, 0] - self.y).abs().mean())}

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "average": self.average.weights,
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.average.restore(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])


def train(line: Line, folder: Path, resume: bool = False) -> Line:
    loop.run(line, folder, steps=60, validate_every=20, resume=resume)
    return line


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "curves.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_it_learns_and_writes_curves(tmp_path: Path) -> None:
    train(Line(), tmp_path)
    found = rows(tmp_path)
    assert [float(row["step"]) for row in found] == [20, 40, 60]
    assert float(found[-1]["val_error"]) < 0.2 < float(found[0]["val_error"])
    assert all(row["loss"] for row in found)
    with Image.open(tmp_path / "curves.png") as drawn:
        assert len(drawn.convert("L").getcolors() or [0] * 300) > 10


@pytest.mark.parametrize("stop_at", [1, 30, 40, 59])
def test_an_interrupted_run_ends_in_the_same_weights(
    stop_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    whole = train(Line(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(Line(stop_at), tmp_path / "part")
    resumed = train(Line(), tmp_path / "part", resume=True)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])
        assert torch.equal(whole.average.weights[name], resumed.average.weights[name])
    assert [row["val_error"] for row in rows(tmp_path / "part")] == [
        row["val_error"] for row in rows(tmp_path / "whole")
    ]


def test_a_checkpoint_is_not_overwritten_by_accident(tmp_path: Path) -> None:
    train(Line(), tmp_path)
    with pytest.raises(MedsynthError, match="holds a checkpoint"):
        train(Line(), tmp_path)


def test_every_epoch_is_a_permutation() -> None:
    drawn = np.concatenate([loop.batch_indices(10, 4, seed=3, step=step) for step in range(5)])
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))
    assert list(drawn[:10]) != list(drawn[10:])


def test_cosine_warms_up_and_comes_down() -> None:
    rates = [loop.cosine(step, 100, 2.0, 10, 0.1) for step in range(101)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[10] == pytest.approx(2.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0.2)
