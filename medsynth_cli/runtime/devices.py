"""Devices: which there are, and which one a run uses."""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from medsynth_cli.errors import MedsynthError

if TYPE_CHECKING:
    import torch

PROBE_SECONDS = 10
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's ``mallopt``, numbered as in its ``malloc.h``."""


def resolve(name: str) -> torch.device:
    """The device of a name; on the CPU, memory is kept from then on (`keep_memory`).

    Args:
        name: ``auto`` (the first CUDA device, else Apple's GPU, else the CPU), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        MedsynthError: there is no such device; an explicit choice never falls back to another.
    """
    import torch

    there = available()
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if kind in there)
    if name not in there:
        raise MedsynthError(f"no device {name!r} here", f"there is: auto, {', '.join(there)}")
    device = torch.device(name)
    if device.type == "cpu":
        keep_memory()
    return device


def keep_memory() -> None:
    """Keep freed memory for the next layer instead of handing it back to the system.

    A network asks for the same large blocks again and again. glibc gives each back and fetches it anew, zeroed
    page by page, which can take longer than the arithmetic. Other C libraries are left as they are.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def precision(device: torch.device) -> torch.dtype:
    """What training computes in: bfloat16 where the device has instructions for it, else float32.

    Processors without them emulate bfloat16, hundreds of times slower than float32.
    """
    import torch

    native = device.type != "cpu" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32


def autocast(device: torch.device) -> torch.autocast:
    """Training in the device's `precision`."""
    import torch

    chosen = precision(device)
    return torch.autocast(device.type, chosen, enabled=chosen != torch.float32)


def release_memory() -> None:
    """Hand back to the system what `keep_memory` keeps: for after the last network, before other large work."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def available() -> list[str]:
    """Names of the devices that torch can use here."""
    import torch

    names = ["cpu"]
    if torch.cuda.is_available():
        names += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        names.append("mps")
    return names


def probe() -> list[str]:
    """Names of the devices that the machine seems to have, found without importing torch.

    Looks at NVIDIA's device files, and failing those at ``nvidia-smi``, and for Apple's chips. The installed
    torch may still be unable to use one of them.
    """
    names = ["cpu", *(f"cuda:{index}" for index in range(_nvidia_count()))]
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        names.append("mps")
    return names


def _nvidia_count() -> int:
    files = list(Path("/dev").glob("nvidia[0-9]*"))
    tool = shutil.which("nvidia-smi")
    if files or tool is None:
        return len(files)
    try:
        listing = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=PROBE_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in listing.splitlines())
