"""Quality gates: a YAML file of bounds that a score has to keep.

.. code-block:: yaml

    - {metric: FD-EffNet, comparison: "<=", threshold: 200}
    - {metric: AUROC Effusion, comparison: ">=", threshold: 0.8}
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medsynth_cli.errors import MedsynthError

COMPARISONS = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt}
NEVER = {"NIQE": "its parameters describe photographs, not radiographs"}
"""Metrics that are printed but judge nothing, and why."""


@dataclass(frozen=True)
class Gate:
    """``metric`` must stand in ``comparison`` to ``threshold``."""

    metric: str
    comparison: str
    threshold: float


def load(path: Path) -> list[Gate]:
    """Read a file of gates.

    Raises:
        MedsynthError: it is missing or not a list of gates; the message names the entry.
    """
    import yaml

    try:
        entries = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise MedsynthError(f"{path}: {getattr(error, 'strerror', None) or error}", "check the path") from error
    except yaml.YAMLError as error:
        raise MedsynthError(f"{path}: not YAML ({error})") from error
    if not isinstance(entries, list) or not entries:
        raise MedsynthError(f"{path}: not a list of gates", "each has metric, comparison and threshold")
    return [_gate(entry, f"{path}: gate {number}") for number, entry in enumerate(entries, 1)]


def check(gates: Sequence[Gate], metrics: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Hold the gates against the rows of a score.

    Returns:
        Each gate with the ``value`` found and whether it ``held``; a metric without a value breaks its gate,
        with the ``reason``.
    """
    checked = []
    for gate in gates:
        result = metrics.get(gate.metric)
        value = None if result is None else result["value"]
        entry: dict[str, Any] = asdict(gate) | {"value": value, "held": False}
        if result is None:
            entry["reason"] = "not among the metrics computed"
        elif value is None:
            entry["reason"] = result["reason"]
        else:
            entry["held"] = bool(COMPARISONS[gate.comparison](value, gate.threshold))
        checked.append(entry)
    return checked


def describe(entry: Mapping[str, Any]) -> str:
    """One line about a broken gate."""
    found = entry.get("reason") or f"found {entry['value']:.4g}"
    return f"{entry['metric']} {entry['comparison']} {entry['threshold']:g} does not hold: {found}"


def _gate(entry: object, where: str) -> Gate:
    if not isinstance(entry, dict) or set(entry) != {"metric", "comparison", "threshold"}:
        raise MedsynthError(f"{where}: has to have exactly metric, comparison and threshold")
    if entry["comparison"] not in COMPARISONS:
        raise MedsynthError(f"{where}: comparison {entry['comparison']!r}", f"known: {', '.join(COMPARISONS)}")
    if entry["metric"] in NEVER:
        raise MedsynthError(f"{where}: {entry['metric']} is no gate: {NEVER[entry['metric']]}", "take it out")
    if isinstance(entry["threshold"], bool) or not isinstance(entry["threshold"], int | float):
        raise MedsynthError(f"{where}: threshold {entry['threshold']!r} is no number")
    return Gate(str(entry["metric"]), entry["comparison"], float(entry["threshold"]))
