"""Merging the pools of shards: the codebook that one pass over all images would have given, byte for byte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsynth_cli.alignment import assembly, pool
from medsynth_cli.alignment.pool import POOL
from medsynth_cli.alignment.request import refuse_other, rules_of
from medsynth_cli.errors import MedsynthError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medsynth_cli.alignment.codebook import Codebook
    from medsynth_cli.alignment.pool import Pool


def merge(paths: Sequence[Path]) -> Codebook:
    """The codebook of shards; of several data sets, if all shards of each are there.

    Args:
        paths: folders that builds of shards wrote, or the pools in them.

    Raises:
        MedsynthError: the shards were built with different settings, or one is missing or named twice.
    """
    abouts = list[dict[str, Any]]()

    def opened() -> Iterator[tuple[Pool, dict[int, NDArray[np.uint16]]]]:
        for path in paths:
            file = path / POOL if path.is_dir() else path
            candidates, about, codes = pool.load(file)
            if "counts" not in about:
                raise MedsynthError(f"{file}: an unfinished build", "finish it with --resume")
            abouts.append(about)
            refuse_other(about["settings"], abouts[0]["settings"], file)
            yield candidates, codes

    whole, codes = pool.merged(opened())
    _check_shards([(about["shard"][0], about["shard"][1], about["chain"]) for about in abouts])
    settings = abouts[0]["settings"]
    rules = rules_of(settings)
    counts = {name: sum(about["counts"][name] for about in abouts) for name in abouts[0]["counts"]}
    named = [(term, side) for term, side in settings["words"]]
    return assembly.assemble(named, assembly.chosen(whole, rules), rules, codes, settings, counts)


def _check_shards(shards: Sequence[tuple[int, int, str]]) -> None:
    """Refuse a shard of the same images twice, and shards of which some are missing."""
    twice = [f"{which}/{of}" for (which, of, _), count in Counter(shards).items() if count > 1]
    if twice:
        raise MedsynthError(f"shard {', '.join(twice)} is named twice", "name each folder once")
    for of in sorted({of for _, of, _ in shards}):
        found = Counter(which for which, n, _ in shards if n == of)
        sets = max(found.values())
        missing = [f"{which}/{of}" for which in range(1, of + 1) if found[which] < sets]
        if missing:
            raise MedsynthError(
                f"{len(missing)} of {of} shards missing: {', '.join(missing)}", "build them and name their folders"
            )
