"""Reader studies: what a reader is given tells nothing but the pixels, and what readers answer is scored rightly."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import math
import re
import shutil
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_page import BROWSER, Browser

from medsynth_cli.app import main
from medsynth_cli.files import pixels, records
from medsynth_cli.metrics import agreement, reader_scores, reader_study
from medsynth_cli.metrics.reader_answers import Answers

SHA = "0" * 64
FINDINGS = (["Effusion"], ["Cardiomegaly"], [])
TERMS = {"Effusion": "pleural_effusion", "Cardiomegaly": "cardiomegaly"}
CASES = 24


def image(seed: int, shape: tuple[int, int]) -> np.ndarray:
    """Waves, so that the images compress differently."""
    down, across = np.meshgrid(*(np.linspace(0, 1, side) for side in shape), indexing="ij")
    return np.uint8(127 + 120 * np.sin((3 + seed % 7) * down + seed * across))


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ``generate`` leaves it: 10 images of each finding, 30 more of none."""
    folder = tmp_path_factory.mktemp("synthetic")
    lines = []
    for number in range(60):
        labels = FINDINGS[number % 3] if number < 30 else []
        (folder / f"made-{number}.png").write_bytes(pixels.encode_png(image(number, (256, 256))))
        record = {
            "kind": "image",
            "id": f"made-{number}",
            "source_id": "made",
            "image": f"made-{number}.png",
            "seed": 1,
        }
        record |= {"bundle": {"name": "b", "sha256": SHA}, "codes_sha256": SHA, "view": "PA"}
        record |= {"findings": [{"term": TERMS[label], "present": True} for label in labels]}
        lines.append(records.dumps(record) + "\n")
    (folder / "records.jsonl").write_text("".join(lines))
    return folder


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JPEG files of other shapes, with EXIF data; two images a patient, mostly without findings, AP and PA."""
    folder = tmp_path_factory.mktemp("real")
    exif = Image.Exif()
    exif[0x010F] = "Maker of scanners"
    lines = []
    for number in range(120):
        shape = ((300, 240), (288, 288))[number % 2]
        picture = Image.fromarray(image(1000 + number, shape))
        picture.save(folder / f"scan-{number}.jpg", exif=exif)
        labels = FINDINGS[number % 3] if number < 36 else []
        labels = [*labels, "Mass"] if number % 4 == 0 else labels
        meta = {"image": f"scan-{number}.jpg", "id": f"scan-{number}", "patient": f"p{number // 2}", "labels": labels}
        lines.append(json.dumps(meta | {"view": ("AP", "PA")[number // 6 % 2]}) + "\n")
    (folder / "meta.jsonl").write_text("".join(lines))
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def write(run, synthetic, real, cache, tmp_path):
    """Write a study to ``tmp_path / study``, with more options; the result of the command."""

    def call(*more: object, folder: Path | None = None):
        arguments = ["evaluate", synthetic, "--cache", cache, "--real", real, "--cases", CASES, *more]
        return run(*arguments, "--reader-study", folder or tmp_path / "study")

    return call


def key_of(study: Path) -> list[dict]:
    return [json.loads(line) for line in study.with_name(study.name + ".key.jsonl").read_text().splitlines()]


def sheet(path: Path, rows: list[tuple[object, ...]]) -> Path:
    lines = [",".join(map(str, row)) for row in [("case", "answer", "confidence", "comment"), *rows]]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_nothing_but_pixels_tells_real_from_synthetic(write, tmp_path) -> None:
    done = write()
    study = tmp_path / "study"
    assert (done.code, done.out) == (0, "")
    assert str(study) in done.err
    assert f"{study}.key.jsonl" in done.err
    there = sorted(str(path.relative_to(study)) for path in study.rglob("*") if path.is_file())
    names = [f"case-{number:03d}" for number in range(1, CASES + 1)]
    assert there == sorted(["README.txt", "answers.csv", "index.html", *(f"images/{name}.png" for name in names)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study", "study.key.jsonl"]

    key = key_of(study)
    assert [line["id"] for line in key] == names
    images = [study / "images" / f"{name}.png" for name in names]
    assert len({path.stat().st_size for path in images}) == 1
    assert len({path.stat().st_mtime_ns for path in study.rglob("*") if path.is_file()}) == 1
    chunks = []
    for path, line in zip(images, key, strict=True):
        data = path.read_bytes()
        assert hashlib.sha256(data).hexdigest() == line["sha256"]
        with Image.open(io.BytesIO(data)) as opened:
            assert (opened.mode, opened.size, opened.info) == ("L", (256, 256), {})
        chunks.append(re.findall(rb"IHDR|tEXt|iTXt|zTXt|pHYs|eXIf|gAMA|iCCP|tIME|IEND", data))
    assert chunks == [[b"IHDR", b"IEND"]] * CASES

    words = b"".join((study / name).read_bytes() for name in ("README.txt", "answers.csv", "index.html"))
    assert not re.search(rb"made-\d|scan-\d|Effusion|Cardiomegaly", words)
    shown = re.findall(rb"data:image/png;base64,([^\"]+)", words)
    assert [base64.b64decode(found) for found in shown] == [path.read_bytes() for path in images]
    assert (study / "answers.csv").read_text().splitlines()[:2] == ["case,answer,confidence,comment", "case-001,,,"]


def test_sides_are_balanced_matched_and_shuffled(write, synthetic, real, tmp_path) -> None:
    assert write().code == 0
    key = key_of(tmp_path / "study")
    for line in key:
        assert records.complaint(line, ("reader-case",)) == ""
    truths = [line["truth"] for line in key]
    assert Counter(truths) == {"synthetic": CASES // 2, "real": CASES // 2}
    assert 4 < len(list(itertools.groupby(truths))) < CASES, "in no order"
    shown = {truth: Counter(tuple(line["labels"]) for line in key if line["truth"] == truth) for truth in set(truths)}
    # As many of each combination that was asked for, though half of the images show none.
    assert shown["synthetic"] == {("Effusion",): 4, ("Cardiomegaly",): 4, (): 4}
    assert shown["real"] == shown["synthetic"], "there are enough real ones without Mass"
    metas = {meta["id"]: meta for meta in map(json.loads, (real / "meta.jsonl").read_text().splitlines())}
    scans = [metas[line["image_id"]] for line in key if line["truth"] == "real"]
    assert {scan["view"] for scan in scans} == {"PA"}, "as all synthetic ones; the other views would do for findings"
    assert len({scan["patient"] for scan in scans}) == len(scans)
    for line in key:
        if line["truth"] == "real":
            expected = pixels.read(real / f"{line['image_id']}.jpg", 256)
        else:
            expected = pixels.read(synthetic / f"{line['image_id']}.png")
        np.testing.assert_array_equal(pixels.read(tmp_path / "study" / "images" / f"{line['id']}.png"), expected)


def test_the_seed_decides(write, tmp_path) -> None:
    def content(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder, seed in zip(folders, (5, 5, 6), strict=True):
        assert write("--seed", seed, folder=folder).code == 0
    assert content(folders[0]) == content(folders[1])
    assert content(folders[0]) != content(folders[2])
    assert key_of(folders[0]) == key_of(folders[1]) != key_of(folders[2])


def test_real_images_without_labels_are_drawn_all_the_same(run, synthetic, tmp_path) -> None:
    for number in range(8):
        (tmp_path / f"scan-{number}.png").write_bytes(pixels.encode_png(image(50 + number, (256, 256))))
    arguments = ["evaluate", synthetic, "--no-cache", "--real", tmp_path, "--cases", 8]
    assert run(*arguments, "--reader-study", tmp_path / "study").code == 0
    key = key_of(tmp_path / "study")
    assert {line["truth"]: "labels" in line for line in key} == {"synthetic": True, "real": False}


def test_a_study_is_replaced_only_when_asked_and_never_with_answers_in_it(write, tmp_path) -> None:
    study = tmp_path / "study"
    assert write().code == 0
    before = key_of(study)
    refused = write("--seed", 1)
    assert refused.code == 2
    assert "--overwrite" in refused.err
    assert key_of(study) == before
    assert write("--seed", 1, "--overwrite", "--cases", 8).code == 0
    assert len(key_of(study)) == len(list((study / "images").iterdir())) == 8
    (study / "answers.csv").write_text((study / "answers.csv").read_text().replace("case-001,,,", "case-001,real,3,"))
    refused = write("--overwrite")
    assert refused.code == 2
    assert "holds answers" in refused.err
    assert len(key_of(study)) == 8


def test_other_folders_and_bad_requests_are_refused(run, write, synthetic, tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for more, folder, said in [
        (["--overwrite"], "mine", "holds files, but has no key"),
        (["--cases", 7], "new", "half of them are real (--cases 8)"),
        (["--cases", 200], "new", "60 synthetic and 120 real images are too few for 200 cases"),
    ]:
        done = write(*more, folder=tmp_path / folder)
        assert (done.code, len(done.err.splitlines())) == (2, 1)
        assert said in done.err
    done = run("evaluate", synthetic, "--no-cache", "--reader-study", tmp_path / "new")
    assert done.code == 2
    assert "cxr-mini:nih-test holds no images to show (name real images with --real" in done.err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mine", "thesis.txt"]


@pytest.fixture(scope="module")
def written(synthetic, real, cache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study and its key."""
    folder = tmp_path_factory.mktemp("written")
    arguments = ["evaluate", synthetic, "--cache", cache, "--real", real, "--cases", CASES, "--quiet"]
    assert main([*map(str, arguments), "--reader-study", str(folder / "study")]) == 0
    return folder


