"""Scores for papers: what the paragraph says, and tables read back by a Markdown parser and a reader of LaTeX."""

from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt

from medsynth_cli.metrics import writeup

HOSTILE = "FD∞ \\a_b%c&d|e*f*[g](h)<b>~^{x}$y$#z `i`"
SCORE = {
    "kind": "score",
    "bundle": {"name": "cxr-mini", "sha256": "53f23bce46f5" + "0" * 52},
    "real": "cxr-mini:nih-test",
    "train": "cxr-mini:nih-train",
    "seed": 7,
    "quick": False,
    "counts": {"synthetic": 354, "real": 350, "train": 1958, "failed": 2},
    "extractors": {"effnet-lite2": {"dimension": 1280, "sha256": "ab" * 32, "size_px": 256}},
    "versions": {"medsynth": "0.3.0", "torch": "2.9"},
    "metrics": {
        "FD-EffNet": {
            "value": 97.1234,
            "interval": [90.2, 104.4],
            "n": 354,
            "extractor": "effnet-lite2",
            "floors": {"training": 39.0, "round trip": 86.0, "repeated": 1234.5, "real": None},
            "interval_method": "jackknife over 20 blocks",
            "note": "biased: upwards with fewer images.",
        },
        "FID": {"value": None, "reason": "no weights at /tmp."},
        "KID-EffNet": {
            "value": -0.0000123,
            "interval": [-0.0002, 0.0001],
            "n": 354,
            "extractor": "effnet-lite2",
            "interval_method": "jackknife over 20 blocks",
        },
        "AUROC Effusion": {"value": 0.9, "interval": [0.86, 0.94], "n": 354, "positives": 60, "note": "of the judge"},
        "AUROC macro": {"value": 0.8, "interval": None, "n": 354},
    },
}
HEAD = ["metric", "value", "95 % interval", "n", "extractor", "training", "round trip", "repeated"]
CELLS = [
    ["FD-EffNet", "97.12", "90.2 to 104.4", "354", "effnet-lite2", "39", "86", "1234"],
    ["FID", "-", "-", "", "", "-", "-", "-"],
    ["KID-EffNet", "-1.23e-05", "-0.0002 to 0.0001", "354", "effnet-lite2", "-", "-", "-"],
    ["AUROC Effusion", "0.9", "0.86 to 0.94", "354 (60 positive)", "", "-", "-", "-"],
    ["AUROC macro", "0.8", "-", "354", "", "-", "-", "-"],
]


def with_metric(name, row):
    return SCORE | {"metrics": {name: row}}


