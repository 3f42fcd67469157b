"""`medsynth evaluate`, in process, on real files."""

from __future__ import annotations

import io
import json
from xml.etree import ElementTree

import pytest

from medsynth_cli.app import main
from medsynth_cli.files import pixels, records

FILES = {
    "--json": "score.json",
    "--html": "report.html",
    "--junit": "junit.xml",
    "--init-gates": "gates.yaml",
    "--paper": "paper.md",
}
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
    code = main(["evaluate", "--no-cache", *map(str, argv)])
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
    assert score["counts"] == {"synthetic": 12, "real": 12, "train": 6, "failed": 0}
    metrics = score["metrics"]
    assert metrics["FD-EffNet"]["value"] == pytest.approx(0, abs=0.01)
    assert metrics["FD-EffNet"]["extractor"] == "effnet-lite2"
    assert "biased" in metrics["FD-EffNet"]["note"]
    assert metrics["KID-EffNet"]["value"] < 0
    assert metrics["coverage-EffNet"]["value"] == metrics["precision-EffNet"]["value"] == 1
    floors = metrics["FD-EffNet"]["floors"]
    assert 1 < floors["training"] < floors["round trip"] < floors["repeated"]
    assert metrics["coverage-EffNet"]["floors"]["repeated"] < 0.7
    assert score["extractors"]["effnet-lite2"]["dimension"] == 1280
    assert "FD-EffNet" in err
    assert "biased" in err


def test_the_bundled_reference_is_the_default_and_has_no_inception_features(generated, small_bundle, capsys):
    options = ("--metrics", "kid,auroc", "--extractors", "inception,effnet")
    code, score, _ = run(capsys, generated, "--bundle", small_bundle, *options)
    assert code == 0
    assert (score["real"], score["train"]) == ("small:chests", "small:trained")
    assert score["metrics"]["KID"]["value"] is None
    assert "nception" in score["metrics"]["KID"]["reason"]
    assert score["metrics"]["KID-EffNet"]["value"] < 0.01
    effusion = score["metrics"]["AUROC Effusion"]
    assert (effusion["n"], effusion["positives"]) == (12, 6)
    assert effusion["interval"][0] <= effusion["value"] <= effusion["interval"][1]
    assert effusion["floors"]["real"] == pytest.approx(effusion["value"], abs=0.03), "the reference is the same images"
    assert effusion["floors"]["repeated"] == 0.5


def test_records_on_stdin_resolve_against_the_working_directory(generated, small_bundle, monkeypatch, capsys):
    lines = (generated / "records.jsonl").read_text().splitlines()
    effusions = [line for line in lines if '"pleural_effusion"' in line]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join([effusions[0], '{"kind": "image"}', effusions[2]])))
    monkeypatch.chdir(generated)
    code, score, err = run(capsys, "-", "--bundle", small_bundle, "--real", "small:chests", "--metrics", "prdc,auroc")
    assert code == 3
    failure = json.loads(err.splitlines()[0])
    assert (failure["file"], failure["line"]) == ("<stdin>", 2)
    assert score["counts"] == {"synthetic": 2, "real": 12, "train": 6, "failed": 1}
    effusion = score["metrics"]["AUROC Effusion"]
    assert effusion["value"] is None
    assert "nothing to tell it from" in effusion["reason"]
    assert "more than 5" in score["metrics"]["coverage-EffNet"]["reason"]


def test_gates_are_named_when_they_break_and_unreadable_images_are_reported(generated, small_bundle, tmp_path, capsys):
    for name in ("chest-0.png", "chest-1.png", "chest-2.png"):
        (tmp_path / name).write_bytes((generated / name).read_bytes())
    (tmp_path / "broken.png").write_bytes(b"no picture")
    gate = tmp_path / "gates.yaml"
    gate.write_text(
        '- {metric: KID-EffNet, comparison: ">", threshold: 1000}\n'
        '- {metric: KID-EffNet, comparison: "<=", threshold: 0.99, relative_to: repeated}\n'
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
    assert "0.99" not in err
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
        ((".", "--by", "height"), 2, "no groups by height"),
        ((".", "--extractors", "eyes"), 2, "no extractor 'eyes'"),
        ((".", "--paper", "paper.doc"), 2, "no format for a paper"),
        ((), 2, "no images named"),
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


def test_a_second_run_is_the_same_and_looks_at_nothing(generated, small_bundle, tmp_path, monkeypatch, capsys):
    argv = ["evaluate", str(generated), "--bundle", str(small_bundle), "--metrics", "fd,auroc,f1,calibration,niqe"]
    argv += ["--cache", str(tmp_path)]
    assert main(argv) == 0
    first = capsys.readouterr().out
    monkeypatch.setattr("medsynth_cli.recognition.observers.Observer.batch", None)
    assert main(argv) == 0
    assert capsys.readouterr().out == first


def test_everything_that_a_result_is_written_to(generated, small_bundle, tmp_path, capsys):
    files = {option: tmp_path / name for option, name in FILES.items()}
    options = [part for option, path in files.items() for part in (option, path)]
    code, score, _ = run(capsys, generated, "--bundle", small_bundle, "--metrics", "fd,auroc", *options)
    assert code == 0
    assert {alarm["name"] for alarm in score["alarms"]} >= {"mode collapse", "inverted images"}
    page = files["--html"].read_text()
    assert page.count("data:image/") >= 12
    assert "chest-11" in page
    assert ElementTree.parse(files["--junit"]).getroot().tag == "testsuites"
    assert "effnet-lite2" in files["--paper"].read_text()
    code, again, _ = run(
        capsys, generated, "--bundle", small_bundle, "--metrics", "fd,auroc", "--gate", files["--init-gates"]
    )
    assert code == 0
    assert again["gates"]
    assert all(entry["held"] for entry in again["gates"])
    assert main(["evaluate", "--compare", str(files["--json"]), str(files["--json"])]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["metric"]: row.get("difference") for row in rows}["FD-EffNet"] == 0


def test_a_quick_look_says_so(generated, small_bundle, monkeypatch, capsys):
    monkeypatch.setattr("medsynth_cli.commands.evaluate.QUICK", 8)
    _, score, err = run(capsys, generated, "--bundle", small_bundle, "--metrics", "vendi", "--quick")
    assert (score["quick"], score["counts"]["synthetic"]) == (True, 8)
    assert "quick look" in err


def test_cmmd_of_a_clip_model_and_of_one_that_cannot_be_had(generated, small_bundle, tmp_path, monkeypatch, capsys):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    layers = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = layers | {"image_size": 32, "patch_size": 16}
    config = CLIPConfig(text_config=layers | {"vocab_size": 9}, vision_config=vision, projection_dim=8)
    CLIPModel(config).save_pretrained(tmp_path)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(tmp_path)
    options = ("--metrics", "mmd", "--extractors", f"clip,clip:{tmp_path}", "--real", generated, "--by", "none")
    code, score, _ = run(capsys, generated, "--bundle", small_bundle, *options)
    assert code == 0
    assert "cannot be reached" in score["metrics"]["CMMD"]["reason"]
    found = score["metrics"][f"CMMD-{tmp_path}"]
    assert found["value"] == pytest.approx(0, abs=1e-9)
    assert found["floors"]["repeated"] > 0
    assert found["extractor"] == f"clip:{tmp_path}"
