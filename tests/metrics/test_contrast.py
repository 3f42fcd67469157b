"""Two scores compared: against scipy, against tests that were closed by hand, and on runs that do not differ."""

from __future__ import annotations

import io
import itertools
import json
import math

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import contrast

LITE2 = {"lite2": {"dimension": 1280, "sha256": "a" * 64, "size_px": 256}}


def row(value, half=5.0, **more):
    interval = None if half is None else [value - half, value + half]
    return {"value": value, "interval": interval, "better": "lower", "n": 354, "n_real": 354} | more


def run(metrics=None, **more):
    return {
        "kind": "score",
        "real": "mini:test",
        "quick": False,
        "counts": {"synthetic": 354, "real": 354},
        "extractors": LITE2,
        "metrics": metrics or {"FD": row(100.0, extractor="lite2")},
    } | more


def one(a, b):
    (found,) = contrast.compare(run({"KID": a}), run({"KID": b}))
    return found


def scores_of_means(samples):
    """A score whose metrics are the means of the rows of ``samples``, with their normal intervals."""
    means, errors = samples.mean(1), 1.96 * samples.std(1, ddof=1) / math.sqrt(samples.shape[1])
    return run({f"m{i}": row(float(mean), float(error)) for i, (mean, error) in enumerate(zip(means, errors))})  # noqa: B905


def test_difference_interval_and_p_are_those_of_two_normal_estimates():
    found = one(row(100.0, half=1.959964 * 3), row(110.0, half=1.959964 * 4))
    error = stats.norm(scale=5.0)
    assert found["difference"] == 10
    assert found["p"] == pytest.approx(2 * error.sf(10), rel=1e-5)
    assert found["interval"] == pytest.approx([10 + error.ppf(0.025), 10 + error.ppf(0.975)], rel=1e-5)


def test_the_half_of_an_interval_that_faces_the_other_figure_counts():
    a, b = row(100.0, interval=[40.0, 103.0]), row(110.0, interval=[106.0, 300.0])
    up = one(a, b)
    assert up["interval"] == pytest.approx([5, 15]), "halves of 3 and 4"
    down = one(b, a)
    assert down["interval"] == pytest.approx([-15, -5])
    assert down["p"] == up["p"]


def test_an_empty_half_counts_as_half_of_the_whole():
    found = one(row(1.0, interval=[0.4, 1.0]), row(2.0, half=0.4))
    assert found["interval"] == pytest.approx([0.5, 1.5])


def test_equal_figures_do_not_differ():
    found = one(row(1.0), row(1.0))
    assert (found["difference"], found["p"], found["significant"], found["better"]) == (0, 1, False, None)


@pytest.mark.parametrize(("a", "b"), [(None, 1.0), (1.0, None), (0.0, 0.0)])
def test_without_spread_there_is_a_difference_and_no_p(a, b):
    found = one(row(100.0, half=a), row(90.0, half=b))
    assert (found["difference"], found["better"]) == (-10, "b")
    assert [found[name] for name in ("interval", "p", "p_holm", "significant")] == [None] * 4


def test_runs_that_do_not_differ_are_told_apart_in_one_case_of_twenty():
    random = np.random.default_rng(0)
    a, b = (scores_of_means(random.normal(5, 2, (4000, 200))) for _ in range(2))
    found = contrast.compare(a, b)
    p = np.array([entry["p"] for entry in found])
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.0105), "three standard errors of 4000 draws"
    assert stats.kstest(p, "uniform").pvalue > 0.01
    low, high = np.array([entry["interval"] for entry in found]).T
    assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(0.95, abs=0.0105)


def test_eight_metrics_together_err_in_one_comparison_of_twenty():
    random = np.random.default_rng(1)
    wrong = []
    for _ in range(800):
        a, b = (scores_of_means(random.normal(5, 2, (8, 100))) for _ in range(2))
        wrong.append(any(entry["significant"] for entry in contrast.compare(a, b)))
    assert np.mean(wrong) == pytest.approx(0.05, abs=0.023), "three standard errors of 800 draws"


def test_a_difference_that_is_there_is_found_among_seven_that_are_not():
    random = np.random.default_rng(2)
    shift = np.array([1.0] + [0.0] * 7)[:, None]
    found = contrast.compare(*(scores_of_means(random.normal(5 + s, 2, (8, 200))) for s in (0, shift)))
    assert (found[0]["significant"], found[0]["better"]) == (True, "a")


@pytest.mark.parametrize("seed", range(20))
def test_holm_is_the_closure_of_bonferroni(seed):
    p = np.random.default_rng(seed).uniform(0, 0.3, 6).round(2).tolist()
    subsets = [s for size in range(1, 7) for s in itertools.combinations(range(6), size)]
    closed = [max(min(1, len(s) * min(p[j] for j in s)) for s in subsets if i in s) for i in range(6)]
    assert contrast.holm(p) == pytest.approx(closed)


