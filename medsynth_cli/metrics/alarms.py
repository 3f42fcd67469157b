"""Alarms: mistakes that figures hide or that make them meaningless, each by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import stats

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import copies, thumbnails
from medsynth_cli.metrics.comparison import Comparison, Row
from medsynth_cli.metrics.imagesets import PIXELS

Alarm = dict[str, Any]

SHARE = 0.05
"""Share of images with a defect that raises an alarm."""
DARK = 64
"""Grey value that the brightest part of a radiograph always passes; 12 bits stored in 16 end below 16."""
TELLS_SIDES = 0.25
"""Share of real findings that the judge may see on the wrong side for its word on sides to count."""
VARIETY = 0.5
"""Share of the Vendi score of real images, after the tokenizer if possible, below which a set counts as collapsed."""

LUCK = 0.01
"""Probability of so many apparent copies by chance below which they count as copies."""
SHORTCUT = 0.1
"""AUROC by which the corners may tell a finding better than in real images: labels of real images are wrong now and
then and a generator draws findings more clearly than patients show them, both of which look like an excess."""


def check(comparison: Comparison, rows: Mapping[str, Row]) -> list[Alarm]:
    """All alarms: name, whether it is raised (None: it cannot be judged), and a sentence with the figure behind it."""
    found = []
    for name, judge in ALARMS.items():
        alarm: Alarm = {"name": name, "raised": None, "message": "the figures it is judged by were not computed"}
        try:
            verdict = judge(comparison, rows)
        except MedsynthError as error:
            verdict, alarm["message"] = None, error.message
        if verdict is not None:
            alarm["raised"], alarm["message"] = bool(verdict[0]), verdict[1]
        found.append(alarm)
    return found


def _dark(comparison: Comparison, rows: Mapping[str, Row]) -> tuple[bool, str] | None:
    """Images that use the lowest bits of their range only."""
    share = float((comparison.synthetic.of(thumbnails.observer()).max(axis=1) < DARK).mean())
    return share > SHARE, f"{share:.1%} of the images are nearly black, as 12 bits stored in 16 are"


def _inverted(comparison: Comparison, rows: Mapping[str, Row]) -> tuple[bool, str] | None:
    """Images that look more like the negative of the mean real one."""
    look = thumbnails.observer()
    mean = comparison.real.of(look).mean(axis=0, dtype=np.float64)
    share = float((thumbnails.likeness(comparison.synthetic.of(look), mean) < 0).mean())
    usual = float((thumbnails.likeness(comparison.real.of(look), mean) < 0).mean())
    message = f"{share:.1%} of the images look like a negative of the mean real one ({usual:.1%} of real images do)"
    return share > SHARE + usual, message


def _collapse(comparison: Comparison, rows: Mapping[str, Row]) -> tuple[bool, str] | None:
    """Too little variety, or the same pixels again and again."""
    pixels = comparison.synthetic.of(PIXELS)
    again = 1 - len(np.unique(pixels, axis=0)) / len(pixels)
    message = f"{again:.1%} of the images repeat another, pixel by pixel"
    ratios = []
    for name, result in rows.items():
        floors = result.get("floors") or {}
        variety = floors.get("round trip") or floors.get("training") or floors.get("real")
        if name.startswith("Vendi") and result["value"] is not None and variety:
            after = " after the tokenizer" if floors.get("round trip") else ""
            ratios.append(result["value"] / variety)
            message += f"; {name} is {ratios[-1]:.2f} times that of real images{after}"
    return again > SHARE or any(ratio < VARIETY for ratio in ratios), message


def _labels(comparison: Comparison, rows: Mapping[str, Row]) -> tuple[bool, str] | None:
    """Requested findings that are recognised hardly better than by chance, though they could be."""
    result = rows.get("AUROC macro") or {}
    floors = result.get("floors") or {}
    ceiling = floors.get("round trip") or floors.get("real")
    if result.get("interval") is None or ceiling is None or ceiling < 0.6:
        return None
    upper, bar = result["interval"][1], (0.5 + ceiling) / 2
    message = f"AUROC macro is at most {upper:.3f}, where real images reach {ceiling:.3f} and chance 0.5"
    return upper < bar, message


def _side(comparison: Comparison, rows: Mapping[str, Row]) -> tuple[bool, str] | None:
    """One-sided findings that are recognised on the other side more often than not, by a judge that can tell sides."""
    result = rows.get("wrong side") or {}
    own_errors = (result.get("floors") or {}).get("real")
    if result.get("interval") is None or own_errors is None or own_errors > TELLS_SIDES:
        return None
    message = f"{result['value']:.1%} of {result['n']} one-sided findings are recognised on the other side"
    return result["interval"][0] > 0.5, message


def _memory(comparison: Comparison, rows: Mapping[str, Row]) -> tuple[bool, str] | None:
    """More copies of training images than as many real images would pass for by chance."""
    result = rows.get("copies") or {}
    if result.get("value") is None:
        return None
    copied = round(result["value"] * result["n"])
    luck = stats.binom.sf(copied - 1, result["n"], copies.CHANCE)
    message = f"{copied} of {result['n']} images are copies of one of {result['n_train']} training images"
    return luck < LUCK, message


def _shortcut(comparison: Comparison, rows: Mapping[str, Row]) -> tuple[bool, str] | None:
    """Findings that the corners tell much better than they do in real images, as a text marker would."""
    found = (rows.get("finding from border excess") or {}).get("findings") or {}
    known = {label: own for label, own in found.items() if own["interval"] is not None}
    if not known:
        return None
    label = max(known, key=lambda name: known[name]["interval"][0])
    least, value = known[label]["interval"][0], known[label]["value"]
    message = f"the corners alone tell {label} with an AUROC {value:+.3f} beside real images, {least:+.3f} at least"
    return least > SHORTCUT, message


Judge = Callable[[Comparison, Mapping[str, Row]], "tuple[bool, str] | None"]
ALARMS: dict[str, Judge] = {
    "16-bit images": _dark,
    "inverted images": _inverted,
    "mode collapse": _collapse,
    "memorisation": _memory,
    "wrong labels": _labels,
    "wrong side": _side,
    "shortcut": _shortcut,
}
"""Name -> whether it is raised and the figure behind it; None where it cannot be judged."""
