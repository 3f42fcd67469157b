"""Quality gates: a YAML file of bounds that a score has to keep, and of alarms that it must not raise.

.. code-block:: yaml

    - {metric: FD-EffNet, comparison: "<=", threshold: 1.25, relative_to: round trip}
    - {metric: AUROC Effusion, comparison: ">=", threshold: 0.8, holds: interval}
    - {metric: KID-EffNet, comparison: "<=", threshold: 1.05, relative_to: earlier}
    - {alarm: any}

A bound that one image repeated n times keeps as well tells nothing, and is refused.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any

import yaml

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files.records import Record
from medsynth_cli.metrics import contrast
from medsynth_cli.metrics.writeup import FLOORS, number, plain, span

COMPARISONS = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt}
NEVER = {
    "NIQE-radiographs": "it sees little but sharpness and noise, and only the top left of an image",
    "NIQE": "its parameters describe photographs, not radiographs",
}
"""Beginnings of names of metrics that are printed but judge nothing, and why."""

EARLIER, INTERVAL, ANY = "earlier", "interval", "any"
CHOICES = {
    "comparison": tuple(COMPARISONS),
    "relative_to": (*FLOORS, EARLIER),
    "holds": ("point", INTERVAL),
}
"""Keys that take one of a few words."""

_FORM = "an entry has metric, comparison and threshold, or alarm; see docs/gates.md"
_DIRECTIONS = {"lower": ("<=", 1), "higher": (">=", -1)}
"""What is better -> the comparison of a gate, and to which side of a figure its bound lies."""


class _BrokenError(Exception):
    """Why a gate does not hold, other than by its figure."""


@dataclass(frozen=True)
class Bound:
    """``metric`` must stand in ``comparison`` to ``threshold``.

    Attributes:
        metric: name of a row of the score.
        comparison: one of `COMPARISONS`.
        threshold: the bound; with ``relative_to``, a factor of what that names.
        relative_to: a floor of the same row, or the metric's value in an ``earlier`` result.
        holds: what has to keep the bound: the ``point``, or the whole ``interval`` of 95 %.
    """

    metric: str
    comparison: str
    threshold: float
    relative_to: str | None = None
    holds: str = "point"

    def check(self, score: Record, earlier: Record | None = None) -> dict[str, Any]:
        """The gate's fields with ``bound``, ``value``, ``held`` and perhaps a ``reason``; see the function `check`."""
        entry = {field: value for field, value in asdict(self).items() if value is not None}
        entry |= {"bound": None, "value": None, "held": False}
        try:
            result = _computed(score, self.metric)
            entry["value"] = result["value"]
            entry["bound"] = bound = self.threshold * self._unit(score, earlier)
            self._refuse_if_collapse_passes(result, bound)
            self._hold(result, bound)
        except _BrokenError as reason:
            return entry | ({"reason": str(reason)} if str(reason) else {})
        return entry | {"held": True}

    def _unit(self, score: Record, earlier: Record | None) -> float:
        """What the threshold is a factor of."""
        if self.relative_to is None:
            return 1.0
        if self.relative_to == EARLIER:
            unit: float | None = _earlier_value(self.metric, score, earlier)
        else:
            unit = _floor(score["metrics"][self.metric], self.relative_to)
        if unit is None:
            raise _BrokenError(f"it has no floor {self.relative_to!r} in this run")
        if unit <= 0:
            raise _BrokenError(f"{self.relative_to} is {number(unit)}: a factor of it is no bound")
        return unit

    def _refuse_if_collapse_passes(self, result: Mapping[str, Any], bound: float) -> None:
        repeated = _floor(result, "repeated")
        if repeated is not None and COMPARISONS[self.comparison](repeated, bound):
            count = result.get("n", "n")
            raise _BrokenError(f"refused: one image repeated {count} times passes it ({number(repeated)})")

    def _hold(self, result: Mapping[str, Any], bound: float) -> None:
        keeps = COMPARISONS[self.comparison]
        if self.holds != INTERVAL:
            if not keeps(result["value"], bound):
                raise _BrokenError
        elif not result.get("interval"):
            raise _BrokenError("it has no interval in this run")
        elif not all(keeps(end, bound) for end in result["interval"]):
            raise _BrokenError(f"its interval is {span(result['interval'])}")