@pytest.fixture
def study(written: Path, tmp_path: Path) -> Path:
    """A copy of the study."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return tmp_path / "study"


def test_one_reader_is_scored_as_by_hand(run, study, tmp_path) -> None:
    other = {"real": "synthetic", "synthetic": "real"}
    rows, expected = [], []
    wrong = {"synthetic": 2, "real": 3}
    for place, line in enumerate(key_of(study)[:-2]):  # the last two are not answered
        right = wrong[line["truth"]] <= 0
        wrong[line["truth"]] -= 1
        answer = line["truth"] if right else other[line["truth"]]
        rows.append((line["id"], answer, place % 5 + 1, ""))
        expected.append((line["truth"], right, (place % 5 + 1) * (1 if answer == "synthetic" else -1), line["labels"]))
    done = run("evaluate", "--reader-study", study, "--answers", sheet(tmp_path / "anna.csv", rows))
    assert done.code == 0
    (score,) = done.records
    assert records.complaint(score, ("reader-study",)) == ""
    reader = score["readers"]["anna"]
    assert (reader["answered"], reader["missing"], reader["unrated"]) == (22, ["case-023", "case-024"], [])
    assert "case-023, case-024" in done.err
    assert score["pooled"] is None

    def wilson(k: int, n: int) -> tuple[float, float]:
        z, p = 1.959964, k / n
        middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)

    metrics = reader["metrics"]
    groups = {
        "accuracy": [right for _, right, _, _ in expected],
        "sensitivity": [right for truth, right, _, _ in expected if truth == "synthetic"],
        "specificity": [right for truth, right, _, _ in expected if truth == "real"],
        "accuracy Effusion": [right for _, right, _, labels in expected if labels == ["Effusion"]],
        "accuracy Cardiomegaly": [right for _, right, _, labels in expected if labels == ["Cardiomegaly"]],
        "accuracy no finding": [right for _, right, _, labels in expected if labels == []],
    }
    assert set(metrics) == {*groups, "AUROC"}
    for name, rights in groups.items():
        assert metrics[name]["n"] == len(rights)
        assert metrics[name]["value"] == pytest.approx(sum(rights) / len(rights))
        assert metrics[name]["interval"] == pytest.approx(wilson(sum(rights), len(rights)), abs=1e-5)
    tail = sum(math.comb(22, k) for k in range(17, 23)) / 2**22
    assert metrics["accuracy"]["p"] == pytest.approx(2 * tail)
    made, scanned = ([mark for truth, _, mark, _ in expected if truth == side] for side in ("synthetic", "real"))
    pairs = [(a > b) + (a == b) / 2 for a in made for b in scanned]
    assert metrics["AUROC"]["value"] == pytest.approx(np.mean(pairs))
    assert metrics["AUROC"]["interval"][0] < metrics["AUROC"]["value"] < metrics["AUROC"]["interval"][1]


def test_readers_are_pooled_and_compared(run, study, tmp_path) -> None:
    key = key_of(study)
    random = np.random.default_rng(0)
    said = {name: random.random(CASES) < 0.5 for name in ("anna", "ben", "cho")}
    sheets = [
        sheet(
            tmp_path / f"{name}.csv",
            [(k["id"], "synthetic" if s else "real", 3, "") for k, s in zip(key, own, strict=True)],
        )
        for name, own in said.items()
    ]
    done = run("evaluate", "--reader-study", study, *itertools.chain(*(("--answers", path) for path in sheets)))
    (score,) = done.records
    assert records.complaint(score, ("reader-study",)) == ""
    assert score["counts"] == {"cases": CASES, "synthetic": 12, "real": 12, "readers": 3}
    truth = np.array([line["truth"] == "synthetic" for line in key])
    assert score["pooled"]["accuracy"]["value"] == pytest.approx(np.mean([own == truth for own in said.values()]))
    low, high = score["pooled"]["accuracy"]["interval"]
    assert low < score["pooled"]["accuracy"]["value"] < high
    areas = [reader["metrics"]["AUROC"]["value"] for reader in score["readers"].values()]
    assert score["pooled"]["AUROC"]["value"] == pytest.approx(np.mean(areas))
    a, b = said["anna"], said["ben"]
    agreed, chance = np.mean(a == b), a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    assert score["agreement"]["kappa anna, ben"]["value"] == pytest.approx((agreed - chance) / (1 - chance))
    assert list(score["agreement"]) == [
        "kappa anna, ben", "kappa anna, cho", "kappa ben, cho", "kappa of all (Fleiss)",
    ]  # fmt: skip
    assert "pooled" in done.err
    assert "kappa ben, cho" in done.err


def answers(signs: np.ndarray, synthetic: np.ndarray) -> Answers:
    names = tuple(f"case-{number:03d}" for number in range(signs.shape[1]))
    readers = tuple(f"r{number}" for number in range(len(signs)))
    return Answers("s", SHA, names, synthetic, [None] * len(names), readers, signs, np.full(signs.shape, 2.0))


def test_the_same_answers_twice_are_no_more_evidence_than_once() -> None:
    random = np.random.default_rng(1)
    one = random.choice([-1.0, 1.0], (1, 60))
    synthetic = np.arange(60) % 2 == 0
    single = reader_scores.score(answers(one, synthetic))["readers"]["r0"]["metrics"]
    double = reader_scores.score(answers(np.repeat(one, 2, axis=0), synthetic))
    for name in ("accuracy", "AUROC"):
        width = np.diff(single[name]["interval"])
        assert np.diff(double["pooled"][name]["interval"]) == pytest.approx(width, rel=0.15)
    assert double["agreement"]["kappa r0, r1"]["value"] == 1


def test_what_cannot_be_computed_says_why() -> None:
    synthetic = np.arange(12) % 2 == 0
    signs = np.ones((2, 12))
    signs[1, synthetic] = np.nan
    score = reader_scores.score(answers(signs, synthetic))
    assert records.complaint(score, ("reader-study",)) == ""
    second = score["readers"]["r1"]["metrics"]
    assert second["sensitivity"]["value"] is None
    assert second["AUROC"]["value"] is score["pooled"]["AUROC"]["value"] is None
    assert score["agreement"]["kappa r0, r1"]["reason"] == "all answers are the same"


def test_kappas_of_the_literature() -> None:
    # Cohen: 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no. Fleiss: the ten subjects and fourteen raters of the example.
    one = np.repeat([1, 1, 0, 0], [20, 5, 10, 15])
    other = np.repeat([1, 0, 1, 0], [20, 5, 10, 15])
    assert agreement.cohen(one, other) == pytest.approx(0.4)
    table = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    assert agreement.fleiss(np.array(table)) == pytest.approx(0.20993, abs=1e-5)


@pytest.mark.parametrize("n", [6, 16, 60, 200])
def test_the_detectable_accuracy_has_the_power_that_it_claims(n: int) -> None:
    weights = [math.comb(n, k) for k in range(n + 1)]
    least = next(k for k in range(n // 2, n + 1) if 2 * sum(weights[k:]) / 2**n <= 0.05)
    p = reader_scores.detectable(n)
    assert p is not None
    assert sum(w * p**k * (1 - p) ** (n - k) for k, w in enumerate(weights) if k >= least) == pytest.approx(0.8)


def test_five_answers_can_show_nothing() -> None:
    assert reader_scores.detectable(5) is None


def test_sheets_as_spreadsheets_save_them(run, study, tmp_path) -> None:
    path = tmp_path / "excel.csv"
    path.write_bytes('\ufeffCase;Answer;Confidence;Comment\r\ncase-002;Real;4;"a; \r\nb"\r\n;;;\r\n'.encode())
    (score,) = run("evaluate", "--reader-study", study, "--answers", path).records
    assert score["readers"]["excel"]["answered"] == 1
    assert len(score["readers"]["excel"]["missing"]) == CASES - 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("case-001,real,3,\ncase-099,real,3,\n", "a.csv:3: no case 'case-099'"),
        ('case-001,real,3,"two\nlines"\ncase-002,fake,3,\n', "a.csv:4: answer 'fake'"),
        ("case-001,real,6,\n", "a.csv:2: confidence '6'"),
        ("case-001,real,2.5,\n", "a.csv:2: confidence '2.5'"),
        ("case-001,real,3,\ncase-001,real,3,\n", "a.csv:3: case-001 appears twice"),
        ("case-001,,,\n", "a.csv: no case is answered"),
    ],
)
def test_wrong_sheets_are_one_line_with_file_and_line(run, study, tmp_path, text: str, said: str) -> None:
    (tmp_path / "a.csv").write_text("case,answer,confidence,comment\n" + text)
    done = run("evaluate", "--reader-study", study, "--answers", tmp_path / "a.csv")
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert said in done.err


def test_sheets_and_studies_that_do_not_fit(run, study, tmp_path) -> None:
    good = sheet(tmp_path / "a.csv", [("case-001", "real", 3, "")])
    (tmp_path / "columns.csv").write_text("case,verdict\n")
    moved = tmp_path / "moved"
    for arguments, said in [
        (["--answers", good], "--reader-study"),
        (["--reader-study", moved, "--answers", good], "moved.key.jsonl: no such key"),
        (["--reader-study", study, "--answers", tmp_path / "none.csv"], "none.csv: No such file"),
        (["--reader-study", study, "--answers", tmp_path / "columns.csv"], "columns.csv:1: no column answer"),
        (["--reader-study", study, "--answers", good, "--answers", good], "a.csv: named twice"),
    ]:
        done = run("evaluate", *arguments)
        assert (done.code, len(done.err.splitlines())) == (2, 1)
        assert said in done.err
    first, second = (study / "images" / f"case-00{number}.png" for number in (1, 2))
    first.write_bytes(second.read_bytes())
    done = run("evaluate", "--reader-study", study, "--answers", good)
    assert done.code == 2
    assert "case-001.png: not the image that the key tells of" in done.err
    study.rename(moved)
    assert run("evaluate", "--reader-study", study, "--answers", good).code == 0, "the key alone is enough"


@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed (apt-get install chromium)")
def test_a_browser_keeps_answers_and_saves_them(run, study, tmp_path) -> None:
    browser = Browser(tmp_path / "profile")

    def js(expression: str) -> object:
        done = browser.call("Runtime.evaluate", expression=expression, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def press(key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, key=key, **({"text": key} if len(key) == 1 else {}))

    try:
        page = study / "index.html"
        whole = {"images": CASES, "broken": 0, "overflow": 0}
        assert browser.open(page) == (whole, [])
        assert js("document.getElementById('progress').value") == f"0 of {CASES} answered"
        js("document.querySelector('[name=case-001-answer][value=real]').click()")
        assert js("document.getElementById('progress').value") == f"0 of {CASES} answered", "confidence is missing"
        js("document.querySelector('[name=case-001-confidence][value=\"2\"]').click()")
        js("""{ const comment = document.querySelector('#case-001 .comment'); comment.value = 'ribs, "odd"\u00fc';
                comment.dispatchEvent(new Event('input', {bubbles: true})) }""")
        # In the enlarged view, by keys: the second case, then the third.
        js("document.querySelector('#case-002 .picture').click()")
        assert js("document.querySelector('dialog[open] .case').id") == "case-002"
        for key in ("s", "5", "ArrowRight", "r", "1"):
            press(key)
        assert js("document.querySelector('dialog[open] .case').id") == "case-003"
        js("document.querySelector('#case-003 .picture').click()")
        assert js("document.querySelector('dialog[open]')") is None
        assert js("[...document.querySelectorAll('.cases > .case')].map(found => found.id).join()") == ",".join(
            line["id"] for line in key_of(study)
        )

        assert browser.open(page, width_px=360) == (whole, [])
        assert js("document.getElementById('progress').value") == f"3 of {CASES} answered", "after loading again"
        browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path / "saved"))
        js("document.getElementById('save').click()")
        assert js("document.getElementById('note').textContent") == f"Saved answers.csv with 3 of {CASES} answers."
        saved = tmp_path / "saved" / "answers.csv"
        for _ in range(600):
            if saved.exists():
                break
            time.sleep(0.1)
        assert not [event for event in browser.log if event["method"] == "Runtime.exceptionThrown"]
    finally:
        browser.close()
    lines = saved.read_text("utf-8").splitlines()
    assert lines[:5] == [
        ",".join(reader_study.COLUMNS), 'case-001,real,2,"ribs, ""odd""ü"', "case-002,synthetic,5,", "case-003,real,1,",
        "case-004,,,",
    ]  # fmt: skip
    (score,) = run("evaluate", "--reader-study", study, "--answers", saved).records
    assert score["readers"]["answers"]["answered"] == 3
