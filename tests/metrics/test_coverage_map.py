"""The coverage map: counted by hand, with the holes of the vocabulary, and as the command finds it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from medsynth_cli import modality
from medsynth_cli.app import main
from medsynth_cli.files import pixels, records
from medsynth_cli.metrics import coverage_map
from medsynth_cli.metrics.comparison import Comparison
from medsynth_cli.metrics.imagesets import ImageSet

LABELS = ("Consolidation", "Nodule", "Hernia")


def finding(term, anatomy=None, side=None, present=True):
    return {"term": term, "anatomy": anatomy, "side": side, "present": present}


MADE = [
    [finding("consolidation", "lower_lobe", "left"), finding("consolidation", "lower_lobe", "right")],
    [finding("consolidation", "lower_lobe"), finding("nodule", present=False)],
    [finding("nodule"), finding("lymphadenopathy", "mediastinum")],
    [finding("cardiomegaly"), finding("hiatal_hernia")],
    [],
]
PROBABILITIES = [[0.9, 0.9, 0.9], [0.4, 0.9, 0.1], [0.9, 0.7, 0.1], [0.9, 0.1, 0.9], [0.9, 0.9, 0.1]]
LOST = [[finding("consolidation", "lower_lobe")], [finding("consolidation", "upper_lobe"), finding("made_up", "tail")]]
REAL = [({"labels": ["Consolidation"]}, [0.8, 0.2, 0.5]), ({"labels": ["Nodule"]}, [0.3, 0.7, 0.5])]
"""At best, the judge sees a consolidation from 0.8 and a nodule from 0.7 on; no real image shows a hernia."""


@pytest.fixture(scope="module")
def observers(judged_by):
    return judged_by(LABELS)


@pytest.fixture(scope="module")
def comparison(observers):
    meta = [{"id": str(number), "findings": findings} for number, findings in enumerate(MADE)]
    lost = [{"id": f"lost-{number}", "findings": findings} for number, findings in enumerate(LOST)]
    judged = {"judge": np.array(PROBABILITIES, np.float32)}
    real = ImageSet("real", [meta for meta, _ in REAL], {"judge": np.array([said for _, said in REAL], np.float32)})
    return Comparison(ImageSet("made", meta, judged, lost=lost), real, None, observers)


def cells(found):
    """(anatomy, pathology) -> (requested, made, recognised), without empty cells."""
    counts = [np.array(found[key], object) for key in ("requested", "made", "recognised")]
    return {
        (anatomy, pathology): tuple(count[row, column] for count in counts)
        for row, anatomy in enumerate(found["anatomy"])
        for column, pathology in enumerate(found["pathology"])
        if any(count[row, column] for count in counts)
    }


def test_cells_counted_by_hand(comparison):
    assert cells(coverage_map.of(comparison, recognise=True)) == {
        ("lower lobe", "consolidation"): (3, 2, 1),
        ("upper lobe", "consolidation"): (1, 0, 0),
        ("mediastinum", "lymphadenopathy"): (1, 1, None),
        ("cardiac silhouette", "cardiomegaly"): (1, 1, None),
        ("no place stated", "nodule"): (1, 1, 1),
        ("no place stated", "hiatal hernia"): (1, 1, None),
        ("tail", "made_up"): (1, 0, None),
    }


def test_without_the_judge_nothing_is_recognised_and_nothing_unrecognised(comparison):
    found = coverage_map.of(comparison, recognise=False)
    assert {value for row in found["recognised"] for value in row} == {None}
    assert found["made"] == coverage_map.of(comparison, recognise=True)["made"]


def test_holes_are_the_pairs_of_the_vocabulary(comparison):
    found = coverage_map.of(comparison, recognise=True)
    folder = modality.find("chest_xray")
    anatomy, pathology = (yaml.safe_load((folder / f"{kind}.yaml").read_text()) for kind in ("anatomy", "pathology"))
    wanted = {(anatomy[key]["name"], term["name"]) for term in pathology.values() for key in term["anatomy"]}
    assert {(found["anatomy"][row], found["pathology"][column]) for row, column in found["plausible"]} == wanted
    assert len(wanted) == len(found["plausible"])
    assert found["anatomy"][-2:] == ["tail", coverage_map.UNPLACED]
    assert found["pathology"][-1] == "made_up"
    hole = found["anatomy"].index("lung apex"), found["pathology"].index("consolidation")
    assert [found[key][hole[0]][hole[1]] for key in ("requested", "made", "recognised")] == [0, 0, 0]


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        ({"labels": ["Pleural_Thickening", "Effusion"]}, {"pleural thickening", "pleural effusion"}),
        ({"prompt": "Nodule in the left upper lobe. No effusion."}, {"nodule"}),
        ({"labels": []}, set()),
        ({"findings": "free text of a data set"}, None),
        ({}, None),
    ],
)
def test_labels_and_prompts_ask_as_well(observers, record, wanted):
    images = ImageSet("made", [{"id": "a"} | record], {})
    found = coverage_map.of(Comparison(images, images, None, observers), recognise=False)
    assert (found if found is None else {pathology for _, pathology in cells(found)}) == wanted


def test_images_that_are_missing_were_requested(small_bundle, chests, chest_meta, tmp_path, capsys):
    lines = []
    for number, (chest, meta) in enumerate(zip(chests[:6], chest_meta, strict=False)):
        if number:
            (tmp_path / f"{number}.png").write_bytes(pixels.encode_png(chest) if number > 1 else b"no picture")
        side = {"term": "pleural_effusion", "anatomy": "pleural_space", "side": "left", "severity": None}
        record = {"kind": "image", "id": meta["id"], "source_id": meta["id"], "image": f"{number}.png", "seed": 1}
        record |= {"bundle": {"name": "b", "sha256": "0" * 64}, "codes_sha256": "0" * 64}
        lines.append(records.dumps(record | {"findings": [side | {"present": number < 4}]}) + "\n")
    (tmp_path / "records.jsonl").write_text("".join(lines))
    page = tmp_path / "report.html"
    argv = ["evaluate", str(tmp_path), "--bundle", str(small_bundle), "--metrics", "f1,report-alignment", "--no-cache"]
    assert main([*argv, "--html", str(page)]) == 3
    score = json.loads(capsys.readouterr().out)
    assert records.complaint(score, ("score",)) == ""
    (cell,) = cells(score["coverage_map"]).items()
    name, (requested, made, recognised) = cell
    assert name == ("pleural space", "pleural effusion")
    assert (requested, made) == (4, 2)
    assert recognised in (0, 1, 2)
    assert f"{recognised}/2/4</td>" in page.read_text()
    assert "needs records with reports" in score["metrics"]["report alignment"]["reason"]