def read_markdown(text):
    """Cells of the table, and the items of the list below it, as they are shown."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    shown = ["".join(child.content for child in token.children) for token in tokens if token.type == "inline"]
    kinds = {child.type for token in tokens for child in token.children or []}
    assert kinds <= {"text", "text_special", "strong_open", "strong_close"}, "nothing that was escaped is active"
    cells = sum(token.type in ("td_open", "th_open") for token in tokens)
    width = sum(token.type == "th_open" for token in tokens)
    return [shown[start : start + width] for start in range(0, cells, width)], shown[cells:]


UNESCAPED = {
    "textbackslash{}": "\\", "textasciitilde{}": "~", "textasciicircum{}": "^", "textless{}": "<", "textgreater{}": ">",
    "textbar{}": "|", "infty": "∞", "&": "&", "%": "%", "$": "$", "#": "#", "_": "_", "{": "{", "}": "}",
}  # fmt: skip


def read_latex(cell):
    """Text of a cell as LaTeX would set it; anything active that is not escaped is an error."""
    text, at = "", 0
    pattern = re.compile(
        r"\\(?P<command>text\w+\{\}|[&%$#_{}])"
        r"|\$\\(?P<symbol>infty)\$"
        r"|\$(?P<maths>-?[\d.]+(\\times10\^\{-?\d+\})?)\$"
        r"|\{(?P<kept>[\[*])\}"
        r"|(?P<plain>[ -~])(?<![\\&%$#_{}~^<>|\[*])"
    )
    while at < len(cell):
        found = pattern.match(cell, at)
        assert found, f"active at {cell[at:]!r}"
        maths = (found["maths"] or "").replace("\\times10^{-", "e-0").replace("}", "")
        escaped = found["command"] or found["symbol"]
        text += UNESCAPED[escaped] if escaped else maths or found["kept"] or found["plain"]
        at = found.end()
    return text


def rows_of(latex):
    """Cells of the tabular: split at & and \\\\ that no backslash precedes."""
    body = latex[latex.index("\\toprule") : latex.index("\\bottomrule")]
    lines = body.replace("\\toprule\n", "").replace("\\midrule\n", "").splitlines()
    assert all(line.endswith(r" \\") for line in lines)
    return [[read_latex(cell.strip()) for cell in re.split(r"(?<!\\)&", line[:-3])] for line in lines]


def test_the_paragraph_says_how_the_figures_came_about():
    text = writeup.methods(SCORE)
    for part in (
        "354 synthetic images were compared with 350 real ones (cxr-mini:nih-test) by medsynth 0.3.0 and torch 2.9",
        "bundle cxr-mini (SHA-256 53f23bce46f5)",
        "have the seed 7.",
        "2 more could not be read",
        "FD-EffNet and KID-EffNet: extractor effnet-lite2 (1280 dimensions, images resized to 256 x 256 px, "
        "SHA-256 abababababab).",
        "Intervals of 95 % of FD-EffNet and KID-EffNet: jackknife over 20 blocks.",
        "How the intervals of AUROC Effusion were computed is not recorded.",
        "Without an interval: AUROC macro.",
        "in the same run at the same n (training: real training images; round trip: ",
        "repeated: one image repeated)",
        "Training images are drawn from 1958 of cxr-mini:nih-train.",
        "FD-EffNet is biased: upwards with fewer images.",
        "FID was not computed: no weights at /tmp.",
    ):
        assert part in text
    assert "quick" not in text
    assert ".." not in text
    assert "\n" not in text


def test_the_paragraph_leaves_out_what_a_score_does_not_say():
    bare = {"kind": "score", "counts": {"synthetic": 3, "real": 4}, "metrics": {"KID": {"value": 1.0}}}
    assert writeup.methods(bare) == (
        "3 synthetic images were compared with 4 real ones by medsynth; random draws have the seed 0. "
        "Without an interval: KID."
    )
    assert "quick run" in writeup.methods(bare | {"quick": True})


def test_the_paragraph_names_no_extractor_that_computed_nothing():
    missing = {"value": None, "reason": "no weights", "extractor": "inception-v3"}
    text = writeup.methods(SCORE | {"metrics": SCORE["metrics"] | {"FID": missing}})
    assert "inception-v3" not in text
    assert "FID was not computed: no weights." in text


def test_markdown_holds_the_figures_and_the_notes_below():
    rows, notes = read_markdown(writeup.markdown(SCORE))
    assert rows == [HEAD, *CELLS]
    assert notes == [
        "FD-EffNet: biased: upwards with fewer images.",
        "FID: no weights at /tmp.",
        "AUROC Effusion: of the judge",
    ]


def test_latex_holds_the_same_figures():
    text = writeup.latex(SCORE)
    assert rows_of(text) == [HEAD, *CELLS]
    assert r"$-1.23\times10^{-5}$ & $-0.0002$ to 0.0001 &" in text
    assert r"\begin{tabular}{lrrrrrrr}" in text
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    assert r"FID: no weights at /tmp.\par" in text


def test_without_floors_and_notes_there_are_no_columns_and_no_list():
    score = with_metric("KID", {"value": 1.0, "n": 3})
    rows, notes = read_markdown(writeup.markdown(score))
    assert (rows, notes) == ([HEAD[:5], ["KID", "1", "-", "3", ""]], [])
    assert "footnotesize" not in writeup.latex(score)


@pytest.mark.parametrize("name", [HOSTILE, "[x]", "*", "- a", "# b", "1. c", "&amp;", "a\\", "a\\|b", "<!-- d -->"])
def test_hostile_names_are_shown_as_they_are(name):
    score = with_metric(name, {"value": None, "reason": name, "extractor": name})
    rows, notes = read_markdown(writeup.markdown(score))
    assert rows[1][0] == rows[1][4] == name
    assert notes == [f"{name}: {name}"]
    text = writeup.latex(score)
    row = rows_of(text)[1]
    assert row[0] == row[4] == name
    (note,) = re.findall(r"^(.*)\\par$", text, re.MULTILINE)
    assert read_latex(note) == f"{name}: {name}"


def test_a_row_never_begins_with_what_the_end_of_the_row_above_takes_for_its_argument():
    lines = writeup.latex(SCORE | {"metrics": {"[2em]": {"value": 1.0}, "*": {"value": 2.0}}}).splitlines()
    assert not [line for line in lines if line.startswith(("[", "*"))]


def test_text_of_many_lines_and_control_characters_stays_in_its_cell():
    score = with_metric("a\nb\x07\u2028c", {"value": None, "reason": "d\n\n| e |"})
    assert read_markdown(writeup.markdown(score)) == (
        [HEAD[:5], ["a b c", "-", "-", "", ""]],
        ["a b c: d | e |"],
    )
    assert rows_of(writeup.latex(score))[1][0] == "a b c"
    writeup.methods(score).encode()


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "-"), (0.123456, "0.1235"), (0.0, "0"), (1234.56, "1235"), (-123456.7, "-123457")]
)
def test_figures_have_four_digits(value, shown):
    assert writeup.number(value) == shown
