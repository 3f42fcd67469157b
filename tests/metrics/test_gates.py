"""Gates: what holds, what breaks, and what no gate can be."""

from __future__ import annotations

import pytest

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import gates

METRICS = {"FD-EffNet": {"value": 10.0}, "FID": {"value": None, "reason": "no weights"}}


def load(tmp_path, text):
    path = tmp_path / "gates.yaml"
    path.write_text(text)
    return gates.load(path)


@pytest.mark.parametrize(
    ("comparison", "threshold", "held"),
    [("<=", 10, True), ("<", 10, False), (">=", 10, True), (">", 9.9, True), ("<=", 9.9, False)],
)
def test_comparisons(tmp_path, comparison, threshold, held):
    text = f'- {{metric: FD-EffNet, comparison: "{comparison}", threshold: {threshold}}}'
    (entry,) = gates.check(load(tmp_path, text), METRICS)
    assert (entry["held"], entry["value"]) == (held, 10.0)


def test_a_metric_without_a_value_breaks_its_gate_with_the_reason(tmp_path):
    text = '- {metric: FID, comparison: "<", threshold: 1}\n- {metric: Nothing, comparison: "<", threshold: 1}\n'
    fid, nothing = gates.check(load(tmp_path, text), METRICS)
    assert (fid["held"], fid["reason"]) == (False, "no weights")
    assert "not among the metrics" in gates.describe(nothing)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('- {metric: NIQE, comparison: "<", threshold: 5}', "gate 1: NIQE is no gate"),
        ('- {metric: FID, comparison: "=", threshold: 5}', "comparison '='"),
        ('- {metric: FID, comparison: "<", threshold: low}', "is no number"),
        ('- {metric: FID, comparison: "<"}', "exactly metric, comparison and threshold"),
        ("metric: FID", "not a list"),
        ("- [", "not YAML"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path, text, message):
    with pytest.raises(MedsynthError, match=message):
        load(tmp_path, text)
