"""`medsynth evaluate`, in process, on real files."""

from __future__ import annotations

import io
import json

import pytest

from medsynth_cli.app import main
from medsynth_cli.files import pixels, records

SHA = "0" * 64
TERMS = {"Effusion": "pleural_effusion", "Cardiomegaly": "cardiomegaly"}


@pytest.fixture(scope="module")
def generated(tmp_path_factory, chests, chest_meta):
    """A folder as ``generate`` leaves it: images, ``records.jsonl``, and a contact sheet that is no sample."""
    folder = tmp_path_factory.mktemp("generated")
    lines = []
    for chest, meta in zip(chests, chest_meta, strict=True):
        (folder / f"{meta['id']}.png").write_bytes(pixels.encode_png(chest))
        findings = [{"term": TERMS[label], "present": True} for label in meta["labels"]]
        record = {"kind": "image", "id": meta["id"], "source_id": meta["id"], "image": f"{meta['id']}.png", "seed": 1}
        record |= {"bundle": {"name": "small", "sha256": SHA}, "codes_sha256": SHA, "findings": findings}
        lines.append(records.dumps(record | {"labels": meta["labels"]}) + "\n")
    (folder / "records.jsonl").write_text("".join(lines))
    (folder / "contact-sheet.png").write_bytes(pixels.encode_png(chests[0]))
    return folder


def run(capsys, *argv):
    """Exit code, the one JSON object on stdout (None if there is none), and stderr."""
    code = main(["evaluate", *map(str, argv)])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else None, err


def test_images_against_themselves(generated, small_bundle, tmp_path, capsys):
    copy = tmp_path / "score.json"
    code, score, err = run(
        capsys, generated, "--bundle", small_bundle, "--real", generated, "--metrics", "fd,kid,prdc", "--json", copy
    )
    assert code == 0
    assert records.complaint(score, ("score",)) == ""
    assert json.loads(copy.read_text()) == score
    assert score["counts"] == {"synthetic": 12, "real": 12, "failed": 0}
    metrics = score["metrics"]
    assert metrics["FD-EffNet"]["value"] == pytest.approx(0, abs=0.01)
    assert metrics["FD-EffNet"]["extractor"] == "effnet-lite2"
    assert "biased" in metrics["FD-EffNet"]["note"]
    assert metrics["KID-EffNet"]["value"] < 0
    assert metrics["coverage"]["value"] == metrics["precision"]["value"] == 1
    assert "FD-EffNet" in err
    assert "biased" in err


def test_the_bundled_reference_is_the_default_and_has_no_inception_features(generated, small_bundle, capsys):
    code, score, _ = run(capsys, generated, "--bundle", small_bundle, "--metrics", "kid,auroc")
    assert code == 0
    assert score["real"] == "small:chests"
    assert score["metrics"]["KID"]["value"] is None
    assert "Inception" in score["metrics"]["KID"]["reason"]
    effusion = score["metrics"]["AUROC Effusion"]
    assert (effusion["n"], effusion["positives"]) == (12, 6)
    assert effusion["interval"][0] <= effusion["value"] <= effusion["interval"][1]
    assert effusion["real"] == pytest.approx(effusion["value"], abs=0.03), "the reference is the same images"


def test_records_on_stdin_resolve_against_the_working_directory(generated, small_bundle, monkeypatch, capsys):
    lines = (generated / "records.jsonl").read_text().splitlines()
    effusions = [line for line in lines if '"pleural_effusion"' in line]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join([effusions[0], '{"kind": "image"}', effusions[2]])))
    monkeypatch.chdir(generated)
    code, score, err = run(capsys, "-", "--bundle", small_bundle, "--real", "small:chests", "--metrics", "prdc,auroc")
    assert code == 3
    failure = json.loads(err.splitlines()[0])
    assert (failure["file"], failure["line"]) == ("<stdin>", 2)
    assert score["counts"] == {"synthetic": 2, "real": 12, "failed": 1}
    effusion = score["metrics"]["AUROC Effusion"]
    assert effusion["value"] is None
    assert "nothing to tell it from" in effusion["reason"]
    assert "more than 5" in score["metrics"]["coverage"]["reason"]


def test_gates_are_named_when_they_break_and_unreadable_images_are_reported(generated, small_bundle, tmp_path, capsys):
    for name in ("chest-0.png", "chest-1.png", "chest-2.png"):
        (tmp_path / name).write_bytes((generated / name).read_bytes())
    (tmp_path / "broken.png").write_bytes(b"no picture")
    gate = tmp_path / "gates.yaml"
    gate.write_text(
        '- {metric: KID-EffNet, comparison: ">", threshold: 1000}\n'
        '- {metric: KID-EffNet, comparison: "<", threshold: 1000}\n'
        '- {metric: KID, comparison: "<", threshold: 1000}\n'
    )
    failed = tmp_path / "failed.jsonl"
    code, score, err = run(
        capsys, tmp_path, "--bundle", small_bundle, "--metrics", "kid", "--gate", gate, "--errors", failed
    )
    assert code == 4
    assert [entry["held"] for entry in score["gates"]] == [False, True, False]
    assert "KID-EffNet > 1000 does not hold" in err
    assert "KID < 1000 does not hold" in err
    assert "KID-EffNet < 1000" not in err
    assert score["counts"]["synthetic"] == 3
    assert json.loads(failed.read_text())["id"] == "broken"


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (("missing",), 2, "missing"),
        ((".", "--metrics", "fd,beauty"), 2, "no metric beauty"),
        ((".", "--gate", "missing.yaml"), 2, "missing.yaml"),
        ((".", "--real", "small:other"), 2, "no reference 'other'"),
        ((".", "--real", "nowhere"), 2, "nowhere"),
        ((".", "--device", "cuda:99"), 2, "no device 'cuda:99'"),
        (("broken",), 1, "no image could be read"),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(
    small_bundle, chests, tmp_path, monkeypatch, capsys, argv, code, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.png").write_bytes(pixels.encode_png(chests[0]))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "x.png").write_bytes(b"no picture")
    found, score, err = run(capsys, *argv, "--bundle", small_bundle)
    assert (found, score) == (code, None)
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err
