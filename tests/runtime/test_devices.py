"""Devices: the one that was asked for, or an error that lists those there are."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

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


FAULTS = """
import resource, sys, torch
from medsynth_cli.runtime import devices
device = devices.resolve("cpu") if sys.argv[1] == "resolved" else torch.device("cpu")
def block():
    torch.ones(64 << 20, dtype=torch.uint8, device=device)
for _ in range(20):
    block()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    block()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_blocks_are_used_again_on_the_cpu() -> None:
    def faults(device: str) -> int:
        argv = [sys.executable, "-c", FAULTS, device]
        return int(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)

    assert faults("resolved") < 1000 < faults("plain")


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="reads the processor's instructions from Linux")
def test_training_computes_in_the_precision_that_it_names() -> None:
    device = torch.device("cpu")
    native = {"avx512_bf16", "amx_bf16"} & set(Path("/proc/cpuinfo").read_text().split())
    assert devices.precision(device) == (torch.bfloat16 if native else torch.float32)
    with devices.autocast(device):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == devices.precision(device)
