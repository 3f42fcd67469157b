"""The HTML report: safe with hostile text, self-contained, reproducible, and as a browser shows it."""

from __future__ import annotations

import base64
import copy
import io
import itertools
import json
import os
import re
import select
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from medsynth_cli.metrics import page, plots

BROWSER = shutil.which("chromium")

EVIL = """<script>x()</script>"'><img src=x onerror=hit()>&amp;$x^2$\ud800\x1b]]>-->{{ 7 * 7 }}"""
LONG = "W" * 300

VOID = {"img", "meta", "link"}


def row(value: float | None, **more: object) -> dict:
    return {"value": value, "interval": None, "better": None, "n": 40, "n_real": 40} | more


SCORE = {
    "kind": "score",
    "bundle": {"name": "cxr-mini", "sha256": "ab" * 32},
    "real": "cxr-mini:nih-test",
    "train": "cxr-mini:nih-train",
    "seed": 7,
    "quick": True,
    "counts": {"synthetic": 40, "real": 40, "train": 1958, "failed": 2},
    "extractors": {"effnet-lite2": {"dimension": 1280, "sha256": "cd" * 32, "size_px": 256}},
    "versions": {"medsynth": "1.2.3"},
    "metrics": {
        "FD-EffNet": row(
            97.123,
            interval=[90, 104.4],
            better="lower",
            floors={"training": 39, "round trip": 86, "repeated": 180},
            interval_method="jackknife",
            note="biased: few images",
        ),
        "FID": {"value": None, "reason": "no Inception weights"},
        "NIQE": row(6.2, floors={"training": 5.4, "repeated": None}, interval_method="jackknife"),
        "AUROC Effusion": row(
            0.8, interval=[0.7, 0.9], better="higher", positives=12, floors={"real": 0.83, "repeated": 0.5}
        ),
        "AUROC macro": row(0.8, better="higher"),
        "F1 Effusion": row(0.4, better="higher", positives=12),
        "ECE": {"value": None, "reason": "no record says which findings were asked for"},
    },
    "groups": {
        "sex=F": {"AUROC macro": row(0.76, interval=[0.7, 0.8], n=17)},
        "sex=M": {"AUROC macro": {"value": None, "reason": "too few images"}, "FD-EffNet": row(120), "Recall": row(1)},
    },
    "largest_gap": {"metric": "FD-EffNet", "groups": ["sex=F", "sex=M"], "difference": -0.125, "standard_errors": 2.5},
    "coverage_map": {
        "anatomy": ["lung base", "hilum", "stomach"],
        "pathology": ["effusion", "mass", "hernia"],
        "requested": [[5, 2, 0], [0, 3, 0], [0, 0, 0]],
        "made": [[4, 2, 0], [0, 3, 0], [0, 0, 0]],
        "recognised": [[3, None, 0], [0, 0, 0], [0, 0, 0]],
    },
    "alarms": [
        {"name": "copies", "raised": True, "message": "2 of 40 images"},
        {"name": "mode collapse", "raised": False, "message": "recall is 0.44"},
        {"name": "ignored prompts", "raised": None, "message": "too few prompts"},
    ],
    "gates": [
        {"metric": "FD-EffNet", "comparison": "<=", "threshold": 120, "value": 97.123, "held": True},
        {"metric": "FID", "comparison": "<", "threshold": 50, "value": None, "held": False, "reason": "no weights"},
    ],
}
OPTIONAL = sorted(SCORE.keys() - {"kind", "metrics", "counts"})
BARE = {"kind": "score", "metrics": {}, "counts": {}}


def picture(seed: int, size: tuple[int, int] = (40, 60), caption: str = "") -> page.Picture:
    """A smooth image, different for each seed."""
    waves = np.random.default_rng(seed).uniform(1, 9, 2)
    down, across = np.meshgrid(*(np.linspace(0, 1, side) for side in size), indexing="ij")
    gray = 127.5 + 127.5 * np.sin(waves[0] * down + waves[1] * across + seed)
    return page.Picture(gray.astype(np.uint8), caption or f"image-{seed:04d}")


SHEETS = {"effusion": [picture(seed) for seed in range(14)], "no finding": [picture(99, (300, 200))]}
PAIRS = [page.Pair(picture(1), picture(2), 0.9312, True), page.Pair(picture(3), picture(4), 0.5, False)]


