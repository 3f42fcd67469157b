"""The sets of images that the quality of a bundle is measured on, and what the networks say about them.

Every set is a stage, made once and kept in a cache folder.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import medsynth_cli
from medsynth_cli import modality as modalities
from medsynth_cli.alignment import retrieval
from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import atomic, datasets
from medsynth_cli.files.records import Failures, Record
from medsynth_cli.image import pipeline, synthesis
from medsynth_cli.recognition import features, judges
from medsynth_cli.recognition.observers import Observer
from medsynth_cli.runtime import bundles, devices
from medsynth_cli.runtime.conversion import to_images, to_pixels
from medsynth_cli.runtime.progress import Progress, console
from medsynth_cli.text import termsets
from medsynth_cli.tokens import tokenizer as tokenizers
from medsynth_cli.tokens.decoding import Sampling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.files.datasets import Item

Arrays = dict[str, "NDArray[Any]"]

PAIR_LABELS = ("Effusion", "Cardiomegaly")
WRONG = dict(zip(PAIR_LABELS, PAIR_LABELS[::-1], strict=True))
"""Whose key patches take the place of a finding's own."""
BATCH = 16


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
            np.savez(handle, **arrays)
        return arrays


class Bench:
    """The bundle under test, the real images, and the stages."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.bundle, self.device = bundles.load(options.bundle), devices.resolve(options.device)
        self.looks_with = bundles.load(options.judge) if options.judge else self.bundle
        self.size_px = modalities.load(self.bundle.modality).resolution_px
        self.test = self._items("nih-test")
        self.train = self._items("nih-train")
        self.sampling = Sampling(options.temperature, options.top_k, options.cfg)
        settings = {"seed": options.seed, "sampling": [options.temperature, options.top_k, options.cfg]}
        made_by = {
            "bundle": self.bundle.sha256,
            "judge": self.looks_with.sha256,
            "code": code_sha256(),
            "device": self.device.type,
        }
        self.cache = Cache(options.cache, made_by | settings)
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
        return judges.load(self.looks_with, self.device)

    @functools.cached_property
    def extractor(self) -> Observer:
        return features.load(self.looks_with, self.device)

    @functools.cached_property
    def patients(self) -> NDArray[np.int64]:
        """Numbers of the patients of the test images."""
        names = [str(item.meta.get("patient") or item.id) for item in self.test]
        return np.unique(names, return_inverse=True)[1].astype(np.int64)

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
                ours = self.tokenizer.decode(self._codes(images[start : start + BATCH]))
                found.append(to_images(ours))
                progress.advance(len(ours))
        return np.concatenate(found)

    def _codes(self, images: NDArray[np.uint8]) -> torch.Tensor:
        return self.tokenizer.encode(to_pixels(images, self.device))

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


def code_sha256() -> str:
    """Hash of the modules that make images or look at them: a stage is made again when they change."""
    package, digest = Path(medsynth_cli.__file__).parent, hashlib.sha256()
    for layer in ("alignment", "image", "recognition", "text", "tokens"):
        for path in sorted((package / layer).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


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
