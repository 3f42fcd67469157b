"""What a score is written to: JSON, HTML, JUnit XML, a file of gates, and words for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import atomic, records
from medsynth_cli.metrics import gates, junit, writeup

if TYPE_CHECKING:
    from medsynth_cli.files.records import Record
    from medsynth_cli.metrics.comparison import Comparison
    from medsynth_cli.metrics.page import Pair, Picture

PAPER = {".md": writeup.markdown, ".tex": writeup.latex}
MOST_PICTURES, MOST_PAIRS = 5000, 12


def check_paper(path: Path | None) -> None:
    """Refuse a file whose suffix says no known format, before any work."""
    if path is not None and path.suffix not in PAPER:
        raise MedsynthError(f"{path}: no format for a paper", f"name a file that ends in {' or '.join(PAPER)}")


def as_json(score: Record, path: Path) -> None:
    """The score itself, on one line."""
    atomic.write_text(path, records.dumps(score) + "\n")


def as_gates(score: Record, path: Path) -> None:
    """A commented file of gates that this score keeps."""
    atomic.write_text(path, gates.start_file(score))


def as_junit(score: Record, path: Path) -> None:
    """Gates and alarms as JUnit XML."""
    atomic.write_text(path, junit.render(score))


def as_paper(score: Record, path: Path) -> None:
    """A paragraph of methods and a table, in the format of the suffix."""
    atomic.write_text(path, f"{writeup.methods(score)}\n\n{PAPER[path.suffix](score)}\n")


def as_html(score: Record, comparison: Comparison, path: Path) -> None:
    """The report to read, with the synthetic images by what was asked for."""
    from medsynth_cli.metrics import page

    atomic.write_text(path, page.render(score, _sheets(comparison), _pairs(score, comparison)))


def _sheets(comparison: Comparison) -> dict[str, list[Picture]]:
    """Synthetic images by finding, those without any last, and those that say nothing of it apart."""
    from medsynth_cli.metrics.page import Picture

    index, wanted = comparison.requested
    asked = {int(image): row for image, row in zip(index, wanted, strict=True)}
    found: dict[str, list[Picture]] = {label: [] for label in (*comparison.labels, "no finding", "not stated")}
    synthetic = comparison.synthetic
    for image in range(min(len(synthetic), MOST_PICTURES)):
        row = asked.get(image)
        named = [label for label, there in zip(comparison.labels, row, strict=True) if there] if row is not None else []
        heading = named[0] if named else "not stated" if row is None else "no finding"
        caption = ", ".join([str(synthetic.meta[image]["id"]), *named[1:]])
        found[heading].append(Picture(synthetic.pixels(image), caption))
    return {heading: pictures for heading, pictures in found.items() if pictures}


def _pairs(score: Record, comparison: Comparison) -> list[Pair]:
    """The synthetic images nearest to a training image, beside it."""
    from medsynth_cli.metrics import memory
    from medsynth_cli.metrics.page import Pair, Picture

    closest = (score["metrics"].get("copies") or {}).get("pairs") or []
    if not closest:
        return []
    synthetic, remembered = comparison.synthetic, memory.of(comparison.train, comparison.observers)
    ours = {str(meta["id"]): index for index, meta in enumerate(synthetic.meta)}
    training = {name: index for index, name in enumerate(remembered.ids)}
    found = []
    for pair in closest[:MOST_PAIRS]:
        pixels = synthetic.pixels(ours[pair["id"]])
        picture = remembered.picture(training[pair["training"]])
        caption = pair["training"] + (" (name it with --train to see it)" if picture is None else "")
        beside = Picture(np.full_like(pixels, 40) if picture is None else picture, caption)
        found.append(Pair(Picture(pixels, pair["id"]), beside, pair["likeness"], pair["copied"]))
    return found
