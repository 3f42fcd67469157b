"""How well `medsynth vocab build` reads reports: against the expert MeSH indexing of the Indiana reports.

    python benchmarks/vocab.py [--reports ../shared/data/iu-reports.jsonl] [--repeat-to 230000]

writes ``benchmarks/vocab.md``. The rules were developed on one half of the reports, by the hash of their ids, and the
other half was never looked at: both are measured, and all of them. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path

import numpy as np
import vocab_notes

from medsynth_cli import modality
from medsynth_cli.text import extractors, vocabulary
from medsynth_cli.text.graphs import Graph

HERE = Path(__file__).parent
NOT_INDEXED = "No Indexing"
RESAMPLES = 500
FREQUENT = 20
"""Reports that a heading must have for the vocabulary to be asked for it."""
SIDES = ("left", "right", "bilateral")


@dataclass(frozen=True)
class Finding:
    """A finding as MeSH indexes it: its heading, other entries for the same, and our terms."""

    heading: str
    terms: frozenset[str]
    same: tuple[str, ...] = ()

    def in_mesh(self, mesh: Iterable[str], widely: bool) -> bool:
        """Whether a report is indexed with it; ``widely``: or with an entry for the same."""
        return any(
            entry.split("/")[0] == self.heading
            or (widely and any(f"{entry}/".startswith(f"{same}/") for same in self.same))
            for entry in mesh
        )


FINDINGS = [
    Finding("Pleural Effusion", frozenset({"pleural_effusion", "loculated_effusion", "hydropneumothorax"}),
            ("Hydropneumothorax",)),
    Finding("Cardiomegaly", frozenset({"cardiomegaly"}), ("Cardiac Shadow/enlarged",)),
    Finding("Pulmonary Atelectasis", frozenset({"atelectasis", "subsegmental_atelectasis", "lobar_collapse"})),
    Finding("Pneumothorax", frozenset({"pneumothorax", "tension_pneumothorax", "hydropneumothorax"}),
            ("Hydropneumothorax",)),
    Finding("Emphysema", frozenset({"emphysema"}), ("Pulmonary Emphysema", "Bullous Emphysema")),
    Finding("Pulmonary Edema", frozenset({"pulmonary_edema"})),
    Finding("Hernia, Hiatal", frozenset({"hiatal_hernia"})),
    Finding("Scoliosis", frozenset({"scoliosis"})),
    Finding("Calcified Granuloma", frozenset({"calcified_granuloma"})),
    Finding("Nodule", frozenset({"nodule"})),
    Finding("Pneumonia", frozenset({"pneumonia"})),
]  # fmt: skip
SIDED = {
    **{finding.heading: finding.terms for finding in FINDINGS},
    "Opacity": {"opacity", "nodular_opacity", "interstitial_opacity", "ground_glass_opacity"},
    "Airspace Disease": {"airspace_opacity"},
    "Infiltrate": {"infiltration"},
    "Consolidation": {"consolidation"},
    "Cicatrix": {"scarring"},
    "Granuloma": {"granuloma", "calcified_granuloma"},
    "Density": {"density", "nodular_opacity"},
    "Thickening": {"pleural_thickening", "thickening"},
    "Costophrenic Angle": {"costophrenic_blunting"},
    "Diaphragm": {"elevated_hemidiaphragm"},
    "Fractures, Bone": {"rib_fracture", "clavicle_fracture", "fracture"},
}
"""Heading -> terms whose side is compared, where MeSH gives one."""
ENTRY_TERMS = {
    "Calcinosis": "calcification", "Cicatrix": "scar", "Markings": "markings", "Catheters, Indwelling": "catheter",
    "Implanted Medical Device": "implanted medical device", "Surgical Instruments": "surgical instrument",
    "Technical Quality of Image Unsatisfactory": "image quality unsatisfactory", "Fractures, Bone": "bone fracture",
    "Pulmonary Disease, Chronic Obstructive": "chronic obstructive pulmonary disease",
    "Bone Diseases, Metabolic": "osteopenia", "Tube, Inserted": "inserted tube", "Foreign Bodies": "foreign body",
    "Thoracic Vertebrae": "thoracic vertebra", "Aorta, Thoracic": "thoracic aorta",
    "Pulmonary Atelectasis": "atelectasis", "Hernia, Hiatal": "hiatal hernia",
}  # fmt: skip
"""Heading -> what MeSH calls it in the order of words and the number that reports use."""


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=Path, default=HERE.parents[1] / "shared" / "data" / "iu-reports.jsonl")
    parser.add_argument("--repeat-to", type=int, default=230_000, help="reports of the corpus for speed and memory")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.reports.read_text("utf-8").splitlines()]
    terms = vocabulary.load(modality.find("chest_xray"), lexicon=True)
    graphs = read("rules", rows, terms)
    with tempfile.TemporaryDirectory() as name:
        built = build(options.reports, Path(name) / "built")
        cost = throughput(options.reports, options.repeat_to, Path(name))
    page = [*heading_lines(), *presence_lines(rows, graphs), *side_lines(rows, graphs)]
    page += [*coverage_lines(rows, graphs, built), *speed_lines(cost, options.repeat_to)]
    page += [*extractor_lines(rows, terms), *vocab_notes.LINES]
    (HERE / "vocab.md").write_text("\n".join(page) + "\n")
    print("\n".join(page))


def read(name: str, rows: Sequence[dict], terms: vocabulary.Vocabulary, **settings: str) -> list[Graph]:
    """What an extractor finds in all reports."""
    return extractors.load(name, terms, **settings).read(rows)


def indexed(rows: Sequence[dict], part: Callable[[str], bool]) -> list[int]:
    """Reports of a part that were indexed."""
    return [i for i, row in enumerate(rows) if NOT_INDEXED not in heads(row) and part(row["id"])]


def heads(row: dict) -> set[str]:
    """Headings of a report."""
    return {entry.split("/")[0].strip() for entry in row["mesh"]}


def developed_on(id: str) -> bool:
    """Whether the rules were developed on a report."""
    return hashlib.sha256(id.encode()).digest()[0] % 2 == 0


PARTS: dict[str, Callable[[str], bool]] = {
    "developed on": developed_on,
    "held out": lambda id: not developed_on(id),
    "all": lambda id: True,
}


def confusion(rows: Sequence[dict], graphs: Sequence[Graph], widely: bool) -> np.ndarray:
    """Whether each report is called positive, and whether MeSH says so: bool ``(findings, reports, 2)``."""
    called = [[any(e.term in f.terms and e.meant for e in g.entities) for g in graphs] for f in FINDINGS]
    truth = [[finding.in_mesh(row["mesh"], widely) for row in rows] for finding in FINDINGS]
    return np.stack([np.array(called), np.array(truth)], axis=-1)


def scores(outcome: np.ndarray) -> tuple[np.ndarray, float]:
    """F1 of each finding, and the rate of false positives over all of them."""
    called, truth = outcome[..., 0], outcome[..., 1]
    hits = (called & truth).sum(1)
    f1 = 2 * hits / np.maximum(called.sum(1) + truth.sum(1), 1)
    return f1, float((called & ~truth).sum() / (~truth).sum())


def interval(outcome: np.ndarray) -> tuple[float, float]:
    """95 % of macro F1 over resampled reports."""
    random = np.random.default_rng(0)
    count = outcome.shape[1]
    macros = [scores(outcome[:, random.integers(0, count, count)])[0].mean() for _ in range(RESAMPLES)]
    return float(np.quantile(macros, 0.025)), float(np.quantile(macros, 0.975))


def heading_lines() -> Iterator[str]:
    """What this page is."""
    yield "# Vocabulary"
    yield ""
    yield "What the extractor `rules` reads in the 3,319 Indiana University reports, against their expert MeSH"
    yield "indexing."
    yield f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, no GPU."
    yield "`python benchmarks/vocab.py` measures it again. No text of these reports is in this repository."
    yield ""
    yield "The rules were developed on the reports whose id hashes to an even byte (SHA-256, first byte); of the others"
    yield "nothing was looked at but the figures below, once the rules stood."


def presence_lines(rows: Sequence[dict], graphs: Sequence[Graph]) -> Iterator[str]:
    """Tables of presence."""
    yield from ("", "## Presence of a finding", "")
    yield "A finding counts as called present if one mention is, plainly or hedged (*probably*, *compatible with*,"
    yield "*versus*), not if all are merely considered (*may*, *cannot exclude*), denied, or history. The 79 reports"
    yield "without indexing are left out. In brackets: reports with the heading."
    tables = {
        "Against the heading alone": False,
        "Against the heading and entries for the same": True,
    }
    for title, widely in tables.items():
        outcome = confusion(rows, graphs, widely)
        yield from ("", f"### {title}", "")
        if widely:
            same = "; ".join(f"{f.heading}: {', '.join(f.same)}" for f in FINDINGS if f.same)
            yield from (f"Entries that say the same in other words ({same}).", "")
        yield "| finding | " + " | ".join(f"F1, {part}" for part in PARTS) + " | false positives | false negatives |"
        yield "|---|" + "---:|" * (len(PARTS) + 2)
        parts = {name: outcome[:, indexed(rows, part)] for name, part in PARTS.items()}
        measured = {name: scores(values) for name, values in parts.items()}
        for i, finding in enumerate(FINDINGS):
            called, truth = parts["all"][i, :, 0], parts["all"][i, :, 1]
            cells = [f"{measured[name][0][i]:.3f} ({parts[name][i, :, 1].sum()})" for name in PARTS]
            wrong = [(called & ~truth).sum(), (truth & ~called).sum()]
            yield f"| {finding.heading} | {' | '.join([*cells, *map(str, wrong)])} |"
        yield "| **macro F1** | " + " | ".join(f"**{measured[name][0].mean():.3f}**" for name in PARTS) + " | | |"
        low_high = [interval(parts[name]) for name in PARTS]
        yield "| its 95 % interval | " + " | ".join(f"{low:.3f} to {high:.3f}" for low, high in low_high) + " | | |"
        yield "| false-positive rate | " + " | ".join(f"{measured[name][1]:.2%}" for name in PARTS) + " | | |"


def side_lines(rows: Sequence[dict], graphs: Sequence[Graph]) -> Iterator[str]:
    """The table of sides."""
    outcomes: dict[str, dict[str, Counter]] = {name: {} for name in PARTS}
    for i in indexed(rows, PARTS["all"]):
        for heading, terms in SIDED.items():
            wanted = {part for entry in rows[i]["mesh"] if entry.split("/")[0] == heading for part in entry.split("/")}
            side = one_side(wanted & set(SIDES))
            found = [e for e in graphs[i].entities if e.term in terms and e.meant]
            if side is None:
                continue
            own = one_side({e.side for e in found if e.side})
            what = "right" if own == side else "not found" if not found else "no side" if own is None else "wrong"
            for name, part in PARTS.items():
                if part(rows[i]["id"]):
                    outcomes[name].setdefault(heading, Counter())[what] += 1
    yield from ("", "## Side of a finding", "")
    yield "Where MeSH gives a side and the finding is called present: whether it is the same one; left and right in one"
    yield "report are bilateral. *No side* and *another side* are both wrong."
    yield from ("", "| heading | reports | same side | no side | another side | accuracy | not called present |")
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for heading, counts in sorted(outcomes["all"].items(), key=lambda pair: -sum(pair[1].values())):
        yield side_row(heading, counts)
    for name in PARTS:
        yield side_row(f"**{name}**", sum(outcomes[name].values(), Counter()))


def one_side(sides: set[str]) -> str | None:
    """The side that several amount to."""
    return None if not sides else next(iter(sides)) if len(sides) == 1 else "bilateral"


def side_row(title: str, counts: Counter) -> str:
    """A row of the table of sides."""
    found = counts["right"] + counts["no side"] + counts["wrong"]
    accuracy = f"{counts['right'] / found:.3f}" if found else ""
    cells = [found, counts["right"], counts["no side"], counts["wrong"], accuracy, counts["not found"]]
    return f"| {title} | {' | '.join(map(str, cells))} |"


def build(reports: Path, out: Path) -> vocabulary.Vocabulary:
    """The vocabulary that the command line builds from the reports."""
    command = [sys.executable, "-m", "medsynth_cli", "vocab", "build", str(reports), "-o", str(out), "--quiet"]
    subprocess.run(command, check=True)
    return vocabulary.load(out, lexicon=True)


def coverage_lines(rows: Sequence[dict], graphs: Sequence[Graph], built: vocabulary.Vocabulary) -> Iterator[str]:
    """The table of headings."""
    counts = Counter(heading for row in rows for heading in heads(row))
    wanted = [h for h, n in counts.most_common() if n >= FREQUENT and h not in ("normal", NOT_INDEXED)]
    found = {heading: built.find(ENTRY_TERMS.get(heading, heading)) for heading in wanted}
    share = sum(term is not None for term in found.values()) / len(found)
    yield from ("", "## Headings in the built vocabulary", "")
    yield f"Of the {len(wanted)} headings with at least {FREQUENT} reports, {share:.0%} have a term or synonym in the"
    yield "vocabulary that `medsynth vocab build` makes of the reports. That goes by words, and is lenient where a term"
    yield "is wider than the heading. *Read in* is stricter: the share of the heading's reports that mention the term."
    yield "It is low where MeSH names a place (costophrenic angle) whose abnormality is another term."
    yield from ("", "| heading | reports | term | read in |", "|---|---:|---|---:|")
    for heading in wanted:
        term = found[heading]
        own = [g for row, g in zip(rows, graphs, strict=True) if heading in heads(row)]
        seen = sum(term is not None and any(e.term == term.key for e in g.entities) for g in own) / len(own)
        yield f"| {heading} | {len(own)} | {term.name if term else 'none'} | {f'{seen:.0%}' if term else ''} |"


@dataclass(frozen=True)
class Cost:
    """Of ``vocab build`` with two workers: wall-clock and processor seconds, GiB at the peak, load of the machine."""

    seconds: float
    cpu_seconds: float
    peak: float
    load: float


def throughput(reports: Path, count: int, folder: Path) -> Cost:
    """What ``vocab build`` takes for the corpus, repeated."""
    lines = reports.read_bytes().splitlines(keepends=True)
    corpus = folder / "corpus.jsonl"
    with corpus.open("wb") as handle:
        for i in range(count):
            handle.write(lines[i % len(lines)])
    command = ["vocab", "build", str(corpus), "-o", str(folder / "large"), "--workers", "2", "--quiet"]
    load, before, began = os.getloadavg()[0], children_cpu(), time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "medsynth_cli", *command])
    peak = [0.0]
    watcher = threading.Thread(target=watch, args=(process, peak))
    watcher.start()
    if process.wait():
        raise SystemExit("vocab build failed")
    seconds = time.perf_counter() - began
    watcher.join()
    return Cost(seconds, children_cpu() - before, peak[0], load)


def children_cpu() -> float:
    """Processor seconds of all processes that this one has waited for, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def watch(process: subprocess.Popen, peak: list[float]) -> None:
    """Keep the largest sum of the resident memory of a process and its children, in GiB."""
    while process.poll() is None:
        peak[0] = max(peak[0], sum(map(resident, [process.pid, *children(process.pid)])) / 2**20)
        time.sleep(0.1)


