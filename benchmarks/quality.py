"""The quality of a bundle: every figure beside its references, from one run.

    python benchmarks/quality.py --data ../shared/data [-n 354] [--pairs 100] [--cache runs/quality]

writes ``benchmarks/quality.md``. Stages are cached in ``--cache``, by bundle and settings, so that an
interrupted run goes on; the shuffled sheet and its key lie there too, since the sheet shows real images.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from medsynth_cli import modality as modalities
from medsynth_cli.alignment import retrieval
from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import atomic, datasets, pixels, sheets
from medsynth_cli.files.records import Failures, Record
from medsynth_cli.image import pipeline, synthesis
from medsynth_cli.metrics import auroc, comparison, frechet, kernel, msssim
from medsynth_cli.metrics.prdc import prdc
from medsynth_cli.recognition import features, judges
from medsynth_cli.runtime import bundles, devices
from medsynth_cli.runtime.progress import Progress, console
from medsynth_cli.text import termsets
from medsynth_cli.tokens import tokenizer as tokenizers
from medsynth_cli.tokens.decoding import Sampling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.files.datasets import Item

Arrays = dict[str, "NDArray[Any]"]

PAIR_LABELS = ("Effusion", "Cardiomegaly")
JUDGED = ("Effusion", "Cardiomegaly", "Atelectasis", "Pneumothorax", "Consolidation", "Edema")
WRONG = dict(zip(PAIR_LABELS, PAIR_LABELS[::-1], strict=True))
"""Whose key patches take the place of a finding's own."""
QUICK: dict[str, Callable[..., float]] = {
    "FD-EffNet": frechet.distance_by_spectrum,
    "KID-EffNet": functools.partial(kernel.distance, subsets=10),
}
"""Forms of the distances that are fast enough for intervals."""
IN_SHEET = 16
BATCH = 16


@dataclass(frozen=True)
class Figure:
    """One line of the table; ``held`` is None where no bar is set."""

    what: str
    value: str
    beside: str = ""
    bar: str = ""
    held: bool | None = None


class Cache:
    """Stages that are computed once: one ``.npz`` a stage and key."""

    def __init__(self, folder: Path, key: dict[str, Any]) -> None:
        self.folder, self.key = folder, key

    def get(self, stage: str, make: Callable[[], Arrays], **key: Any) -> Arrays:
        """The arrays of a stage, from the cache if they are there."""
        text = json.dumps(self.key | key, sort_keys=True)
        path = self.folder / f"{stage}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.npz"
        if path.exists():
            with np.load(path) as stored:
                return dict(stored)
        console().print(f"stage: {stage} {key or ''}", markup=False)
        arrays = make()
        with atomic.replacing(path) as handle:
            np.savez(handle, **arrays)  # type: ignore[arg-type]
        return arrays


