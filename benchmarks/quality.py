"""The quality of a bundle: every figure beside its references, from one run.

    python benchmarks/quality.py --data ../shared/data [-n 354] [--pairs 100] [--cache runs/quality]

writes ``benchmarks/quality.md``. Stages are cached in ``--cache``, by bundle, settings and code, so that
an interrupted run goes on; the shuffled sheet and its key lie there too, since the sheet shows real images.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from image_sets import PAIR_LABELS, WRONG, Bench

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import atomic, pixels, sheets
from medsynth_cli.metrics import auroc, frechet, intervals, kernel, msssim
from medsynth_cli.metrics.prdc import prdc
from medsynth_cli.runtime.progress import console
from medsynth_cli.tokens.decoding import Sampling

if TYPE_CHECKING:
    from numpy.typing import NDArray


JUDGED = ("Effusion", "Cardiomegaly", "Atelectasis", "Pneumothorax", "Consolidation", "Edema")
IN_SHEET = 16


@dataclass(frozen=True)
class Figure:
    """One line of the table; ``held`` is None where no bar is set."""

    what: str
    value: str
    beside: str = ""
    bar: str = ""
    held: bool | None = None


def psnr(ours: NDArray[np.uint8], real: NDArray[np.uint8]) -> float:
    """Mean peak signal-to-noise ratio in dB of images ``(N, H, W)``."""
    errors = ((ours.astype(np.float64) - real) / 255) ** 2
    return float((-10 * np.log10(errors.mean(axis=(1, 2)).clip(1e-10))).mean())


def tokenizer_figures(bench: Bench) -> list[Figure]:
    """How well the tokenizer keeps what is in an image."""
    real, ours = bench.real_test, bench.round_test
    level, used = psnr(ours["images"], real["images"]), bench.codes_used(real["images"])
    codes = bench.tokenizer.config.num_vq_embeddings
    lost = frechet.distance(ours["features"][: len(bench.prompts)], real["features"])
    train = frechet.distance(bench.real_train["features"], real["features"])
    single = frechet.distance(bench.repeated["features"], real["features"])
    value = f"{lost:.1f}{times(lost, train)}"
    beside = f"real training images {train:.1f}; one image repeated {single:.1f}{times(single, train)}"
    bar, held = "<= 2.5 x real training images", lost <= 2.5 * train < single
    return [
        Figure("tokenizer: PSNR on nih-test", f"{level:.2f} dB", "", ">= 29 dB", level >= 29),
        Figure("tokenizer: codes used on nih-test", str(used), f"of {codes}", ">= 900", used >= 900),
        Figure("tokenizer: FD-EffNet of the round trip", value, beside, bar, held),
    ]


def set_figures(bench: Bench) -> list[Figure]:
    """How near the images of the test prompts are to the real test images."""
    real = bench.real_test["features"]
    sets = {
        "real training": bench.real_train,
        "round-tripped": bench.round_train,
        "one image repeated": bench.repeated,
        "generated": bench.generated,
    }
    n, groups = len(bench.prompts), (np.arange(len(bench.prompts)), bench.patients)
    measures: dict[str, Callable[[NDArray[Any]], float]] = {
        "FD-EffNet": lambda ours: frechet.distance(ours, real),
        "KID-EffNet": lambda ours: kernel.distance(ours, real),
        "coverage": lambda ours: float(prdc(ours, real).coverage.mean()),
    }
    own, seed = bench.generated["features"], bench.options.seed
    whole, _, error = frechet.unbiased(own, real, groups, seed)
    bounds = {
        "FD-EffNet": intervals.normal(whole, error),
        "KID-EffNet": kernel.compare(own, real).interval(groups, seed),
        "coverage": intervals.of_mean(prdc(own, real).coverage, bench.patients, seed),
    }
    figures = []
    for name, measure in measures.items():
        found = {key: measure(arrays["features"]) for key, arrays in sets.items()}
        ours, round_trip, single = found["generated"], found["round-tripped"], found["one image repeated"]
        if name == "coverage":
            bar, held, void = ">= 0.7 x round-tripped", ours >= 0.7 * round_trip, single >= 0.7 * round_trip
        else:
            bar, held, void = "<= 1.25 x round-tripped", ours <= 1.25 * round_trip, single <= 1.25 * round_trip
        value = f"{ours:.4g}{between(bounds[name])}{times(ours, round_trip)}"
        beside = "; ".join(f"{key} {found[key]:.4g}" for key in sets if key != "generated")
        figures.append(Figure(f"{n} images of the test prompts: {name}", value, beside, bar, held and not void))
    return figures


def judge_figures(bench: Bench) -> list[Figure]:
    """What the judge can see in real images, raw and round-tripped."""
    truth = bench.truth(bench.test)
    figures, values = [], []
    for label in JUDGED:
        column = bench.column(label)
        scores, again = (arrays["probabilities"][:, column] for arrays in (bench.real_test, bench.round_test))
        values.append(auroc.auroc(scores, truth[:, column]))
        bounds = auroc.interval(scores, truth[:, column], bench.patients)
        beside = f"round-tripped {auroc.auroc(again, truth[:, column]):.3f}; {int(truth[:, column].sum())} positives"
        figures.append(Figure(f"judge on real nih-test: {label}", f"{values[-1]:.3f}{between(bounds)}", beside))
    mean = float(np.nanmean(values))
    return [
        Figure("judge on real nih-test: macro AUROC", f"{mean:.3f}", "over the six below", ">= 0.75", mean >= 0.75),
        *figures,
    ]


def pair_figures(bench: Bench) -> list[Figure]:
    """Whether the requested finding shows, and what the key patches do for it."""
    truth = bench.truth(bench.test)
    figures = []
    for label in PAIR_LABELS:
        column = bench.column(label)
        normal = bench.pairs(None, "own")["probabilities"][:, column]
        real, again = (
            auroc.auroc(a["probabilities"][:, column], truth[:, column]) for a in (bench.real_test, bench.round_test)
        )
        beside = f"real {real:.3f}; round-tripped {again:.3f}"
        for patches, title in (
            ("own", "with key patches"),
            ("no", "without (--k2 0)"),
            ("wrong", f"of {WRONG[label]}"),
        ):
            asked = bench.pairs(label, patches)["probabilities"][:, column]
            scores, wanted = np.concatenate([asked, normal]), np.repeat([1, 0], [len(asked), len(normal)])
            value = auroc.auroc(scores, wanted)
            bounds = auroc.interval(scores, wanted, [*range(len(asked)), *range(len(normal))])
            bar, held = (">= 0.80", value >= 0.8) if patches == "own" else ("", None)
            what = f"{len(asked)} pairs, {label} against normal: {title}"
            figures.append(Figure(what, f"{value:.3f}{between(bounds)}", beside, bar, held))
    return figures


def sameness_figures(bench: Bench) -> list[Figure]:
    """Whether normal images differ from each other as much as real ones do."""
    ours = bench.pairs(None, "own")["images"][:100]
    real = bench.round_test["images"][bench.normals()[: len(ours)]]
    value, other = (
        float(msssim.of_pairs(images.__getitem__, msssim.draw_pairs(len(images))).mean()) for images in (ours, real)
    )
    what = f"MS-SSIM among {len(ours)} synthetic normals"
    beside = f"{len(real)} round-tripped real normals {other:.3f}; one image repeated 1"
    return [Figure(what, f"{value:.3f}", beside, "within 0.1", abs(value - other) <= 0.1 < 1 - other)]


def write_sheet(bench: Bench) -> Path:
    """Real, round-tripped and synthetic images in one shuffled sheet, and the key to it, in the cache folder."""
    random = np.random.default_rng([bench.options.seed, 4])
    tiles = []
    for kind, arrays in (
        ("real", bench.real_test),
        ("round-tripped", bench.round_train),
        ("synthetic", bench.generated),
    ):
        chosen = random.permutation(len(arrays["images"]))[:IN_SHEET]
        tiles += [(kind, arrays["images"][i]) for i in chosen]
    order = random.permutation(len(tiles))
    sheet = sheets.contact_sheet([tiles[i][1] for i in order], [str(number + 1) for number in range(len(order))], 8)
    path: Path = bench.options.cache / "sheet.png"
    atomic.write_bytes(path, pixels.encode_png(sheet))
    key = {number + 1: tiles[i][0] for number, i in enumerate(order)}
    atomic.write_text(path.with_name("sheet-key.json"), json.dumps(key, indent=1) + "\n")
    return path


def between(bounds: Sequence[float] | None) -> str:
    """An interval in brackets."""
    return f" [{bounds[0]:.3g}, {bounds[1]:.3g}]" if bounds is not None else ""


def times(value: float, reference: float) -> str:
    """How many times a reference a value is, in brackets; nothing for a reference of zero or less."""
    return f" ({value / reference:.2f} x)" if reference > 0 else ""


def report(bench: Bench, figures: Sequence[Figure]) -> str:
    """The Markdown file."""
    options = bench.options
    marks = {True: "yes", False: "no", None: ""}
    lines = [
        "# Quality",
        "",
        f"Bundle `{bench.bundle.name}` ({bench.bundle.sha256[:12]}), judge of `{bench.looks_with.name}`, "
        f"{len(bench.prompts)} prompts from nih-test, {options.pairs} pairs a finding, seed {options.seed}, "
        f"temperature {options.temperature}, top-k {options.top_k}, guidance {options.cfg}, on {bench.device.type}. "
        "Written by `benchmarks/quality.py`; brackets are intervals of 95 %.",
        "",
        "Distances are on EfficientNet-Lite2 features against the real images of nih-test. References from the same "
        "run: real training images at the same n, views and labels; the same passed through the tokenizer; one of "
        "those repeated. A bar that the repeated image passes counts as not reached.",
        "",
        "| what | value | beside it | must reach | reached |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {f.what} | {f.value} | {f.beside} | {f.bar} | {marks[f.held]} |" for f in figures]
    return "\n".join(lines) + "\n"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).resolve().parent
    sampling = Sampling()
    parser.add_argument("--data", type=Path, default=root.parents[1] / "shared" / "data", help="folder of the shards")
    parser.add_argument("--bundle", default="cxr-mini")
    parser.add_argument("--judge", help="bundle whose judge and features look at the images; default: the bundle's")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-n", type=int, default=354, help="number of test prompts, at most all of nih-test")
    parser.add_argument("--pairs", type=int, default=100, help="pairs a finding")
    parser.add_argument("--temperature", type=float, default=sampling.temperature)
    parser.add_argument("--top-k", type=int, default=sampling.top_k)
    parser.add_argument("--cfg", type=float, default=sampling.cfg)
    parser.add_argument("--cache", type=Path, default=root.parent / "runs" / "quality")
    parser.add_argument("-o", "--out", type=Path, default=root / "quality.md")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure everything and write the report."""
    bench = Bench(parse(argv))
    figures = tokenizer_figures(bench) + set_figures(bench) + judge_figures(bench)
    figures += pair_figures(bench) + sameness_figures(bench)
    sheet = write_sheet(bench)
    text = report(bench, figures)
    atomic.write_text(bench.options.out, text)
    print(text)
    console().print(f"shuffled sheet: {sheet} (key beside it)", markup=False)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MedsynthError as error:
        sys.exit(f"error: {error.message} ({error.hint})")
