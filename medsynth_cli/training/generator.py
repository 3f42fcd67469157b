"""Training of the language model that writes image codes.

Every image is seen with a report written anew from its metadata, and with key patches of several kinds,
because at use the patches come from other patients: patches of the image itself (so that the model learns
that they matter and where they go), patches that retrieval fetches for the same words, patches of wrong
words (so that the report has the last word), and none at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medsynth_cli.alignment.windows import PATCH, best
from medsynth_cli.alignment.words import Word
from medsynth_cli.runtime import devices
from medsynth_cli.tokens import generator as generators
from medsynth_cli.tokens.language_model import LanguageModel, LanguageModelConfig
from medsynth_cli.training.loop import Average, Trainee, batch_indices, cosine, draws, set_rate
from medsynth_cli.training.muon import Muon

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.alignment.retrieval import Retriever
    from medsynth_cli.files.records import Record
    from medsynth_cli.tokens.sequence import Layout, SequenceEncoder
    from medsynth_cli.training.corpus import ReportWriter

HEAD_SIZE = 64
"""Dimensions of an attention head: smaller ones take longer for the same hidden size."""

MUON_SCALE = 2.0
"""Learning rate of Muon relative to AdamW's."""


@dataclass(frozen=True)
class GeneratorOptions:
    """Settings of a run.

    Attributes:
        own_patches: share of sequences with key patches of the image itself.
        fetched_patches: share with key patches that retrieval fetches for its words.
        wrong_patches: share with key patches of a word that the image does not show; the rest has none.
        dropped_text: share of sequences without the report's words (findings stay); those of normal images that
            have no patches either are what guidance leads away from.
        dropped_person: share of sequences without view, of those without sex, and of those without age.
        versions: versions of each image's codes: as it is, and slightly moved.
        finding_weight: how much more often images with findings are drawn.
        described_weight: how much more often images whose view is known are drawn; prompts mostly name one.
        layers: of a new language model; one that the run starts from keeps its own shape.
        hidden_size: of a new language model, a multiple of `HEAD_SIZE`.
    """

    steps: int = 3000
    batch_size: int = 16
    learning_rate: float = 1.5e-3
    dropout: float = 0.1
    own_patches: float = 0.4
    fetched_patches: float = 0.25
    wrong_patches: float = 0.15
    dropped_text: float = 0.3
    dropped_person: float = 0.15
    versions: int = 3
    finding_weight: float = 2.0
    described_weight: float = 3.0
    average_decay: float = 0.998
    layers: int = 6
    hidden_size: int = 256
    seed: int = 0


@dataclass(frozen=True)
class GeneratorData:
    """Images as codes.

    Attributes:
        codes: uint16 ``(N, A, g, g)``: A slightly moved versions of each image.
        places: int8 ``(N, P, 2)``: upper left code of the best patch of each word, -1 where the image lacks it.
        metas: metadata of each image.
    """

    codes: NDArray[np.uint16]
    places: NDArray[np.int8]
    metas: list[dict[str, Any]]