@dataclass(frozen=True)
class NoAlarm:
    """The alarm of this name, or `ANY`, must not be raised."""

    alarm: str

    def check(self, score: Record, earlier: Record | None = None) -> dict[str, Any]:
        """``alarm``, ``held`` and perhaps a ``reason``; see the function `check`."""
        alarms = {alarm["name"]: alarm for alarm in score.get("alarms") or []}
        names = list(alarms) if self.alarm == ANY else [self.alarm]
        entry = {"alarm": self.alarm, "held": False}
        if not alarms:
            return entry | {"reason": "this run looked for no alarms"}
        if self.alarm not in (ANY, *alarms):
            return entry | {"reason": f"refused: this run judged no alarm {self.alarm!r} (but {', '.join(alarms)})"}
        # An alarm that could not be decided is null, which is not a clean bill either.
        raised = [name for name in names if alarms[name]["raised"] is not False]
        if raised:
            return entry | {"reason": "; ".join(f"{name}: {alarms[name].get('message', 'raised')}" for name in raised)}
        return entry | {"held": True}


Gate = Bound | NoAlarm


def load(path: Path) -> list[Gate]:
    """Read a file of gates.

    Raises:
        MedsynthError: it is missing or not a list of gates; the message names the line and the entry.
    """
    try:
        root = yaml.compose(path.read_text("utf-8"), yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise MedsynthError(f"{path}: {getattr(error, 'strerror', None) or error}", "check the path") from error
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise MedsynthError(f"{path}: not YAML ({reason})", 'comparisons are best quoted, as ">="') from error
    if not isinstance(root, yaml.SequenceNode) or not root.value:
        raise MedsynthError(f"{path}: not a list of gates", _FORM)
    return [_gate(_Entry(path, position, node)) for position, node in enumerate(root.value, 1)]


def check(gates: Sequence[Gate], score: Record, earlier: Record | None = None) -> list[dict[str, Any]]:
    """Hold gates against a score.

    Args:
        gates: as `load` reads them.
        score: its ``metrics`` and ``alarms`` count.
        earlier: the score that gates relative to ``earlier`` mean.

    Returns:
        Each gate's fields and whether it ``held``. A bound has the ``value`` found and the ``bound`` it was compared
        with, null where there is none. What cannot be checked does not hold, with the ``reason``.
    """
    return [gate.check(score, earlier) for gate in gates]


def title(entry: Mapping[str, Any]) -> str:
    """A checked gate as it was asked for: the same from run to run."""
    if "alarm" in entry:
        return "no alarm" if entry["alarm"] == ANY else f"no alarm {entry['alarm']!r}"
    factor = f" x {entry['relative_to']}" if entry.get("relative_to") else ""
    whole = " with its whole interval" if entry.get("holds") == INTERVAL else ""
    return f"{entry['metric']} {entry['comparison']} {entry['threshold']:.10g}{factor}{whole}"


def describe(entry: Mapping[str, Any]) -> str:
    """One line about a broken gate."""
    reasons = [entry["reason"]] if entry.get("reason") else [f"found {number(entry['value'])}"]
    if entry.get("relative_to") and entry["bound"] is not None:
        reasons.append(f"the bound is {number(entry['bound'])}")
    return f"{title(entry)} does not hold: {', '.join(reasons)}"


def start_file(score: Record) -> str:
    """A file of gates to start from, which the score passes: for each metric a bound, or why it is no gate.

    Raises:
        MedsynthError: no metric of this score can be a gate.
    """
    entries = [line for name, result in score["metrics"].items() for line in _started(name, result)]
    if not any(line.startswith("- ") for line in entries):
        raise MedsynthError("no metric of this run can be a gate", "evaluate more images, or more metrics")
    alarms = _started_alarms(score) if score.get("alarms") else []
    counts = score["counts"]
    head = [
        f"# Gates from a run on {counts['synthetic']} images against {plain(score.get('real', 'real ones'))},",
        f"# seed {score.get('seed', 0)}{', quick' if score.get('quick') else ''}. They fit runs of as many images.",
        "# Thresholds leave these figures the room that chance needs: with an interval, a model just as good breaks",
        "# the gate in one run of 40, without, the room is a tenth. docs/gates.md says how to choose better ones.",
    ]
    return "\n".join([*head, *entries, *alarms, ""])


@dataclass(frozen=True)
class _Entry:
    """An entry of the file as written."""

    path: Path
    position: int
    node: yaml.Node

    def error(self, message: str, hint: str = "", key: str | None = None) -> MedsynthError:
        """What is wrong with it, at the line of ``key`` where it has one."""
        keys = [name for name, _ in self.node.value] if isinstance(self.node, yaml.MappingNode) else []
        place = next((name for name in reversed(keys) if name.value == key), self.node)
        return MedsynthError(f"{self.path}:{place.start_mark.line + 1}: gate {self.position}: {message}", hint)

    def values(self) -> dict[str, Any]:
        """Its keys and values; a key that is there twice would hide one."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error("not a mapping", _FORM)
        names = [name.value for name, _ in self.node.value]
        twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
        if twice is not None:
            raise self.error(f"{twice!r} appears twice", "each gate begins with a dash", str(twice))
        try:
            found: dict[str, Any] = yaml.SafeLoader("").construct_document(self.node)
        except (yaml.YAMLError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise self.error(f"not YAML ({reason})", 'comparisons are best quoted, as ">="') from error
        return found


def _gate(entry: _Entry) -> Gate:
    values = entry.values()
    kind = NoAlarm if "alarm" in values else Bound
    known = {field.name: field for field in fields(kind)}
    for key in values:
        if key not in known:
            raise entry.error(f"unknown key {key!r}", f"known: {', '.join(known)}", str(key))
    for key, field in known.items():
        if key not in values and field.default is MISSING:
            raise entry.error(f"{key!r} is missing", _FORM)
    for key, choices in CHOICES.items():
        if key in values and values[key] not in choices:
            raise entry.error(f"{key} {values[key]!r}", f"known: {', '.join(choices)}", key)
    return _no_alarm(entry, values) if kind is NoAlarm else _bound(entry, values)


def _no_alarm(entry: _Entry, values: Mapping[str, Any]) -> NoAlarm:
    return NoAlarm(_name(entry, values, "alarm"))


def _bound(entry: _Entry, values: Mapping[str, Any]) -> Bound:
    metric, threshold = _name(entry, values, "metric"), values["threshold"]
    if _never(metric):
        raise entry.error(f"{metric} is no gate: {_never(metric)}", "take it out", "metric")
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not math.isfinite(threshold):
        raise entry.error(f"threshold {threshold!r} is no number", "it has digits, and a point where it needs one")
    if "relative_to" in values and threshold <= 0:
        raise entry.error(f"threshold {threshold!r} is no factor of {values['relative_to']}", "it is above 0")
    return Bound(**{**values, "metric": metric, "threshold": float(threshold)})


def _name(entry: _Entry, values: Mapping[str, Any], key: str) -> str:
    if not isinstance(values[key], str) or not values[key]:
        raise entry.error(f"{key} {values[key]!r} is no name", "put it in quotes", key)
    return str(values[key])


def _never(metric: str) -> str:
    return next((why for beginning, why in NEVER.items() if metric.startswith(beginning)), "")


def _computed(score: Record, metric: str) -> Mapping[str, Any]:
    """The row of a metric that has a value."""
    result: Mapping[str, Any] | None = score["metrics"].get(metric)
    if result is None:
        raise _BrokenError("not among the metrics computed")
    if result["value"] is None:
        raise _BrokenError(result["reason"])
    return result


def _floor(result: Mapping[str, Any], name: str) -> float | None:
    found: float | None = (result.get("floors") or {}).get(name)
    return found


def _earlier_value(metric: str, score: Record, earlier: Record | None) -> float:
    if earlier is None:
        raise _BrokenError("there is no earlier result: name one with --baseline")
    try:
        value: float = _computed(earlier, metric)["value"]
    except _BrokenError as reason:
        raise _BrokenError(f"the earlier result does not have it: {reason}") from reason
    mismatch = (
        contrast.run_mismatch(earlier, score)
        or contrast.figure_mismatch(metric, earlier, score)
        or contrast.bias_mismatch(metric, earlier, score)
    )
    if mismatch:
        raise _BrokenError(f"the earlier result does not compare: {mismatch}")
    return value


def _started(name: str, result: Mapping[str, Any]) -> list[str]:
    """The lines of `start_file` about one metric."""
    metric = f"metric: {_quoted(name)}"
    try:
        gate = _suggested(name, result)
    except _BrokenError as reason:
        return ["", f"# {plain(name)} is no gate: {plain(reason)}", f"# - {{{metric}}}"]
    interval = f" ({span(result['interval'])})" if result.get("interval") else ""
    # In digits: YAML takes 1e-07 for text.
    threshold = format(Decimal(repr(gate.threshold)).normalize(), "f")
    entry = f'- {{{metric}, comparison: "{gate.comparison}", threshold: {threshold}}}'
    note = [f"# {plain(result['note'])}"] if result.get("note") else []
    return ["", f"# This run: {number(result['value'])}{interval}.", *note, entry]


def _started_alarms(score: Record) -> list[str]:
    entry = NoAlarm(ANY).check(score)
    line = f"- {{alarm: {ANY}}}"
    if entry["held"]:
        return ["", line]
    return ["", f"# This run is not without alarms: {plain(entry['reason'])}", f"# {line}"]


def _suggested(name: str, result: Mapping[str, Any]) -> Bound:
    """The first bound of `_thresholds` that is a gate."""
    row = _computed({"metrics": {name: result}}, name)
    if _never(name):
        raise _BrokenError(_never(name))
    if row.get("better") not in _DIRECTIONS:
        raise _BrokenError("neither high nor low figures are better")
    comparison, side = _DIRECTIONS[row["better"]]
    reason = ""
    for threshold in _thresholds(row, side):
        gate = Bound(name, comparison, threshold)
        entry = gate.check({"metrics": {name: row}})
        if entry["held"]:
            return gate
        reason = entry.get("reason", "")
    raise _BrokenError(reason)


def _thresholds(result: Mapping[str, Any], side: int) -> Iterator[float]:
    """Bounds that a figure keeps, the best first.

    The difference of two runs just as good spreads by the root of 2 more than either figure: with that much of the
    interval as room, the second exceeds the bound in 2.5 % of cases. Without an interval, the room is a tenth.
    """
    value = result["value"]
    low, high = result.get("interval") or (value, value)
    rooms = (math.sqrt(2) * (high - value if side > 0 else value - low), abs(value) / 10)
    for room in rooms:
        if room > 0:
            # Steps of half the room at most, so that rounding leaves the bound where it is.
            step = Decimal(1).scaleb(math.floor(math.log10(room / 2)))
            exact = Decimal(repr(value + side * room))
            yield float(exact.quantize(step, ROUND_CEILING if side > 0 else ROUND_FLOOR))
    yield value


def _quoted(name: str) -> str:
    """A name on one line of YAML, whatever is in it."""
    text: str = yaml.safe_dump(name, default_style='"', allow_unicode=True, width=math.inf)
    return text.strip()
