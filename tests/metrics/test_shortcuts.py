"""Shortcuts: a marker that goes with a finding is found by the real command, and none is found where there is none."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from medsynth_cli.app import main
from medsynth_cli.files import pixels, records
from medsynth_cli.metrics import alarms, cues, probe, shortcuts
from medsynth_cli.metrics.comparison import Comparison
from medsynth_cli.metrics.imagesets import ImageSet
from medsynth_cli.metrics.observers import Observers
from medsynth_cli.recognition.observers import Observer
from medsynth_cli.runtime import bundles

CPU = torch.device("cpu")
FEATURES = "effnet-lite2"


def cue(count, distance, seed, rate=0.3, dimension=5):
    """A cue that shifts one feature by so many standard deviations with the finding."""
    random = np.random.default_rng(seed)
    truth = (random.random((count, 1)) < rate).astype(np.float32)
    features = random.normal(size=(count, dimension))
    features[:, :1] += distance * truth
    return cues.Cues(features, truth, np.arange(count))


def images(count, seed, shift=0.0, asked_alike=True, patient="p"):
    """Images of either view, which feature 0 shows, and with a finding that AP films have more often."""
    random = np.random.default_rng(seed)
    views = random.random(count) < 0.5
    seen = views if asked_alike else ~views
    sick = random.random(count) < np.where(views, 0.8, 0.2)
    features = random.normal(size=(count, 6))
    features[:, 0] += 4 * seen
    features[:, 1] += shift
    meta = [
        {"id": f"{patient}{seed}-{n}", "view": "AP" if ap else "PA", "labels": ["Effusion"] if own else []}
        for n, (ap, own) in enumerate(zip(views, sick, strict=True))
    ]
    return ImageSet(f"{patient}{seed}", meta, {FEATURES: features.astype(np.float32)})


@pytest.fixture(scope="module")
def observers():
    return Observers(bundles.load("cxr-mini"), CPU)


@pytest.mark.parametrize(("shift", "low", "high"), [(0.0, 0.35, 0.65), (4.0, 0.97, 1.0)])
def test_synthetic_images_are_told_from_real_ones_if_they_differ(observers, shift, low, high):
    found = shortcuts.score(Comparison(images(80, 1, shift), images(120, 2), images(80, 3), observers))
    origin = found["real or synthetic-EffNet"]
    assert low <= origin["value"] <= high
    assert origin["interval"][0] <= origin["value"] <= origin["interval"][1]
    assert origin["floors"]["training"] == pytest.approx(0.5, abs=0.15)
    assert origin["floors"]["repeated"] > 0.95


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    """With the probes fixed it would in 80 of 100 on noise: folds share what they were trained on."""
    held = 0
    for seed in range(30):
        random, groups = np.random.default_rng(seed), np.arange(100)
        rankings = shortcuts._apart(random.normal(size=(40, 6)), random.normal(size=(60, 6)), groups, seed)
        value = np.mean([ranking.auroc() for ranking in rankings])
        low, high = probe.cross_validated(value, probe.drawn(rankings, groups, seed)[:200])
        held += low <= 0.5 <= high
    assert held >= 27


@pytest.mark.parametrize("alike", [True, False])
def test_the_view_that_was_asked_for_is_looked_for(observers, alike):
    found = shortcuts.score(Comparison(images(80, 1, asked_alike=alike), images(120, 2), images(80, 3), observers))
    view = found["view from features-EffNet"]
    assert view["value"] == pytest.approx(0.998 if alike else 0.002, abs=0.02)
    assert view["floors"]["real"] == pytest.approx(0.998, abs=0.02)
    assert view["floors"]["training"] == pytest.approx(0.998, abs=0.02)


def test_requests_that_link_view_and_finding_more_than_real_images_do(observers):
    real = images(200, 2)
    same, linked = images(100, 1), images(100, 1)
    for meta in linked.meta:
        meta["labels"] = ["Effusion"] if meta["view"] == "AP" else []
    excess = [
        shortcuts.score(Comparison(ours, real, None, observers))["finding from view excess"] for ours in (same, linked)
    ]
    assert abs(excess[0]["value"]) < 0.1
    assert excess[0]["interval"][0] < 0 < excess[0]["interval"][1]
    assert excess[1]["value"] == pytest.approx(0.2, abs=0.07), "1 instead of 0.8"
    assert excess[1]["interval"][0] > 0


def test_what_cannot_be_had_is_said(observers):
    ours, real = images(60, 1), images(60, 2)
    plain = ImageSet("plain", [{"id": meta["id"], "labels": meta["labels"]} for meta in ours.meta], ours._results)
    found = shortcuts.score(Comparison(plain, real, None, observers))
    assert "no view that" in found["view from features-EffNet"]["reason"]
    assert "names a view, a sex or an age" in found["finding from view"]["reason"]
    assert "no images" in found["finding from border"]["reason"]
    assert {a["name"]: a["raised"] for a in alarms.check(Comparison(ours, real, None, observers), {})}[
        "shortcut"
    ] is None


def test_more_positives_are_no_excess():
    """Six times as many positives would teach the probe more; at the same numbers there is nothing left."""
    real, ours = cue(400, 1.0, 0, rate=0.05, dimension=60), cue(400, 1.0, 1, rate=0.5, dimension=60)
    told = cues.compare(ours, real, ["Effusion"])["Effusion"]
    low, high = told.excess_interval()
    assert low < 0 < high
    assert told.value < 0.85
    more, fewer = cues.compare(ours, ours, ["Effusion"])["Effusion"].value, told.value
    assert more > fewer, "with all of them it tells more"


def test_an_interval_for_many_findings_together_is_wider():
    told = cues.compare(cue(200, 1.0, 0), cue(200, 1.0, 1), ["Effusion"])["Effusion"]
    one, ten = told.excess_interval(1), told.excess_interval(10)
    assert (ten[1] - ten[0]) / (one[1] - one[0]) == pytest.approx(2.807 / 1.96, rel=1e-3)


def test_only_the_corners_are_looked_at():
    seen = []
    eye = Observer("eye", "", lambda batch: seen.append(batch) or batch.flatten(1)[:, :1], CPU)
    batch = np.full((2, 100, 80), 9, np.uint8)
    batch[:, 25:75], batch[:, :, 20:60] = 200, 200
    batch[1, :25, 60:] = 77
    Observers(bundles.load("cxr-mini"), CPU).border(eye).batch(batch, 2)
    assert seen[0].shape == (2, 100, 80)
    assert (seen[0][0] == 9).all()
    assert (seen[0][1, :49, 41:] == 77).all()
    assert (seen[0][1, 51:] == 9).all()


def shifted(chests, count, seed):
    """Radiographs, shifted a little, and which half of them are asked to show an effusion, by chance."""
    random = np.random.default_rng(seed)
    found = [np.roll(chests[n % len(chests)], random.integers(-6, 7, 2), (0, 1)) for n in range(count)]
    return np.stack(found), random.permutation(np.arange(count) % 2)


def stamp(images):
    """The images with an L in the corner."""
    stamped = images.copy()
    stamped[:, 8:52, 200:211], stamped[:, 41:52, 200:233] = 255, 255
    return stamped


def test_a_marker_that_goes_with_a_finding_raises_the_alarm(observers, chests):
    look = observers.border(observers.extractor("effnet"))
    (ours, asked), (real, shown) = shifted(chests, 80, 1), shifted(chests, 80, 2)
    plain, floor = look(ours), look(real)
    marked = plain.copy()
    marked[asked == 1] = look(stamp(ours[asked == 1]))
    everywhere = np.arange(80)
    raised = {}
    for name, features in (("marked", marked), ("plain", plain)):
        sides = [cues.Cues(*side, everywhere) for side in ((features, asked[:, None]), (floor, shown[:, None]))]
        told = cues.compare(*sides, ["Effusion"])
        rows = {f"finding from border{end}": row for end, row in cues.rows(told).items()}
        verdict = alarms.ALARMS["shortcut"](None, rows)
        raised[name] = verdict[0]
        assert "Effusion" in verdict[1]
    assert raised == {"marked": True, "plain": False}


def test_the_command_compares_the_corners_of_files(chests, tmp_path, capsys):
    for seed, name in enumerate(("ours", "real")):
        (tmp_path / name).mkdir()
        lines = []
        for n, (image, sick) in enumerate(zip(*shifted(chests, 24, seed), strict=True)):
            (tmp_path / name / f"{n}.png").write_bytes(pixels.encode_png(image))
            lines.append(json.dumps({"id": f"{name}-{n}", "image": f"{n}.png", "labels": ["Effusion"] * int(sick)}))
        (tmp_path / name / "meta.jsonl").write_text("\n".join(lines))
    argv = ["evaluate", tmp_path / "ours", "--real", tmp_path / "real", "--metrics", "shortcuts", "--utility"]
    assert main([*map(str, argv), "--by", "none", "--no-cache", "--quiet"]) == 0
    score = json.loads(capsys.readouterr().out)
    assert records.complaint(score, ("score",)) == ""
    border = score["metrics"]["finding from border"]
    assert border["extractor"] == "border effnet-lite2"
    assert {*border["floors"]} == {"real", "round trip", "repeated"}
    assert {*border["findings"]} == {"Effusion"}
    assert score["metrics"]["real or synthetic-EffNet"]["floors"]["round trip"] > 0.9, "the bundled reference has it"
    assert {alarm["name"]: alarm["raised"] for alarm in score["alarms"]}["shortcut"] is False
    assert "no finding that 5 images" in score["metrics"]["utility synthetic-EffNet"]["reason"]
