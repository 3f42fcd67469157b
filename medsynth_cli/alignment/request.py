"""What codebook is asked for, and the settings by which two builds are parts of the same one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsynth_cli.alignment import aligner
from medsynth_cli.alignment.quality import Rules
from medsynth_cli.alignment.windows import PATCH
from medsynth_cli.errors import MedsynthError
from medsynth_cli.tokens import tokenizer

if TYPE_CHECKING:
    import torch

    from medsynth_cli.alignment.words import Word
    from medsynth_cli.runtime.bundles import Bundle


@dataclass(frozen=True)
class Request:
    """What to build.

    Attributes:
        data: what `datasets.read` takes.
        shard: number of the shard, from 1, and of all shards; None builds the codebook at once.
        rules: what an entry may hold.
        markers: whether windows with markers and text may be taken.
        anatomy: whether the words of anatomy have entries.
        excluded: patients whose images are left out.
        batch_size: images that are scored at a time, at most; no effect on the result.
    """

    data: tuple[Path, ...]
    shard: tuple[int, int] | None = None
    rules: Rules = field(default_factory=Rules)
    markers: bool = False
    anatomy: bool = False
    excluded: frozenset[str] = frozenset()
    batch_size: int = 1024


def settings_of(request: Request, bundle: Bundle, words: Sequence[Word], device: torch.device) -> dict[str, Any]:
    """Everything but the images that shapes a codebook; JSON values. Results are promised per kind of device."""
    shape = tokenizer.config(bundle.config(tokenizer.PART))
    excluded, phrases = sorted(request.excluded), [word.phrase for word in words]
    return asdict(request.rules) | {
        "markers": request.markers,
        "excluded_sha256": _sha256(excluded) if excluded else None,
        "words": [[word.term, word.side] for word in words],
        "phrases_sha256": _sha256(phrases),
        "patch": PATCH,
        "size_px": shape.resolution_px,
        "aligner_sha256": bundle.part_sha256(aligner.PART),
        "tokenizer_sha256": bundle.tokenizer_sha256,
        "device": device.type,
    }


def rules_of(settings: Mapping[str, Any]) -> Rules:
    """The rules in settings."""
    return Rules(settings["k1"], settings["per_patient"], settings["min_patients"])


def refuse_other(found: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    """Refuse what was built with other settings than these.

    Raises:
        MedsynthError: names the first that differs.
    """
    for name, value in wanted.items():
        if found.get(name) != value:
            shown = [f": {found.get(name)!r} there, {value!r} here"] if not isinstance(value, list) else [""]
            raise MedsynthError(
                f"{path}: built with another {name.removesuffix('_sha256')}{shown[0]}",
                "repeat its options, or --overwrite begins again",
            )


def _sha256(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()