class Bench:
    """The bundle under test, the real images, and the stages."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.bundle, self.device = bundles.load(options.bundle), devices.resolve(options.device)
        self.size_px = modalities.load(str(self.bundle.manifest["modality"])).resolution_px
        self.test = self._items("nih-test")
        self.train = self._items("nih-train")
        self.sampling = Sampling(options.temperature, options.top_k, options.cfg)
        settings = {"seed": options.seed, "sampling": [options.temperature, options.top_k, options.cfg]}
        self.cache = Cache(options.cache, {"bundle": self.bundle.sha256, "device": self.device.type} | settings)
        self.prompts = self.test[: options.n]

    # --- sets of images, each with what the networks say about it

    @functools.cached_property
    def real_test(self) -> Arrays:
        return self._looked_at("real-test", lambda: self._stack(self.test))

    @functools.cached_property
    def round_test(self) -> Arrays:
        return self._looked_at("round-test", lambda: self._round_trip(self.real_test["images"]))

    @functools.cached_property
    def real_train(self) -> Arrays:
        """Training images with the views and labels of the prompts."""
        matched = match(self.prompts, self.train, self.options.seed)
        return self._looked_at("real-train", lambda: self._stack(matched), n=len(matched))

    @functools.cached_property
    def round_train(self) -> Arrays:
        images = self.real_train["images"]
        return self._looked_at("round-train", lambda: self._round_trip(images), n=len(images))

    @functools.cached_property
    def repeated(self) -> Arrays:
        """One round-tripped image as often as there are prompts: what collapse would score."""
        return {key: np.repeat(values[:1], len(self.prompts), axis=0) for key, values in self.round_train.items()}

    @functools.cached_property
    def generated(self) -> Arrays:
        def make() -> NDArray[np.uint8]:
            random = np.random.default_rng([self.options.seed, 1])
            metas = [{"id": item.id} | item.meta for item in self.prompts]
            asked = [termsets.from_metadata(meta, self.retriever.vocabulary, random) for meta in metas]
            return self._generate(self._aligned(asked, None), "images of the test prompts")

        return self._looked_at("generated", make, n=len(self.prompts))

    def pairs(self, label: str | None, patches: str) -> Arrays:
        """Images of the pairs: ``label`` requested (None: normal), with ``own``, ``no`` or ``wrong`` key patches.

        The same number means the same seed, view, sex and age, in all of them.
        """

        def make() -> NDArray[np.uint8]:
            records = self._aligned(self._pair_terms(label), 0 if patches == "no" else None)
            if patches == "wrong":
                records = [self._with_wrong_patches(record, str(label)) for record in records]
            return self._generate(records, f"{label or 'normal'}, {patches} key patches")

        return self._looked_at("pairs", make, label=label, patches=patches, count=self.options.pairs)

    # --- how they are made

    @functools.cached_property
    def retriever(self) -> retrieval.Retriever:
        return retrieval.load(self.bundle)

    @functools.cached_property
    def synthesizer(self) -> synthesis.Synthesizer:
        return synthesis.load(self.bundle, self.device)

    @functools.cached_property
    def tokenizer(self) -> Any:
        return tokenizers.load(self.bundle, self.device)

    @functools.cached_property
    def judge(self) -> judges.Judge:
        return judges.load(self.bundle, self.device)

    @functools.cached_property
    def extractor(self) -> features.Extractor:
        return features.load(self.bundle, self.device)

    def truth(self, items: Sequence[Item]) -> NDArray[np.float32]:
        """Labels of real images, float32 ``(N, L)``, in the judge's order."""
        return judges.label_matrix([item.meta.get("labels") or [] for item in items], self.judge.labels)

    def column(self, label: str) -> int:
        """Place of a label in the judge's order."""
        return self.judge.labels.index(label)

    def normals(self) -> list[int]:
        """Indices of test images without a finding, in a shuffled order."""
        order = np.random.default_rng([self.options.seed, 2]).permutation(len(self.test))
        return [int(i) for i in order if not self.test[i].meta.get("labels")]

    def _items(self, split: str) -> list[Item]:
        paths = sorted(self.options.data.glob(f"{split}-*.tar"))
        if not paths:
            raise MedsynthError(f"{self.options.data}: no {split}-*.tar in it", "name the data folder with --data")
        return list(datasets.read(paths))

    def _stack(self, items: Sequence[Item]) -> NDArray[np.uint8]:
        return datasets.stack(items, self.size_px)

    def _looked_at(self, stage: str, make: Callable[[], NDArray[np.uint8]], **key: Any) -> Arrays:
        def look() -> Arrays:
            images = self.cache.get(f"{stage}-images", lambda: {"images": make()}, **key)["images"]
            return {
                "images": images,
                "features": self.extractor(images),
                "probabilities": self.judge.probabilities(images),
            }

        return self.cache.get(stage, look, **key)

    def _round_trip(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        found = []
        with Progress("round trip", len(images)) as progress:
            for start in range(0, len(images), BATCH):
                ours = self.tokenizer.decode(self._codes(images[start : start + BATCH]))[:, 0]
                found.append((ours * 255).round().to(torch.uint8).cpu().numpy())
                progress.advance(len(ours))
        return np.concatenate(found)

    def _codes(self, images: NDArray[np.uint8]) -> torch.Tensor:
        return self.tokenizer.encode(torch.from_numpy(images).to(self.device)[:, None].float() / 255)

    def codes_used(self, images: NDArray[np.uint8]) -> int:
        """Number of different codes among those of ``images``."""
        parts = [self._codes(images[start : start + BATCH]).flatten() for start in range(0, len(images), BATCH)]
        return len(torch.cat(parts).unique())

    def _aligned(self, terms: list[Record], k2: int | None) -> list[Record]:
        failures = Failures()
        found = list(pipeline.aligned(terms, self.retriever, k2, self.options.seed, failures))
        if len(found) != len(terms):
            raise MedsynthError(f"{len(terms) - len(found)} prompts got no faithful report", "see the lines above")
        return found

    def _generate(self, records: Sequence[Record], title: str) -> NDArray[np.uint8]:
        images = []
        with Progress(title, len(records)) as progress:
            for image in self.synthesizer.images(records, self.options.seed, self.sampling):
                images.append(image.pixels)
                progress.advance()
        return np.stack(images)

    def _pair_terms(self, label: str | None) -> list[Record]:
        people = self.normals()
        present = {"anatomy": None, "side": None, "severity": None, "present": True}
        term = self.retriever.vocabulary.primary_terms[label].key if label else None
        terms = []
        for number in range(self.options.pairs):
            meta = self.test[people[number % len(people)]].meta
            record: Record = {
                "kind": "terms",
                "id": f"pair-{number:04d}",
                "modality": self.retriever.vocabulary.modality,
            }
            record |= {field: meta.get(field) for field in ("view", "sex", "age")}
            terms.append(record | {"findings": [present | {"term": term}] if term else []})
        return terms

    def _with_wrong_patches(self, record: Record, label: str) -> Record:
        wrong = self.retriever.vocabulary.primary_terms[WRONG[label]].key
        random = np.random.default_rng([self.options.seed, int(record["id"].rpartition("-")[2])])
        return record | {"key_patches": self.retriever.fetch([(wrong, None)], len(record["key_patches"]), random)}


def match(wanted: Sequence[Item], pool: Sequence[Item], seed: int) -> list[Item]:
    """One image of ``pool`` for each of ``wanted``, with its view and the labels most like its own; none twice."""
    free = [pool[i] for i in np.random.default_rng([seed, 3]).permutation(len(pool))]
    found = []
    for item in wanted:
        labels = set(item.meta.get("labels") or [])

        def likeness(other: Item, item: Item = item, labels: set[str] = labels) -> tuple[bool, float]:
            own = set(other.meta.get("labels") or [])
            same = len(own & labels) / len(own | labels) if own | labels else 1.0
            return other.meta.get("view") == item.meta.get("view"), same

        best = max(range(len(free)), key=lambda i: likeness(free[i]))
        found.append(free.pop(best))
    return found


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
    n = len(bench.prompts)
    measures: dict[str, Callable[[NDArray[Any]], float]] = {
        "FD-EffNet": lambda ours: frechet.distance(ours, real),
        "KID-EffNet": lambda ours: kernel.distance(ours, real),
        "coverage": lambda ours: float(prdc(ours, real).coverage.mean()),
    }
    figures = []
    for name, measure in measures.items():
        found = {key: measure(arrays["features"]) for key, arrays in sets.items()}
        ours, round_trip, single = found["generated"], found["round-tripped"], found["one image repeated"]
        if name == "coverage":
            bar, held, void = ">= 0.7 x round-tripped", ours >= 0.7 * round_trip, single >= 0.7 * round_trip
        else:
            bar, held, void = "<= 1.25 x round-tripped", ours <= 1.25 * round_trip, single <= 1.25 * round_trip
        quick = QUICK.get(name)
        own = bench.generated["features"]
        bounds = comparison.jackknife(quick, own, real, ours, bench.options.seed) if quick else None
        value = f"{ours:.4g}{between(bounds)}{times(ours, round_trip)}"
        beside = "; ".join(f"{key} {found[key]:.4g}" for key in sets if key != "generated")
        figures.append(Figure(f"{n} images of the test prompts: {name}", value, beside, bar, held and not void))
    return figures


def judge_figures(bench: Bench) -> list[Figure]:
    """What the judge can see in real images, raw and round-tripped."""
    truth = bench.truth(bench.test)
    patients = [str(item.meta.get("patient") or item.id) for item in bench.test]
    figures, values = [], []
    for label in JUDGED:
        column = bench.column(label)
        scores, again = (arrays["probabilities"][:, column] for arrays in (bench.real_test, bench.round_test))
        values.append(auroc.auroc(scores, truth[:, column]))
        bounds = auroc.interval(scores, truth[:, column], patients)
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
            bar = {"bar": ">= 0.80", "held": value >= 0.8} if patches == "own" else {}
            what = f"{len(asked)} pairs, {label} against normal: {title}"
            figures.append(Figure(what, f"{value:.3f}{between(bounds)}", beside, **bar))  # type: ignore[arg-type]
    return figures


def sameness_figures(bench: Bench) -> list[Figure]:
    """Whether normal images differ from each other as much as real ones do."""
    ours = bench.pairs(None, "own")["images"][:100]
    real = bench.round_test["images"][bench.normals()[: len(ours)]]
    value, other = float(msssim.of_pairs(ours).mean()), float(msssim.of_pairs(real).mean())
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
        f"Bundle `{bench.bundle.name}` ({bench.bundle.sha256[:12]}), {len(bench.prompts)} prompts from nih-test, "
        f"{options.pairs} pairs a finding, seed {options.seed}, temperature {options.temperature}, "
        f"top-k {options.top_k}, guidance {options.cfg}, on {bench.device.type}. "
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