class Document(HTMLParser):
    """Elements with their attributes and the path to them, and the text outside of style sheets."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []
        self.text = ""
        self.path: list[str] = []
        self.feed(str(html))
        self.close()
        assert not self.path, f"never closed: {self.path}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), tuple(self.path)))
        if tag not in VOID:
            self.path.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.path.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.path:
            self.text += data

    def all(self, name: str) -> Iterator[dict[str, str | None]]:
        return (attributes for tag, attributes, _ in self.elements if tag == name)

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


@pytest.fixture(scope="module")
def html() -> str:
    return page.render(SCORE, SHEETS, PAIRS)


@pytest.fixture(scope="module")
def hostile() -> str:
    """A page with hostile and long text wherever a name, a message or a caption can stand."""
    fixed = {"lower", "higher", "<=", "<"}

    def spoil(value: object) -> object:
        if isinstance(value, dict):
            return {key: spoil(found) for key, found in value.items()}
        if isinstance(value, list):
            return [spoil(found) for found in value]
        return f"{value} {EVIL} {LONG}" if isinstance(value, str) and value not in fixed else value

    score = spoil(copy.deepcopy(SCORE))
    assert isinstance(score, dict)
    for key in ("metrics", "groups", "extractors", "versions"):
        score[key] = {f"{name} {EVIL} {LONG}": value for name, value in score[key].items()}
    for rows in (score["metrics"], *score["groups"].values()):
        rows |= {f"{name}{EVIL}": value for name, value in rows.items()}
        for result in rows.values():
            result["floors"] = (result.get("floors") or {}) | {f"floor {EVIL}": 1.0}
    pictures = [picture(1, caption=EVIL), picture(2, caption=LONG)]
    return page.render(score, {EVIL: pictures, LONG: pictures}, [page.Pair(*pictures, 0.5, True)])


def decoded(attributes: dict[str, str | None]) -> np.ndarray:
    data = re.fullmatch(r"data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=]+)", attributes["src"] or "")
    assert data
    with Image.open(io.BytesIO(base64.b64decode(data[1]))) as image:
        assert (str(image.width), str(image.height)) == (attributes["width"], attributes["height"])
        return np.asarray(image)


def test_hostile_text_is_only_text(hostile: str) -> None:
    document = Document(hostile)
    tags = {tag for tag, _, _ in document.elements}
    assert not tags & {"script", "iframe", "object", "embed", "form", "base"}
    assert not [name for _, found, _ in document.elements for name in found if name.startswith("on")]
    assert all((found["src"] or "").startswith("data:image/") for found in document.all("img"))
    assert "{{ 7 * 7 }}" in document.text
    assert "<script>x()</script>\"'><img" in document.text
    assert any("<script>" in (found.get("alt") or "") for found in document.all("img"))
    hostile.encode()


def test_text_of_plots_is_escaped_and_no_mathematics() -> None:
    rows = {"<b>&$x$ \x07": row(0.5, floors={"<i>": 0.4})}
    drawing = Document(plots.dots("t", rows, floor="<i>", lines={"<u>": 0.6}, label=EVIL))
    assert all(part in drawing.text for part in ("<b>&$x$ \ufffd", "<i>", "<u>", "<script>x()"))
    tags = {tag for tag, _, _ in drawing.elements}
    assert tags <= {"svg", "g", "path", "use", "text", "defs", "clippath", "rect"}


def test_plots_take_all_colours_from_the_page(html: str) -> None:
    drawing = str(plots.dots("t", SCORE["metrics"], floor="training", lines={"chance": 0.5}))
    assert not re.search(r"#[0-9a-f]{6}|font-family", drawing.replace("#000000", ""))
    assert set(re.findall(r"var\((--[a-z]+)\)", drawing)) == {"--ink", "--muted", "--line", "--accent"}
    assert all(f"{name}:" in html for name in ("--ink", "--muted", "--line", "--accent"))


def test_nothing_is_loaded_from_elsewhere(html: str) -> None:
    document = Document(html)
    for tag, attributes, _ in document.elements:
        for name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
            if name in attributes:
                assert (attributes[name] or "").startswith(("data:", "#")), (tag, attributes[name])
    assert "://" not in html
    assert not re.search(r"url\((?!#)|@import|@font-face", html)
    policy = next(found["content"] for found in document.all("meta") if "http-equiv" in found)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_pointers_within_the_page_arrive(html: str) -> None:
    document = Document(html)
    ids = [found["id"] for _, found, _ in document.elements if "id" in found]
    assert len(ids) == len(set(ids))
    pointers = re.findall(r'(?:href="|url\()#([^")]+)', html)
    pointers += [found["aria-labelledby"] or "" for found in document.all("section")]
    assert pointers
    assert set(pointers) <= set(ids)


def test_accessible(html: str) -> None:
    document = Document(html)
    assert next(document.all("html"))["lang"] == "en"
    levels = [int(tag[1]) for tag, _, _ in document.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(found["alt"] for found in document.all("img"))
    assert all(found["scope"] in ("col", "row") for found in document.all("th"))
    assert all("aria-label" in found or found.get("aria-hidden") == "true" for found in document.all("svg"))


def test_the_same_input_gives_the_same_page(html: str) -> None:
    with matplotlib.rc_context({"legend.fontsize": 30, "xtick.major.pad": 20}):
        assert page.render(copy.deepcopy(SCORE), SHEETS, PAIRS) == html


@pytest.mark.parametrize("score", [BARE, BARE | dict.fromkeys(OPTIONAL)], ids=["missing", "null"])
def test_a_bare_score(score: dict) -> None:
    words = Document(page.render(score, {}, [])).words
    assert "No alarms were looked for, no gates were set, and no metric was computed." in words
    assert "None" not in words


@pytest.mark.parametrize("key", OPTIONAL)
def test_any_key_may_be_missing(key: str) -> None:
    # Groups are in the whole page alone: their plots take long.
    score = {name: value for name, value in SCORE.items() if name not in (key, "groups")}
    document = Document(page.render(score, {}, []))
    assert "97.1" in document.words


def test_figures_are_there(html: str) -> None:
    words = Document(html).words
    for text in (
        "40 synthetic images against 40 real images of cxr-mini:nih-test",
        "Alarm: copies – 2 of 40 images",
        "Not decided: ignored prompts – too few prompts",
        "Not raised: mode collapse – recall is 0.44",
        "FD-EffNet lower is better 97.1 90.0 to 104",
        "39.0 86.0 180",
        "not computed: no Inception weights",
        "Effusion 0.800 0.700 to 0.900",
        "AUROC macro 0.760 0.700 to 0.800 n 17 – too few images",
        "ECE not computed: no record says which findings were asked for",
        "FD-EffNet <= 120 97.12 120 held",
        "FID < 50 - 50 broken no weights",
        "FD-EffNet differs by 0.125 between sex=F and sex=M (2.50 standard errors).",
        "FD-EffNet, NIQE: interval: jackknife",
        "Likeness 0.9312, counted as a copy",
        "A quick run: its figures do not compare with those of a full one.",
        "For research, not for diagnosis.",
        "ab" * 32,
        "1,280 dimensions from 256 px",
    ):
        assert text in words, text
    assert json.loads(Document(html).text.split("The score as JSON")[1]) == SCORE


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {},
            "1 of 3 alarms was raised but 1 could not be decided, 1 of 2 gates did not hold, "
            "2 of 7 metrics could not be computed, and 2 inputs could not be read.",
        ),
        (
            {"alarms": SCORE["alarms"][1:2], "gates": SCORE["gates"][:1], "counts": {}, "metrics": {"KID": row(1)}},
            "No alarm was raised, the one gate held, and the one metric was computed.",
        ),
        (
            {"alarms": None, "gates": SCORE["gates"][:1] * 2, "counts": {"failed": 0}, "metrics": {}},
            "No alarms were looked for, all 2 gates held, and no metric was computed.",
        ),
    ],
)
def test_verdict(change: dict, sentence: str) -> None:
    assert page.verdict(SCORE | change) == sentence


@pytest.mark.parametrize(
    ("value", "text"),
    [(97.123, "97.1"), (0.8, "0.800"), (99.97, "100"), (1234.5, "1,234"), (0.0003, "0.0003"), (0, "0"), (-2, "−2.00")],
)
def test_numbers(value: float, text: str) -> None:
    table = Document(page.render(BARE | {"metrics": {"m": row(value)}}, {}, []))
    assert f" m {text} 40 " in table.words


def test_a_strip_places_better_on_the_right() -> None:
    floors = {"training": 0.0, "repeated": 10.0, "round trip": None}
    found = plots.strip(row(5.0, better="lower", interval=[2.5, 7.5], floors=floors))
    width, edge = plots.STRIP_WIDTH, plots.STRIP_EDGE
    reach = width - 2 * edge
    assert found == plots.Strip(
        width / 2, (edge + reach / 4, edge + reach * 3 / 4), {"training": width - edge, "repeated": edge}, True
    )
    higher = plots.strip(row(2.5, better="higher", floors=floors))
    assert higher is not None
    assert higher.value == edge + reach / 4
    assert higher.interval is None
    aimless = plots.strip(row(2.5, floors=floors))
    assert aimless is not None
    assert (aimless.value, aimless.directed) == (higher.value, False)


def test_a_strip_needs_something_to_place() -> None:
    assert plots.strip(row(None, floors={"training": 1.0})) is None
    assert plots.strip(row(1.0, floors={"training": None})) is None
    same = plots.strip(row(1.0, floors={"training": 1.0}))
    assert same is not None
    assert same.value == same.floors["training"] == plots.STRIP_WIDTH / 2


def test_all_images_are_there_and_many_are_folded(html: str) -> None:
    document = Document(html)
    images = [(found, path) for tag, found, path in document.elements if tag == "img"]
    folded = ["details" in path for _, path in images]
    assert folded == [False] * page.OPEN_PICTURES + [True] * 2 + [False] * (1 + 2 * len(PAIRS))
    shown = [decoded(found) for found, _ in images]
    wanted = [picture.pixels for pictures in SHEETS.values() for picture in pictures]
    for thumbnail, pixels in zip(shown, wanted, strict=False):
        assert max(thumbnail.shape) <= page.THUMB_PX
        smaller = Image.fromarray(pixels).resize(thumbnail.shape[::-1], Image.Resampling.BOX)
        assert np.abs(thumbnail.astype(float) - np.asarray(smaller)).mean() < 4
    for full, picture in zip(
        shown[len(wanted) :], [p for pair in PAIRS for p in (pair.synthetic, pair.training)], strict=True
    ):
        np.testing.assert_array_equal(full, picture.pixels)


def test_sheets_beyond_the_first_are_folded() -> None:
    many = {f"finding {number}": [picture(number, (8, 8))] for number in range(page.OPEN_FINDINGS + 2)}
    document = Document(page.render(BARE, many, []))
    assert ["details" in path for tag, _, path in document.elements if tag == "img"] == [False] * 8 + [True] * 2


def test_tables_of_findings_are_folded_but_for_auroc(html: str) -> None:
    regions = {found["aria-label"]: "details" in path for _, found, path in Document(html).elements if "role" in found}
    tables = {name: folded for name, folded in regions.items() if name and ("requested" in name or "set" in name)}
    assert tables == {
        "The images as a set": False,
        "AUROC of requested findings, recognised by the judge": False,
        "AUROC of each requested finding": False,
        "F1 of requested and recognised findings": True,
    }


def test_groups_are_drawn_where_they_compare(html: str) -> None:
    elements = Document(html).elements
    drawn = [found["aria-label"] for tag, found, path in elements if tag == "svg" and path[-1] == "figure"]
    assert drawn == ["AUROC of each requested finding", "AUROC macro of each group", "FD-EffNet of each group"]


def test_coverage(html: str) -> None:
    words = Document(html).words
    assert (
        "3 pairs of anatomy and pathology requested, 3 made. Of 2 whose finding the judge knows, it recognised 1"
        in words
    )
    assert (
        "Anatomy effusion mass lung base 3/4/5 –/2 hilum 0/3 Anatomy in no pair: stomach. Pathology in no pair: hernia."
        in words
    )
    shares = re.findall(r'class="(heat|unknown)" style="--share: ([\d.]+)"', html)
    assert shares == [("heat", "0.75"), ("unknown", "0.00"), ("heat", "0.00")]


def test_plausible_pairs_that_nobody_requested_are_holes() -> None:
    coverage = SCORE["coverage_map"] | {"plausible": [[0, 0], [1, 0], [2, 2]]}
    words = Document(page.render(SCORE | {"coverage_map": coverage}, {}, [])).words
    assert "The vocabulary holds 3 pairs plausible, 1 of them were requested." in words
    assert "Anatomy effusion mass lung base 3/4/5 –/2 hilum 0 0/3 Anatomy in no pair: stomach." in words


MEASURE = """(async () => {
  document.querySelectorAll("details").forEach(found => { found.open = true });
  const images = [...document.images];
  images.forEach(found => { found.loading = "eager" });
  const decoded = await Promise.allSettled(images.map(found => found.decode()));
  return {
    images: images.length,
    broken: images.filter((found, i) => decoded[i].status !== "fulfilled" || !found.naturalWidth).length,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  };
})()"""
PATIENCE_S = 120


class Browser:
    """Headless Chromium, spoken to through a pipe (DevTools protocol)."""

    def __init__(self, profile: Path) -> None:
        assert BROWSER is not None
        their_end, self.calls = os.pipe()
        self.replies, their_other_end = os.pipe()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        # The browser reads file descriptor 3 and writes 4.
        redirected = f'exec "$@" 3<&{their_end} 4>&{their_other_end}'
        self.process = subprocess.Popen(
            ["bash", "-c", redirected, "bash", BROWSER, *flags, f"--user-data-dir={profile}"],
            pass_fds=(their_end, their_other_end),
            stderr=subprocess.DEVNULL,
        )
        os.close(their_end)
        os.close(their_other_end)
        self.waiting, self.number = b"", 0
        self.log: list[dict] = []
        self.session: dict[str, str] = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = {"sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict:
        """The result of a method; what the browser tells meanwhile goes to the log."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters} | self.session
        os.write(self.calls, json.dumps(message).encode() + b"\0")
        while (reply := self.read()).get("id") != self.number:
            self.log.append(reply)
        assert "error" not in reply, reply
        return reply["result"]

    def read(self) -> dict:
        """The next message."""
        while b"\0" not in self.waiting:
            assert select.select([self.replies], [], [], PATIENCE_S)[0], "the browser hangs"
            part = os.read(self.replies, 1 << 16)
            assert part, "the browser is gone"
            self.waiting += part
        message, _, self.waiting = self.waiting.partition(b"\0")
        return json.loads(message)

    def open(self, file: Path, *, width_px: int = 1200, policy: bool = True) -> tuple[dict, list[dict]]:
        """What `MEASURE` finds in a page, and what it wrote to the console; without its ``policy``, scripts run."""
        self.call("Page.setBypassCSP", enabled=not policy)
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width_px, height=800, deviceScaleFactor=1, mobile=width_px < 600
        )
        self.log.clear()
        self.call("Page.navigate", url=file.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.log):
            self.log.append(self.read())
        result = self.call("Runtime.evaluate", expression=MEASURE, awaitPromise=True, returnByValue=True)
        told = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return result["result"]["value"], [event["params"] for event in self.log if event["method"] in told]

    def close(self) -> None:
        """Hang up, which ends the browser."""
        os.close(self.calls)
        os.close(self.replies)
        self.process.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if BROWSER is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