def test_the_correction_counts_only_metrics_with_a_p():
    metrics = {"KID": row(100.0, half=1.0), "other": row(1.0, half=None), "missing": {"value": None, "reason": "x"}}
    changed = metrics | {"KID": row(102.0, half=1.0)}
    found = contrast.compare(run(metrics), run(changed))[0]
    assert found["p_holm"] == found["p"]
    assert found["significant"]


@pytest.mark.parametrize(
    ("direction", "better"), [("lower", "a"), ("higher", "b"), (None, None)], ids=["lower", "higher", "neither"]
)
def test_which_is_better_goes_by_the_direction(direction, better):
    assert one(row(1.0, better=direction), row(2.0, better=direction))["better"] == better


def test_metrics_of_one_run_only_are_named_and_not_compared():
    a = run({"A": row(1.0), "FID": {"value": None, "reason": "no weights"}})
    b = run({"FID": row(2.0), "B": row(1.0)})
    found = {entry["metric"]: entry for entry in contrast.compare(a, b)}
    assert list(found) == ["A", "FID", "B"]
    assert [entry["reason"] for entry in found.values()] == ["not in B", "no value in A: no weights", "not in A"]
    assert (found["FID"]["a"], found["FID"]["b"]) == (None, 2.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"real": "mini:other"}, "mini:test, the other against mini:other"), ({"quick": True}, "quick")],
)
def test_runs_that_mean_different_things_are_refused(change, message):
    with pytest.raises(MedsynthError, match=message) as error:
        contrast.compare(run(), run(**change))
    assert error.value.hint


@pytest.mark.parametrize(
    "extractors",
    [
        {"lite2": LITE2["lite2"] | {"sha256": "b" * 64}},
        {"lite2": LITE2["lite2"] | {"size_px": 128}},
        {},
    ],
    ids=["hash", "size", "unknown"],
)
def test_figures_of_different_extractors_are_not_compared(extractors):
    metrics = {"FD": row(100.0, extractor="lite2"), "AUROC": row(0.8, half=0.1)}
    fd, auroc = contrast.compare(run(metrics), run(metrics, extractors=extractors))
    assert "other extractor: lite2 aaaaaaaaaaaa at 256 px and lite2" in fd["reason"]
    assert "p" not in fd
    assert auroc["p"] == 1, "no extractor had a part in it"


def test_an_extractor_of_another_name_is_another_extractor():
    (found,) = contrast.compare(run(), run({"FD": row(100.0, extractor="inception")}))
    assert found["reason"].endswith("and inception")


@pytest.mark.parametrize(
    ("metric", "change", "noted"),
    [
        ("FD-EffNet", {"n": 350}, True),
        ("FID", {"n_real": 300}, True),
        ("coverage", {"n": 100}, True),
        ("Vendi-EffNet", {"n": 100}, True),
        ("FD-EffNet", {"n": 351}, False),
        ("FD∞-EffNet", {"n": 100}, False),
        ("KID", {"n": 100}, False),
    ],
)
def test_other_counts_are_noted_where_they_bias(metric, change, noted):
    (found,) = contrast.compare(run({metric: row(1.0)}), run({metric: row(2.0) | change}))
    assert found["p"] is not None
    assert ("differs" in found.get("note", "")) == noted


def test_what_is_found_is_json():
    found = contrast.compare(run(), run({"FD": row(90.0, extractor="lite2"), "X": row(1.0)}))
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_table_shows_figures_and_notes_and_takes_names_as_they_are():
    a = run({"[red]FD": row(100.0, half=1.0), "FID": {"value": None, "reason": "no weights"}, "KID": row(3.0, 1.0)})
    b = run({"[red]FD": row(90.0, half=1.0), "FID": row(1.0), "KID": row(3.1, 1.0)})
    out = io.StringIO()
    contrast.show(contrast.compare(a, b), Console(file=out, width=160))
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.getvalue().splitlines() if "│" in line]
    assert lines == [
        ["[red]FD", "100", "90", "-10", "-11.41 to -8.586", "< 0.001", "B"],
        ["FID", "-", "1", "-", "-", "-", ""],
        ["KID", "3", "3.1", "0.1", "-1.314 to 1.514", "0.890", "A, within chance"],
    ]
    assert "FID: no value in A: no weights" in out.getvalue()


def test_a_score_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "score.json"
    path.write_text(json.dumps(run()))
    assert contrast.load(path) == run()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"kind": "image"}', "record of kind 'image', expected score"),
        (b"[]", "not a JSON object"),
        (b'{"kind": "score", "metrics": {"FD": {}}, "counts": {}}', "metrics.FD: 'value' is a required"),
        (b'{"kind": "score", "metrics": {"FD": {"value": NaN}}, "counts": {}}', "NaN is no number"),
        (b"{", "not one JSON object"),
        (b"{}\n{}", "not one JSON object"),
        (b"\xff", "not UTF-8"),
        (None, "No such file"),
    ],
)
def test_a_file_that_is_no_score_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "score.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MedsynthError, match=message) as error:
        contrast.load(path)
    assert str(path) in error.value.message
    assert "--json" in error.value.hint
