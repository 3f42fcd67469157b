"""What software made an output: package versions, without importing the packages."""

from __future__ import annotations

import platform
import re
from importlib import metadata

import medsynth_cli


def versions() -> dict[str, str | None]:
    """Versions of medsynth, Python and the packages that medsynth needs; None if one is not installed."""
    found: dict[str, str | None] = {"medsynth": medsynth_cli.__version__, "python": platform.python_version()}
    for name in sorted(_requirements()):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _requirements() -> set[str]:
    """Names of the required packages; those of extras are left out."""
    try:
        lines = metadata.requires("medsynth") or []
    except metadata.PackageNotFoundError:
        return set()
    names = (re.match(r"[A-Za-z0-9._-]+", line) for line in lines if "extra ==" not in line)
    return {name.group().lower() for name in names if name}