def saved(folder: Path, html: str) -> Path:
    (folder / "report.html").write_text(html)
    return folder / "report.html"


def test_a_browser_shows_it_without_complaint(browser: Browser, html: str, tmp_path: Path) -> None:
    assert browser.open(saved(tmp_path, html)) == ({"images": 19, "broken": 0, "overflow": 0}, [])


def test_the_policy_stops_scripts(browser: Browser, html: str, tmp_path: Path) -> None:
    _, log = browser.open(saved(tmp_path, html.replace("</body>", "<script>console.log('ran')</script></body>")))
    assert ["Content Security Policy" in entry["entry"]["text"] for entry in log] == [True]


def test_a_phone_shows_hostile_and_long_text(browser: Browser, hostile: str, tmp_path: Path) -> None:
    found, log = browser.open(saved(tmp_path, hostile), width_px=360, policy=False)
    assert found == {"images": 6, "broken": 0, "overflow": 0}
    assert not log, "something of the text ran"


def test_five_thousand_images(browser: Browser, tmp_path: Path) -> None:
    pictures = [picture(seed, (96, 96)) for seed in range(50)] * 20
    html = page.render(SCORE, {f"finding {number}": pictures for number in range(5)}, PAIRS)
    assert len(html) < 16e6
    assert browser.open(saved(tmp_path, html), width_px=360) == ({"images": 5004, "broken": 0, "overflow": 0}, [])