class GeneratorTrainee(Trainee[LanguageModel]):
    """The language model and its data.

    Args:
        train: training images.
        validation: validation images.
        words: the words of ``places``.
        retriever: fetches key patches.
        writer: writes reports from metadata.
        encoder: writes prefixes.
        model: shape of the language model.
        options: settings of the run.
        device: where to train.
        tokenizer_sha256: hash of the image tokenizer, for `export`.
        start: weights to go on from.
    """

    def __init__(
        self,
        train: GeneratorData,
        validation: GeneratorData,
        words: list[Word],
        retriever: Retriever,
        writer: ReportWriter,
        encoder: SequenceEncoder,
        model: LanguageModelConfig,
        options: GeneratorOptions,
        device: torch.device,
        tokenizer_sha256: str,
        start: dict[str, Tensor] | None = None,
    ) -> None:
        torch.manual_seed(options.seed)
        self.train, self.validation, self.words = train, validation, words
        self.retriever, self.writer, self.encoder = retriever, writer, encoder
        self.options, self.device, self.tokenizer_sha256 = options, device, tokenizer_sha256
        self.model = LanguageModel(model).to(device)
        if start is None:
            self.model.reset_weights()
        else:
            self.model.load_state_dict(start)
        self.optimisers = _optimisers(self.model, device)
        self.average = Average(self.model, options.average_decay)
        self.order = np.repeat(np.arange(len(train.metas)), [_repeats(meta, options) for meta in train.metas])

    def step(self, step: int) -> dict[str, float]:
        """One optimiser step on one batch."""
        options, random = self.options, draws(self.options.seed, step)
        rows = self.order[batch_indices(len(self.order), options.batch_size, options.seed, step)]
        sequences = np.stack([self._sequence(self.train, int(row), random) for row in rows])
        torch.manual_seed(int(random.integers(2**31)))
        self.model.train()
        loss = self._loss(torch.from_numpy(sequences).to(self.device))
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser in self.optimisers:
            set_rate(optimiser, cosine(step, options.steps, options.learning_rate, 50, 0.05))
            optimiser.step()
        self.average.update(self.model, step)
        return {"loss": float(loss.detach())}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Nats a code on validation images: as prompted, and told the person alone."""
        random = np.random.default_rng([self.options.seed, 3])
        records = [self._record(self.validation, i, random) for i in range(len(self.validation.metas))]
        prompted = np.stack([self.encoder.prefix(record) for record in records])
        persons = np.stack([self.encoder.person(record) for record in records])
        codes = self.validation.codes[:, 0].reshape(len(records), -1).astype(np.int64)
        losses = {}
        with self.average.applied(self.model):
            for name, prefixes in (("val_loss", prompted), ("val_person", persons)):
                sequences = torch.from_numpy(np.concatenate([prefixes, codes], axis=1))
                parts = [float(self._loss(part.to(self.device))) * len(part) for part in sequences.split(16)]
                losses[name] = sum(parts) / len(sequences)
        return losses

    def export(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights and configuration of the bundle part."""
        return generators.export(self.average.weights, self.model.config, self.encoder, self.tokenizer_sha256)

    def _loss(self, sequences: Tensor) -> Tensor:
        """Cross-entropy of the image codes alone."""
        layout: Layout = self.encoder.layout
        with devices.autocast(self.device):
            hidden = self.model.hidden(sequences[:, :-1])[:, layout.prefix - 1 :]
            logits = hidden @ self.model.lm_head.weight[: layout.codes].T
        wanted = sequences[:, layout.prefix :]
        return F.cross_entropy(logits.float().flatten(0, 1), wanted.flatten())

    def _sequence(self, data: GeneratorData, row: int, random: np.random.Generator) -> NDArray[np.int64]:
        """One training sequence: int64 ``(length,)``."""
        options = self.options
        codes = data.codes[row, random.integers(data.codes.shape[1])].astype(np.int64)
        record = self._record(data, row, random, codes)
        if random.random() < options.dropped_text:
            record["report"] = {"findings": "", "impression": ""}
        return np.concatenate([self.encoder.prefix(record), codes.flatten()])

    def _record(
        self, data: GeneratorData, row: int, random: np.random.Generator, codes: NDArray[np.int64] | None = None
    ) -> Record:
        """The aligned record of an image; its own patches are taken from ``codes`` if given."""
        options = self.options
        record = self.writer.aligned(self._anonymous(data.metas[row], random), random)
        kind, words = random.random(), list(self._asserted_words(record))
        if codes is not None and kind < options.own_patches:
            record["key_patches"] = self._own_patches(data.places[row], words, codes, random)
        elif kind < options.own_patches + options.fetched_patches:
            record["key_patches"] = self._fetch(words, random)
        elif kind < options.own_patches + options.fetched_patches + options.wrong_patches:
            shown = {word.label for word in words}
            wrong = [word for word in self.words if word.label not in shown]
            record["key_patches"] = self._fetch([wrong[random.integers(len(wrong))]], random)
        return record

    def _anonymous(self, meta: dict[str, Any], random: np.random.Generator) -> dict[str, Any]:
        """Metadata with view, sex and age left out now and then, since users may leave them out."""
        dropped = {name: None for name in ("view", "sex", "age") if random.random() < self.options.dropped_person}
        return meta | dropped

    def _asserted_words(self, record: Record) -> list[Word]:
        """The codebook words of what the report asserts, with its side where there is such a word."""
        layout, found = self.encoder.layout, []
        for label, (_, side) in sorted(self.encoder.asserted(record).items()):
            sides = {word.side: word for word in self.words if word.label == layout.labels[label]}
            word = sides.get(side or "", sides.get(""))
            if word is not None:
                found.append(word)
        return found

    def _own_patches(
        self, places: NDArray[np.int8], words: list[Word], codes: NDArray[np.int64], random: np.random.Generator
    ) -> list[dict[str, Any]]:
        patches = []
        for word in words:
            row, column = (int(v) for v in places[self.words.index(word)])
            if row < 0:
                continue
            limit = codes.shape[0] - PATCH
            row = int(np.clip(row + random.integers(-1, 2), 0, limit))
            column = int(np.clip(column + random.integers(-1, 2), 0, limit))
            own = codes[row : row + PATCH, column : column + PATCH]
            patches.append({"term": word.term, "at": [row, column], "codes": own.tolist()})
        return patches[: self.encoder.layout.patches]

    def _fetch(self, words: list[Word], random: np.random.Generator) -> list[dict[str, Any]]:
        count = int(random.integers(1, self.encoder.layout.patches + 1))
        return self.retriever.fetch([(word.term, word.side or None) for word in words], count, random)


def _repeats(meta: dict[str, Any], options: GeneratorOptions) -> int:
    """How often an image is seen while one without findings and of unknown view is seen once."""
    weight = options.finding_weight if meta.get("labels") else 1.0
    return round(weight * (options.described_weight if meta.get("view") else 1.0))


def _optimisers(model: LanguageModel, device: torch.device) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embeddings, head, norms and biases."""
    matrices = [p for p in model.gpt_neox.layers.parameters() if p.dim() == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    muon = Muon([{"params": matrices, "scale": MUON_SCALE}], weight_decay=0.05, precision=devices.precision(device))
    return [muon, torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.0)]


def places_of(scores_PWW: NDArray[np.float32], labels: list[str], words: list[Word]) -> NDArray[np.int8]:
    """Upper left code of the best patch of each word that an image shows, -1 for the others: ``(P, 2)``."""
    places = np.full((len(words), 2), -1, dtype=np.int8)
    for number, word in enumerate(words):
        if word.label in labels:
            places[number] = best(scores_PWW[number], word.side)[:2]
    return places
