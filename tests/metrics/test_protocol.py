"""`medsynth evaluate --protocol`, on made copies in the layouts of public data sets."""

from __future__ import annotations

import json

import pytest

from medsynth_cli.app import main
from medsynth_cli.files import pixels, records

NAME = "2403.06835"
FOLLOWS = {
    "FID": "FID against real images",
    "NIQE": "NIQE of the synthetic images",
    "AUROC macro": "a classifier says whether the requested findings are visible",
}


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory, chests, chest_meta):
    """Images with labels that say what was asked for."""
    folder = tmp_path_factory.mktemp("synthetic")
    for chest, meta in zip(chests, chest_meta, strict=True):
        (folder / f"{meta['id']}.png").write_bytes(pixels.encode_png(chest))
    (folder / "meta.jsonl").write_text("".join(json.dumps(meta) + "\n" for meta in chest_meta))
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Folder where what networks said of the images is kept, for all tests."""
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def evaluate(small_bundle, cache, capsys):
    """Run by the protocol: exit code, score (None if there is none), stderr."""

    def call(*argv):
        fixed = ["--bundle", str(small_bundle), "--cache", cache, "--protocol", NAME]
        code = main(["evaluate", *fixed, *map(str, argv)])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else None, err

    return call


def test_a_copy_of_mimic(synthetic, make_mimic, chests, tmp_path, evaluate):
    made = make_mimic(chests)
    page, paper = tmp_path / "page.html", tmp_path / "paper.md"
    code, score, err = evaluate(
        synthetic, "--real", made.folder, "--extractors", "effnet", "--html", page, "--paper", paper
    )
    assert code == 0
    assert records.complaint(score, ("score",)) == ""
    assert score["real"] == f"{made.folder}:test,frontal"
    assert score["counts"]["real"] == 4
    assert set(score["metrics"]) >= {"FD-EffNet", "NIQE", "AUROC macro"}
    assert not any(name.startswith(("KID", "Vendi", "coverage")) for name in score["metrics"])
    assert score["groups"] == {}
    assert score["real_labels"] == "CheXpert, uncertain (-1) and blank as absent"
    protocol = score["protocol"]
    assert protocol["name"] == NAME
    assert protocol["follows"] == [FOLLOWS["NIQE"], FOLLOWS["AUROC macro"]]
    assert protocol["differs"] == ["--extractors is effnet, not inception", "FID is left out: not among the metrics"]
    assert any("lateral views" in statement and "here: frontal" in statement for statement in protocol["unknown"])
    for text in (" ".join(err.split()), page.read_text(), paper.read_text()):
        assert protocol["title"] in text
        assert "extractors is effnet, not inception" in text
        assert "how uncertain labels of real images count; here: as absent" in text
        assert "CheXpert, uncertain (-1) and blank as absent" in text


def test_what_is_named_wins_and_is_said(synthetic, make_mimic, chests, tmp_path, evaluate):
    made, config = make_mimic(chests), tmp_path / "config.yaml"
    config.write_text("by: none\nmetrics: niqe, auroc, fd\n")
    few = tmp_path / "few"
    few.mkdir()
    (few / "one.png").write_bytes((synthetic / "chest-1.png").read_bytes())
    (few / "two.png").write_bytes((synthetic / "chest-2.png").read_bytes())
    (few / "broken.png").write_bytes(b"no picture")
    options = ("--real", f"{made.folder}:train", "--extractors", "effnet", "--config", config)
    code, score, _ = evaluate(few, *options)
    assert code == 3
    assert score["real"] == f"{made.folder}:train"
    assert score["protocol"]["follows"] == [FOLLOWS["NIQE"]]
    differs = score["protocol"]["differs"]
    assert not any(difference.startswith(("--metrics", "--by")) for difference in differs), "the order is no matter"
    assert f"real images are {made.folder}:train, not its test,frontal" in differs
    assert "AUROC macro is left out: no record says which findings were asked for" in differs
    assert "fewer synthetic images (2) than real ones (6), which raises FID" in differs
    assert "1 images or records could not be read" in differs
    config.write_text("metrics: niqe\n")
    assert "--metrics is niqe, not fd,niqe,auroc" in evaluate(synthetic, *options)[1]["protocol"]["differs"]


def test_openi_does_not_tell_views(synthetic, chests, tmp_path, evaluate):
    folder = tmp_path / "openi"
    (folder / "ecgen-radiology").mkdir(parents=True)
    for index, chest in enumerate(chests[:4]):
        (folder / f"CXR{index}_IM-0001-1001.png").write_bytes(pixels.encode_png(chest))
        (folder / "ecgen-radiology" / f"{index}.xml").write_text(
            f'<eCitation><uId id="CXR{index}"/><MeSH><major>Pleural Effusion/left</major></MeSH>'
            f'<parentImage id="CXR{index}_IM-0001-1001"/></eCitation>'
        )
    code, score, _ = evaluate(synthetic, "--real", folder, "--extractors", "effnet")
    assert code == 0
    assert (score["real"], score["counts"]["real"]) == (str(folder), 4)
    assert "which real images are lateral is not told: all are taken" in score["protocol"]["differs"]
    assert "MeSH" in score["real_labels"]


def test_a_reference_differs_and_has_no_features_for_fid(synthetic, evaluate):
    code, score, err = evaluate(synthetic)
    assert code == 0
    assert (score["real"], score["real_labels"]) == ("small:chests", None)
    assert FOLLOWS["FID"] not in score["protocol"]["follows"]
    differs = score["protocol"]["differs"]
    assert "real images are small:chests, not MIMIC-CXR or OpenI" in differs
    (reason,) = [difference for difference in differs if difference.startswith("FID is left out: ")]
    assert score["metrics"]["FID"]["reason"] in reason
    assert "differs: FID is left out" in " ".join(err.split())


def test_without_a_protocol_nothing_is_said_of_one(synthetic, make_mimic, chests, small_bundle, cache, capsys):
    made = make_mimic(chests)
    options = ["--metrics", "niqe", "--bundle", str(small_bundle), "--cache", cache]
    assert main(["evaluate", str(synthetic), "--real", f"{made.folder}:test", *options]) == 0
    out, err = capsys.readouterr()
    assert "protocol" not in json.loads(out)
    assert json.loads(out)["counts"]["real"] == 6
    assert "follows: " not in err


def test_an_unknown_protocol_lists_the_known_ones(synthetic, small_bundle, capsys):
    assert main(["evaluate", str(synthetic), "--protocol", "2100.00000", "--bundle", str(small_bundle)]) == 2
    assert f"no protocol '2100.00000': known: {NAME}" in capsys.readouterr().err.replace(" (", ": ").replace("\n", "")


def test_a_missing_table_of_the_real_images_is_one_line(synthetic, make_mimic, chests, evaluate):
    made = make_mimic(chests)
    (made.folder / "mimic-cxr-2.0.0-split.csv").unlink()
    code, score, err = evaluate(synthetic, "--real", made.folder)
    assert (code, score) == (2, None)
    assert "no mimic-cxr-2.0.0-split.csv[.gz] in this folder" in err.splitlines()[-1]
