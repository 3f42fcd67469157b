"""The one training loop: schedule, checkpoints, resumption, learning curves.

A run folder holds ``checkpoint.safetensors`` (the newest state), ``curves.csv`` and ``curves.png``.
A run that was interrupted goes on from its checkpoint and ends in the same state as one that was not,
because every random draw comes from `draws`, seeded by (seed, step).
"""

from __future__ import annotations

import contextlib
import csv
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files.tensors import load_tree, save_tree
from medsynth_cli.runtime.conversion import to_pixels
from medsynth_cli.runtime.progress import Progress

CHECKPOINT_SECONDS = 180.0

Model = TypeVar("Model", bound=nn.Module)


class Trainee(ABC, Generic[Model]):
    """What the loop trains.

    Attributes:
        model: the network.
        average: the running average of its weights.
        optimisers: what moves the weights.
        device: where it is trained.
    """

    model: Model
    average: Average
    optimisers: list[torch.optim.Optimizer]
    device: torch.device

    @abstractmethod
    def step(self, step: int) -> dict[str, float]:
        """Take one optimiser step; return its losses."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Measure quality on the validation data."""

    def state(self) -> dict[str, Any]:
        """Everything that resumption needs."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.weights,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self.model.load_state_dict(state["model"])
        self.average.restore(state["average"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)

    def _pixels(self, images: np.ndarray) -> Tensor:
        """Images uint8 ``(N, H, W)`` as pixels float32 ``(N, 1, H, W)``, [0, 1], on the device."""
        return to_pixels(images, self.device)


def run(trainee: Trainee[Any], folder: Path, *, steps: int, validate_every: int, resume: bool) -> None:
    """Train for ``steps`` steps, writing checkpoints and curves to ``folder``.

    Args:
        trainee: the model with its data.
        folder: created if missing; must be empty unless ``resume``.
        steps: total number of optimiser steps, those before a resumption included.
        validate_every: steps between two validations; each adds a row to ``curves.csv``.
        resume: go on from the checkpoint in ``folder`` if there is one.

    Raises:
        MedsynthError: ``folder`` holds a checkpoint and ``resume`` is false.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, curves = folder / "checkpoint.safetensors", Curves(folder)
    start = 0
    if checkpoint.exists():
        if not resume:
            raise MedsynthError(f"{folder}: holds a checkpoint", "--resume goes on from it; or name another folder")
        saved = load_tree(checkpoint)
        trainee.restore(saved["trainee"])
        start = saved["step"]
    curves.keep_until(start)

    def save(step: int) -> None:
        save_tree(checkpoint, {"step": step, "trainee": trainee.state()})

    saved_at = time.monotonic()
    averages: dict[str, float] = {}
    with Progress(f"training {folder.name}", steps, start) as progress:
        for step in range(start, steps):
            for name, value in trainee.step(step).items():
                averages[name] = value if name not in averages else 0.98 * averages[name] + 0.02 * value
            done = step + 1
            if done % validate_every == 0 or done == steps:
                measured = trainee.validate()
                curves.add(done, averages | measured)
                progress.note(" ".join(f"{k} {v:.4g}" for k, v in (averages | measured).items()))
            if time.monotonic() - saved_at > CHECKPOINT_SECONDS or done == steps:
                save(done)
                saved_at = time.monotonic()
            progress.advance()
    curves.plot()


def draws(seed: int, step: int) -> np.random.Generator:
    """The random draws of one step: the same whether or not the run was interrupted."""
    return np.random.default_rng([seed, step])


def batch_indices(count: int, size: int, seed: int, step: int) -> np.ndarray:
    """Indices of one batch, int64 ``(size,)``, [0, count): every epoch is a fresh permutation."""
    positions = np.arange(step * size, (step + 1) * size)
    epochs = positions // count
    orders = {epoch: np.random.default_rng([seed, 1, int(epoch)]).permutation(count) for epoch in np.unique(epochs)}
    return np.array([orders[epoch][position % count] for epoch, position in zip(epochs, positions, strict=True)])


def cosine(step: int, steps: int, peak: float, warmup: int, floor: float = 0.02) -> float:
    """Learning rate: linear warm-up to ``peak``, then half a cosine down to ``floor * peak``."""
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameter groups, times the group's own ``scale``."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)


class Average:
    """Exponential moving average of a module's weights; the bundle gets these."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move towards the current weights; early on the decay is shorter than the run so far."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in module.state_dict().items():
            own = self.weights[name]
            if own.is_floating_point():
                own.lerp_(value, 1 - decay)
            else:
                own.copy_(value)

    @contextlib.contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Inside the block ``module`` has the averaged weights, and is in evaluation mode."""
        own = {name: value.clone() for name, value in module.state_dict().items()}
        module.load_state_dict(self.weights)
        module.eval()
        try:
            yield
        finally:
            module.load_state_dict(own)

    def restore(self, weights: dict[str, Tensor]) -> None:
        """Take over saved weights."""
        for name, value in weights.items():
            self.weights[name].copy_(value)


class Curves:
    """Learning curves: ``curves.csv`` while training, ``curves.png`` at the end."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "curves.csv"
        self.rows: list[dict[str, float]] = []
        if self.path.exists():
            with self.path.open(newline="") as handle:
                self.rows = [_numbers(row) for row in csv.DictReader(handle)]

    def keep_until(self, step: int) -> None:
        """Forget rows after ``step``: a resumed run writes them again."""
        self.rows = [row for row in self.rows if row["step"] <= step]

    def add(self, step: int, values: dict[str, float]) -> None:
        """Add a row and rewrite the file."""
        self.rows.append({"step": step, **values})
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with self.path.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, names)
            writer.writeheader()
            writer.writerows(self.rows)

    def plot(self) -> None:
        """Draw every column against the step."""
        from matplotlib.figure import Figure

        names = [name for name in dict.fromkeys(n for row in self.rows for n in row) if name != "step"]
        if not names:
            return
        columns = 3
        lines = math.ceil(len(names) / columns)
        figure = Figure(figsize=(4 * columns, 2.5 * lines), layout="constrained")
        for axes, name in zip(figure.subplots(lines, columns, squeeze=False).flat, names, strict=False):
            points = [(row["step"], row[name]) for row in self.rows if name in row]
            axes.plot(*zip(*points, strict=True))
            axes.set_title(name)
        figure.savefig(self.path.with_suffix(".png"), dpi=100)


def _numbers(row: dict[str, str]) -> dict[str, float]:
    """A row of ``curves.csv``; steps stay whole numbers."""
    return {name: int(text) if name == "step" else float(text) for name, text in row.items() if text}
