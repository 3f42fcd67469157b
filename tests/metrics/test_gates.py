"""Gates: what holds, what breaks, what no gate can be, and the files that people start from and read about them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import gates

GUIDE = Path(__file__).parents[2] / "docs" / "gates.md"


def row(value=97.0, **more):
    return {
        "value": value,
        "interval": [90.0, 104.0],
        "better": "lower",
        "n": 354,
        "n_real": 354,
        "extractor": "lite2",
        "floors": {"training": 40.0, "round trip": 80.0, "repeated": 180.0},
    } | more


def run(*alarms, quick=False, real="mini:test", sha256="a" * 64, **metrics):
    return {
        "kind": "score",
        "real": real,
        "seed": 3,
        "quick": quick,
        "counts": {"synthetic": 354, "real": 354},
        "extractors": {"lite2": {"sha256": sha256, "size_px": 256}},
        "metrics": metrics or {"FD": row()},
        "alarms": [{"name": name, "raised": raised, "message": f"{name} it is"} for name, raised in alarms],
    }


def load(tmp_path, text):
    path = tmp_path / "gates.yaml"
    path.write_text(text, "utf-8")
    return gates.load(path)


@pytest.fixture
def check(tmp_path):
    """Hold one entry, as written in a file, against a score."""

    def call(entry, score=None, earlier=None):
        (result,) = gates.check(load(tmp_path, f"- {entry}"), score or run(), earlier)
        json.dumps(result, allow_nan=False)
        return result

    return call


@pytest.mark.parametrize(
    ("comparison", "threshold", "held"),
    [("<=", 97, True), ("<", 97, False), ("<=", 96.9, False), ("<", 97.1, True)],
)
def test_a_bound_is_compared_with_the_value(check, comparison, threshold, held):
    found = check(f'{{metric: FD, comparison: "{comparison}", threshold: {threshold}}}')
    assert (found["held"], found["value"], found["bound"]) == (held, 97.0, threshold)
    assert found["holds"] == "point"
    assert "reason" not in found


@pytest.mark.parametrize(("threshold", "held"), [(0.8, True), (0.9, True), (0.91, False)])
def test_a_lower_bound(check, threshold, held):
    score = run(AUROC=row(0.9, floors={"repeated": 0.5}))
    assert check(f'{{metric: AUROC, comparison: ">=", threshold: {threshold}}}', score)["held"] == held


@pytest.mark.parametrize(
    ("floor", "factor", "bound", "held"),
    [("round trip", 1.25, 100, True), ("round trip", 1.2, 96, False), ("training", 2.5, 100, True)],
)
def test_a_bound_relative_to_a_floor(check, floor, factor, bound, held):
    found = check(f'{{metric: FD, comparison: "<=", threshold: {factor}, relative_to: {floor}}}')
    assert (found["bound"], found["held"]) == (pytest.approx(bound), held)
    if not held:
        assert gates.describe(found) == f"FD <= {factor} x {floor} does not hold: found 97, the bound is {bound}"


def test_relative_to_the_repeated_image(check):
    found = check("{metric: FD, comparison: <=, threshold: 0.6, relative_to: repeated}")
    assert (found["bound"], found["held"]) == (pytest.approx(108), True)


@pytest.mark.parametrize(
    ("floors", "reason"),
    [
        ({}, "no floor 'real'"),
        ({"real": None}, "no floor 'real'"),
        (None, "no floor 'real'"),
        ({"real": 0.0}, "real is 0: a factor of it is no bound"),
        ({"real": -0.5}, "real is -0.5: a factor of it is no bound"),
    ],
)
def test_a_floor_that_carries_no_factor_breaks_the_gate(check, floors, reason):
    found = check("{metric: KID, comparison: <=, threshold: 2, relative_to: real}", run(KID=row(floors=floors)))
    assert (found["held"], found["bound"]) == (False, None)
    assert reason in found["reason"]


def test_a_bound_relative_to_an_earlier_result(check):
    entry = "{metric: FD, comparison: <=, threshold: 1.05, relative_to: earlier}"
    assert check(entry, earlier=run(FD=row(95.0)))["held"]
    worse = check(entry, earlier=run(FD=row(90.0)))
    assert (worse["held"], worse["bound"]) == (False, pytest.approx(94.5))
    assert "found 97, the bound is 94.5" in gates.describe(worse)


@pytest.mark.parametrize(
    ("earlier", "reason"),
    [
        (None, "name one with --baseline"),
        (run(KID=row()), "the earlier result does not have it: not among the metrics"),
        (run(FD={"value": None, "reason": "no weights"}), "the earlier result does not have it: no weights"),
        (run(FD=row(-1.0)), "earlier is -1: a factor of it is no bound"),
        (run(real="other:set"), "against other:set, the other against mini:test"),
        (run(quick=True), "quick"),
        (run(sha256="b" * 64), "other extractor"),
        (run(FD=row(n=300)), "n differs (300 and 354)"),
    ],
)
def test_an_earlier_result_that_means_something_else_breaks_the_gate(check, earlier, reason):
    found = check("{metric: FD, comparison: <=, threshold: 1.5, relative_to: earlier}", earlier=earlier)
    assert not found["held"]
    assert reason in found["reason"]


@pytest.mark.parametrize(
    ("threshold", "held"), [(104, True), (103.9, False)], ids=["upper end on the bound", "upper end beyond it"]
)
def test_the_whole_interval_has_to_keep_the_bound(check, threshold, held):
    found = check(f"{{metric: FD, comparison: <=, threshold: {threshold}, holds: interval}}")
    assert found["held"] == held
    if not held:
        assert "its interval is 90 to 104" in gates.describe(found)
    assert check(f"{{metric: FD, comparison: <=, threshold: {threshold}}}")["held"], "the point keeps it anyway"


@pytest.mark.parametrize("interval", [None, ...])
def test_without_an_interval_no_interval_holds(check, interval):
    score = run(FD={key: value for key, value in row(interval=interval).items() if value is not ...})
    found = check("{metric: FD, comparison: <=, threshold: 150, holds: interval}", score)
    assert (found["held"], found["reason"]) == (False, "it has no interval in this run")


@pytest.mark.parametrize(
    "entry",
    [
        "{metric: FD, comparison: <=, threshold: 180}",
        '{metric: FD, comparison: ">=", threshold: 50}',
        "{metric: FD, comparison: <=, threshold: 2.5, relative_to: round trip}",
        "{metric: FD, comparison: <=, threshold: 200, holds: interval}",
        "{metric: FD, comparison: <=, threshold: 1.9, relative_to: earlier}",
    ],
)
def test_a_gate_that_one_image_repeated_passes_is_refused(check, entry):
    found = check(entry, earlier=run())
    assert (found["held"], found["value"]) == (False, 97.0)
    assert found["reason"] == "refused: one image repeated 354 times passes it (180)"


@pytest.mark.parametrize("floors", [None, {}, {"repeated": None}])
def test_a_floor_that_was_not_measured_refuses_nothing(check, floors):
    assert check("{metric: FD, comparison: <=, threshold: 200}", run(FD=row(floors=floors)))["held"]


def test_a_metric_without_a_value_breaks_its_gate_with_the_reason(check):
    score = run(FID={"value": None, "reason": "no weights"})
    fid = check("{metric: FID, comparison: <, threshold: 1}", score)
    assert (fid["held"], fid["value"], fid["reason"]) == (False, None, "no weights")
    nothing = check("{metric: Nothing, comparison: <, threshold: 1}", score)
    assert gates.describe(nothing) == "Nothing < 1 does not hold: not among the metrics computed"


@pytest.mark.parametrize(
    ("alarm", "held", "reason"),
    [
        ("calm", True, None),
        ("copies", False, "copies: copies it is"),
        ("unsure", False, "unsure: unsure it is"),
        ("any", False, "copies: copies it is; unsure: unsure it is"),
        ("cpies", False, "refused: this run judged no alarm 'cpies' (but calm, copies, unsure)"),
    ],
)
def test_alarms(check, alarm, held, reason):
    found = check(f"alarm: {alarm}", run(("calm", False), ("copies", True), ("unsure", None)))
    assert (found["alarm"], found["held"], found.get("reason")) == (alarm, held, reason)


def test_any_alarm_holds_when_all_are_calm_and_breaks_when_none_was_looked_for(check):
    assert check("alarm: any", run(("a", False), ("b", False)))["held"]
    assert check("alarm: any", run())["reason"] == "this run looked for no alarms"


def test_a_title_is_the_same_whatever_was_found(tmp_path):
    text = "- {metric: FD, comparison: <=, threshold: 1.25, relative_to: round trip, holds: interval}\n- alarm: any\n"
    entries = load(tmp_path, text + "- alarm: copies\n")
    titles = ["FD <= 1.25 x round trip with its whole interval", "no alarm", "no alarm 'copies'"]
    for score in (run(("copies", True)), run(KID=row()), run(FD=row(5.0))):
        assert [gates.title(entry) for entry in gates.check(entries, score)] == titles


@pytest.mark.parametrize(
    ("entry", "line", "message"),
    [
        ('{metric: NIQE, comparison: "<", threshold: 5}', 3, "NIQE is no gate: its parameters describe photographs"),
        ("{metric: NIQE-MATLAB, comparison: <, threshold: 5}", 3, "NIQE-MATLAB is no gate: its parameters describe"),
        ("{metric: NIQE-radiographs, comparison: <, threshold: 5}", 3, "NIQE-radiographs is no gate: it sees little"),
        ("{metric: NIQE other, comparison: <, threshold: 5}", 3, "NIQE other is no gate"),
        ('{metric: FID, comparison: "=", threshold: 5}', 3, "comparison '='"),
        ("{metric: FID, comparison: [1], threshold: 5}", 3, "comparison [1]"),
        ("{metric: FID, comparison: <, threshold: low}", 3, "threshold 'low' is no number"),
        ("{metric: FID, comparison: <, threshold: yes}", 3, "threshold True is no number"),
        ("{metric: FID, comparison: <, threshold: .nan}", 3, "threshold nan is no number"),
        ('{metric: FID, comparison: ">", threshold: -.inf}', 3, "threshold -inf is no number"),
        ("{metric: FID, comparison: <}", 3, "'threshold' is missing"),
        ("metric: FID\n  comparison: <\n  threshold: 5\n  treshold: 6", 6, "unknown key 'treshold'"),
        ("metric: FID\n  comparison: <\n  threshold: 5\n  metric: KID", 6, "'metric' appears twice"),
        ("metric: FID\n  comparison: <\n  threshold: 5\n  holds: half", 6, "holds 'half'"),
        ("metric: FID\n  comparison: <\n  threshold: 5\n  relative_to: roundtrip", 6, "relative_to 'roundtrip'"),
        ("{metric: F, comparison: <, threshold: 0, relative_to: real}", 3, "threshold 0 is no factor of real"),
        ("{metric: 5, comparison: <, threshold: 5}", 3, "metric 5 is no name"),
        ("{metric: '', comparison: <, threshold: 5}", 3, "metric '' is no name"),
        ("{metric: !!python/name:os.system , comparison: <, threshold: 5}", 3, "not YAML"),
        ("alarm: any\n  threshold: 5", 4, "unknown key 'threshold'"),
        ("alarm: off", 3, "alarm False is no name"),
        ("{5: 6, metric: FID}", 3, "unknown key 5"),
        ("FID < 5", 3, "not a mapping"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_line(tmp_path, entry, line, message):
    with pytest.raises(MedsynthError) as error:
        load(tmp_path, f"# comment\n- {{metric: FD, comparison: <, threshold: 5}}\n- {entry}\n")
    assert error.value.message.startswith(f"{tmp_path / 'gates.yaml'}:{line}: gate 2: ")
    assert message in error.value.message
    assert "\n" not in error.value.message
    assert error.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metric: FID", "not a list of gates"),
        ("[]", "not a list of gates"),
        ("# nothing\n", "not a list of gates"),
        ("- [", "not YAML"),
        ("- metric: FD\n  comparison: >=\n  threshold: 5\n", "not YAML"),
        ("- {metric: \x00}", "not YAML"),
    ],
)
def test_a_file_that_is_no_list_of_gates_is_refused(tmp_path, text, message):
    with pytest.raises(MedsynthError, match=message) as error:
        load(tmp_path, text)
    assert "\n" not in error.value.message
    assert error.value.hint


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(MedsynthError, match="No such file"):
        gates.load(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"- metric: \xe9")
    with pytest.raises(MedsynthError, match="utf-8"):
        gates.load(tmp_path / "latin.yaml")


def test_the_start_file_passes_on_the_run_it_came_from_and_says_what_it_left_out(tmp_path):
    auroc = row(0.904, interval=[0.861, 0.944], better="higher", floors={"repeated": 0.5})
    score = run(
        ("copies", False),
        **{
            "FD": row(),
            "AUROC: Effusion # {1}": auroc,
            "macro": row(0.8, interval=None, better="higher", floors=None),
            "FID": {"value": None, "reason": "no weights\nand no network"},
            "precision": row(0.8, interval=[0.75, 0.85], better="higher", floors={"repeated": 1.0}),
            "MS-SSIM": row(0.5, better=None),
            "NIQE": row(5.0),
        },
    )
    text = gates.start_file(score)
    bounds = load(tmp_path, text)
    assert all(entry["held"] for entry in gates.check(bounds, score))
    assert bounds == [
        gates.Bound("FD", "<=", 107.0),
        gates.Bound("AUROC: Effusion # {1}", ">=", 0.84),
        gates.Bound("macro", ">=", 0.72),
        gates.NoAlarm("any"),
    ]
    for comment in (
        'FID is no gate: no weights and no network\n# - {metric: "FID"}',
        "precision is no gate: refused: one image repeated 354 times passes it (1)\n",
        "MS-SSIM is no gate: neither high nor low figures are better",
        "NIQE is no gate: its parameters",
    ):
        assert f"\n# {comment}" in text


def test_a_raised_alarm_is_commented_out(tmp_path):
    text = gates.start_file(run(("copies", True)))
    assert "# - {alarm: any}" in text
    assert len(load(tmp_path, text)) == 1


def test_bounds_of_the_start_file_hold_refuse_collapse_and_are_short(tmp_path):
    random = np.random.default_rng(0)
    metrics = {}
    for index in range(300):
        value, half = random.normal() * 10 ** random.uniform(-6, 6), 10 ** random.uniform(-8, 6)
        side = random.choice([-1, 1])
        floors = {"repeated": float(value + side * 10 ** random.uniform(-8, 7))}
        interval = [float(value - half * random.random()), float(value + half)] if index % 3 else None
        better = "lower" if side > 0 else "higher"
        metrics[f"metric {index}"] = row(float(value), interval=interval, better=better, floors=floors)
    score = run(**metrics)
    found = gates.check(load(tmp_path, gates.start_file(score)), score)
    assert len(found) == 300
    assert all(entry["held"] for entry in found)


def test_a_model_just_as_good_breaks_a_bound_of_the_start_file_once_in_forty_runs(tmp_path):
    first, second = np.random.default_rng(1).normal(100, 5, (2, 4000))
    error = 1.96 * 5
    sides = ["lower", "higher"] * 2000
    rows = {
        str(index): row(value, interval=[value - error, value + error], better=side, floors=None)
        for index, (value, side) in enumerate(zip(first.tolist(), sides, strict=True))
    }
    again = {str(index): row(value) | {"floors": None} for index, value in enumerate(second.tolist())}
    broken = [not entry["held"] for entry in gates.check(load(tmp_path, gates.start_file(run(**rows))), run(**again))]
    assert 0.01 < np.mean(broken) < 0.03, "2.5 %, less what rounding outwards gives"


def test_hostile_text_stays_in_its_line(tmp_path):
    names = [
        "a\nb",
        "- {alarm: any}",
        "x\u2028- y",
        "q\"'#",
        "\u00e9\U0001f600",
        "yes",
        "1.5",
        "\x07\x85",
        "\ud800",
        "long " * 60,
    ]
    metrics = {name: row() for name in names} | {f"no {name}": {"value": None, "reason": name * 2} for name in names}
    score = run(**metrics)
    bounds = load(tmp_path, gates.start_file(score))
    assert [bound.metric for bound in bounds] == names
    assert all(entry["held"] for entry in gates.check(bounds, score))


def test_a_run_without_any_gate_is_an_error():
    with pytest.raises(MedsynthError, match="no metric of this run can be a gate"):
        gates.start_file(run(("copies", False), NIQE=row()))


def test_every_block_of_the_guide_is_yaml_and_its_gates_load(tmp_path):
    blocks = re.findall(r"^```yaml\n(.*?)^```", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    kinds = [type(yaml.safe_load(block)) for block in blocks]
    assert kinds.count(dict) == 2, "GitHub and GitLab"
    assert kinds.count(list) >= 2
    for block, kind in zip(blocks, kinds, strict=True):
        if kind is list:
            assert load(tmp_path, block)


def test_the_continuous_integration_of_the_guide_uploads_the_report_also_when_a_gate_breaks():
    blocks = re.findall(r"^```yaml\n(.*?)^```", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    github, gitlab = (found for found in map(yaml.safe_load, blocks) if isinstance(found, dict))
    (job,) = github["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    report = next(step for step in job["steps"] if "report_paths" in step.get("with", {}))
    assert report["if"] == "always()"
    (other,) = gitlab.values()
    assert other["artifacts"]["when"] == "always"
    for lines, file in (
        (commands, report["with"]["report_paths"]),
        (other["script"], other["artifacts"]["reports"]["junit"]),
    ):
        assert any("medsynth evaluate" in line and f"--junit {file}" in line for line in lines)
