"""Devices: the one that was asked for, or an error that lists those there are."""

from __future__ import annotations

import pytest
import torch

from medsynth_cli.errors import MedsynthError
from medsynth_cli.runtime import devices


def test_cpu_is_always_there() -> None:
    assert devices.resolve("cpu") == torch.device("cpu")
    assert "cpu" in devices.available()
    assert "cpu" in devices.probe()


def test_auto_takes_the_best() -> None:
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert devices.resolve("auto").type == best


@pytest.mark.parametrize("name", ["gpu", "", "cuda:99", "meta", "cpu:1"])
def test_no_fallback(name: str) -> None:
    with pytest.raises(MedsynthError) as caught:
        devices.resolve(name)
    assert caught.value.code == 2
    assert repr(name) in caught.value.message
    assert "cpu" in caught.value.hint


def test_every_available_device_works() -> None:
    for name in devices.available():
        assert float(torch.ones(3, device=devices.resolve(name)).sum()) == 3