def children(pid: int) -> Iterator[int]:
    """All processes below one."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        own = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return
    for child in own:
        yield child
        yield from children(child)


def resident(pid: int) -> int:
    """Resident memory in KiB; 0 of a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


def speed_lines(cost: Cost, count: int) -> Iterator[str]:
    """The table of speed and memory."""
    yield from ("", "## Speed and memory", "", "| what | must reach | measured | command |", "|---|---|---|---|")
    command = f"`medsynth vocab build` of {count:,} reports (these, repeated), `--workers 2`"
    speed = f"{count / cost.seconds:,.0f} reports/s"
    yield f"| throughput, start to end | >= 2,000 reports/s | {speed} | {command} |"
    yield f"| memory, all processes together | < 1 GB | {cost.peak:.2f} GiB | the same |"
    yield ""
    a_core = f"{count / cost.cpu_seconds:,.0f}"
    yield f"All processes took {cost.cpu_seconds:.0f} processor seconds, that is {a_core} reports a"
    yield f"second of one core; the load average before the run was {cost.load:.1f}."


def extractor_lines(rows: Sequence[dict], terms: vocabulary.Vocabulary) -> Iterator[str]:
    """The rules beside negspacy, with the same phrases."""
    yield from ("", "## Other extractors", "")
    yield "The same vocabulary, read by spaCy's phrase matcher and negspacy; with the negation phrases that negspacy"
    yield "brings (`en_clinical`), and with ours. One process; against the heading alone, all reports."
    yield from ("", "| extractor | macro F1 | effusion | pneumothorax | false positives | reports/s on one core |")
    yield "|---|---:|---:|---:|---:|---:|"
    runs: list[tuple[str, dict[str, str]]] = [("rules", {})]
    if util.find_spec("negspacy"):
        runs += [("negspacy", {"termset": "en_clinical"}), ("negspacy", {"termset": ""})]
    for name, settings in runs:
        extractor = extractors.load(name, terms, **settings)
        extractor.read(rows[:5])
        began = time.process_time()
        graphs = extractor.read(rows)
        speed = len(rows) / (time.process_time() - began)
        f1, false = scores(confusion(rows, graphs, widely=False)[:, indexed(rows, PARTS["all"])])
        title = name + "".join(f", {key} {value or 'ours'}" for key, value in settings.items())
        yield f"| {title} | {f1.mean():.3f} | {f1[0]:.3f} | {f1[3]:.3f} | {false:.2%} | {speed:,.0f} |"


if __name__ == "__main__":
    main()
