"""Report providers: what writes a report from a term set. A new one is one file and one row in `PROVIDERS`."""

from __future__ import annotations

import dataclasses
import pkgutil
from pathlib import Path
from typing import Any, Protocol

from medsynth_cli.errors import MedsynthError
from medsynth_cli.runtime import options

PROVIDERS = {
    "template": "medsynth_cli.text.providers.template:Template",
    "openai": "medsynth_cli.text.providers.openai:OpenAI",
}
"""Name -> ``module:Class``."""


@dataclasses.dataclass(frozen=True)
class Draft:
    """A report as a provider wrote it; ``usage`` is what it cost, such as tokens, or None."""

    findings: str
    impression: str
    usage: dict[str, Any] | None = None


class ProviderError(Exception):
    """A provider could not write this one report; others may still work.

    Args:
        message: why.
        again: whether the same request may well succeed when repeated.
    """

    def __init__(self, message: str, again: bool = False) -> None:
        super().__init__(message)
        self.again = again


class Provider(Protocol):
    """Writes reports. Built as ``Class(folder, seed, Options(...))`` with a frozen dataclass ``Options``."""

    name: str
    model: str | None
    prompt_sha256: str | None
    attempts: int

    def write(self, record: dict[str, Any], attempt: int) -> Draft:
        """Write the report of a ``terms`` record.

        Args:
            record: the term set.
            attempt: 0 at first, one more each time the last draft was refused.

        Raises:
            ProviderError: no report of this record; the message says why.
        """
        ...


def load(name: str, folder: Path, seed: int = 0, **settings: str) -> Provider:
    """Build a provider.

    Args:
        name: a key of `PROVIDERS`.
        folder: folder of the modality, with its vocabulary, grammar and prompt.
        seed: seed of its draws.
        settings: fields of its ``Options``, as text.

    Raises:
        MedsynthError: unknown provider or setting, or a value of the wrong type.
    """
    if name not in PROVIDERS:
        raise MedsynthError(f"unknown provider {name!r}", f"known: {', '.join(PROVIDERS)}")
    provider_class = pkgutil.resolve_name(PROVIDERS[name])
    provider: Provider = provider_class(
        folder, seed, options.build(provider_class.Options, settings, f"provider {name}")
    )
    return provider
