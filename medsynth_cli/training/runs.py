"""What ``medsynth train`` runs: data in, a trainee through the loop, a part of a bundle out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import torch

from medsynth_cli import modality as modalities
from medsynth_cli.files import atomic, datasets
from medsynth_cli.runtime import bundles, devices, options
from medsynth_cli.runtime.conversion import to_pixels
from medsynth_cli.runtime.progress import Progress, console
from medsynth_cli.text import vocabulary as vocabularies
from medsynth_cli.training import loop

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.alignment.aligner import Aligner
    from medsynth_cli.alignment.words import Word
    from medsynth_cli.files.datasets import Item
    from medsynth_cli.runtime.bundles import Bundle
    from medsynth_cli.tokens.vqgan import Vqgan

T = TypeVar("T")
Arrays: TypeAlias = "dict[str, NDArray[Any]]"
BATCH = 16


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        data: training shards or folders.
        validation: validation shards or folders.
        bundle: folder of the bundle that gets the part; parts that the training needs are read from it.
        folder: run folder, for checkpoint and curves.
        modality: name of the modality.
        device: where to train.
        settings: fields of the part's options, as text.
        resume: go on from the checkpoint in ``folder``.
        validate_every: steps between two validations.
        start: bundle folder whose weights the run goes on from, for parts that can.
    """

    data: list[Path]
    validation: list[Path]
    bundle: Path
    folder: Path
    modality: str
    device: torch.device
    settings: dict[str, str]
    resume: bool
    validate_every: int
    start: Path | None = None

    def train(self, trainee: loop.Trainee[Any], steps: int) -> None:
        """Take the trainee through the loop."""
        loop.run(trainee, self.folder, steps=steps, validate_every=self.validate_every, resume=self.resume)

    def options(self, options_class: type[T], part: str) -> T:
        """The options of the part, with the run's settings."""
        return options.build(options_class, self.settings, f"train {part}")

    def opened(self) -> Bundle:
        """The bundle to read parts from and write the part to."""
        return bundles.create(self.bundle, self.bundle.resolve().name, self.modality)

    def items(self) -> tuple[list[Item], list[Item]]:
        """Training and validation images."""
        return list(datasets.read(self.data)), list(datasets.read(self.validation))


def tokenizer(run: Run) -> None:
    """Train the VQGAN tokenizer."""
    from medsynth_cli.tokens import tokenizer as tokenizers
    from medsynth_cli.tokens.vqgan import VqganConfig
    from medsynth_cli.training.tokenizer import TokenizerOptions, TokenizerTrainee

    settings = run.options(TokenizerOptions, "tokenizer")
    start = bundles.load(str(run.start)) if run.start else None
    config = tokenizers.config(start.config(tokenizers.PART)) if start else VqganConfig()
    train, validation = (datasets.stack(items, config.resolution_px) for items in run.items())
    weights = start.weights(tokenizers.PART) if start else None
    trainee = TokenizerTrainee(train, validation, config, settings, run.device, weights)
    run.train(trainee, settings.steps)
    bundle = run.opened()
    bundles.write_part(bundle, tokenizers.PART, *trainee.export())
    for part in bundles.drop_stale(bundle):
        console().print(f"{run.bundle}: {part} was made with other codes and is gone; make it again", markup=False)


def decoder(run: Run) -> None:
    """Sharpen the decoder of the bundle's tokenizer."""
    from medsynth_cli.tokens import tokenizer as tokenizers
    from medsynth_cli.training.decoder import DecoderOptions, DecoderTrainee

    settings = run.options(DecoderOptions, "decoder")
    bundle = bundles.load(str(run.bundle))
    config = tokenizers.config(bundle.config(tokenizers.PART))
    train, validation = (datasets.stack(items, config.resolution_px) for items in run.items())
    trainee = DecoderTrainee(train, validation, config, bundle.weights(tokenizers.PART), settings, run.device)
    run.train(trainee, settings.steps)
    bundles.write_part(run.opened(), tokenizers.PART, *trainee.export())


def aligner(run: Run) -> None:
    """Train the word-patch aligner."""
    from medsynth_cli.alignment import aligner as aligners
    from medsynth_cli.alignment import words as word_lists
    from medsynth_cli.training import corpus
    from medsynth_cli.training.aligner import AlignerData, AlignerOptions, AlignerTrainee

    settings = run.options(AlignerOptions, "aligner")
    modality = modalities.load(run.modality)
    vocabulary = vocabularies.load(modality.folder)
    words = word_lists.words(vocabulary)
    known = {word for term in vocabulary.terms.values() for phrase in term.phrases for word in aligners.split(phrase)}
    config = aligners.AlignerConfig(words=tuple(sorted(known | {"left", "right", "bilateral"})))
    sets = []
    for items in run.items():
        said = corpus.mentions(items, words, config.grid, modality.resolution_px)
        sets.append(AlignerData(datasets.stack(items, modality.resolution_px), said.targets, said.boxes))
    phrases = [word.phrase for word in words]
    trainee = AlignerTrainee(sets[0], sets[1], phrases, config, settings, run.device)
    run.train(trainee, settings.steps)
    bundles.write_part(run.opened(), aligners.PART, *trainee.export())


def judge(run: Run) -> None:
    """Train the judge, and store the feature extractor that goes with it in evaluations."""
    from medsynth_cli.recognition import features, judges
    from medsynth_cli.training.judge import JudgeOptions, JudgeTrainee

    settings = run.options(JudgeOptions, "judge")
    modality = modalities.load(run.modality)
    images, truths = [], []
    for items in run.items():
        images.append(datasets.stack(items, modality.resolution_px))
        truths.append(judges.label_matrix((item.meta.get("labels", []) for item in items), modality.labels))
    trainee = JudgeTrainee(images[0], truths[0], images[1], truths[1], modality.labels, settings, run.device)
    run.train(trainee, settings.steps)
    bundles.write_part(run.opened(), judges.PART, *trainee.export())
    features.export_features(run.opened())


def generator(run: Run) -> None:
    """Train the language model; needs a bundle with tokenizer, aligner and codebook."""
    from medsynth_cli.alignment import aligner as aligners
    from medsynth_cli.alignment import retrieval
    from medsynth_cli.alignment import words as word_lists
    from medsynth_cli.tokens import generator as generators
    from medsynth_cli.tokens import tokenizer as tokenizers
    from medsynth_cli.tokens.language_model import LanguageModelConfig
    from medsynth_cli.tokens.sequence import Layout, SequenceEncoder
    from medsynth_cli.training import corpus
    from medsynth_cli.training.generator import HEAD_SIZE, GeneratorData, GeneratorOptions, GeneratorTrainee

    settings = run.options(GeneratorOptions, "generator")
    bundle, modality = bundles.load(str(run.bundle)), modalities.load(run.modality)
    tokenizer = tokenizers.load(bundle, run.device)
    retriever = retrieval.load(bundle)
    words = word_lists.words(retriever.vocabulary)
    writer = corpus.ReportWriter(modality.folder, retriever.vocabulary, settings.seed)
    items = run.items()
    metas = [[item.meta | {"id": item.id} for item in part] for part in items]
    label_of = {key: term.label for key, term in retriever.vocabulary.terms.items() if term.label}
    if run.start:
        started, encoder = generators.language_model(bundles.load(str(run.start)), label_of)
        shape, weights = replace(started.config, dropout=settings.dropout), started.state_dict()
    else:
        text = corpus.text_tokenizer(writer.texts(metas[0]))
        layout = Layout(
            codes=tokenizer.config.num_vq_embeddings,
            grid=tokenizer.config.grid,
            text_size=text.get_vocab_size(),
            labels=modality.labels,
            views=modality.views,
        )
        encoder, weights = SequenceEncoder(layout, text, label_of), None
        shape = LanguageModelConfig(
            layout.vocab_size,
            hidden_size=settings.hidden_size,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.hidden_size // HEAD_SIZE,
            intermediate_size=4 * settings.hidden_size,
            dropout=settings.dropout,
        )
    aligner = aligners.load(bundle, run.device)

    def data(name: str, items: list[Item], metas: list[dict[str, Any]], versions: int) -> GeneratorData:
        made_of = [bundle.tokenizer_sha256, bundle.part_sha256(aligners.PART), str(versions), *(i.id for i in items)]
        found = _kept(
            run.folder / f"{name}-codes.npz",
            made_of,
            lambda: _encode(items, tokenizer, aligner, words, versions, run.device),
        )
        return GeneratorData(found["codes"], found["places"], metas)

    train = data("train", items[0], metas[0], settings.versions)
    validation = data("validation", items[1], metas[1], 1)
    trainee = GeneratorTrainee(
        train, validation, words, retriever, writer, encoder, shape, settings, run.device,
        bundle.tokenizer_sha256, weights,
    )  # fmt: skip
    run.train(trainee, settings.steps)
    bundles.write_part(run.opened(), generators.PART, *trainee.export())


PARTS: dict[str, Callable[[Run], None]] = {
    "tokenizer": tokenizer,
    "decoder": decoder,
    "aligner": aligner,
    "generator": generator,
    "judge": judge,
}
"""Part of a bundle -> what trains it."""


def _kept(path: Path, made_of: list[str], make: Callable[[], Arrays]) -> Arrays:
    """What ``make`` returns, kept in ``path`` for when the run goes on; made again if ``made_of`` has changed."""
    key = hashlib.sha256("\n".join(made_of).encode()).hexdigest()
    if path.exists():
        with np.load(path) as stored:
            if str(stored["key"]) == key:
                return dict(stored)
    found = make()
    with atomic.replacing(path) as handle:
        np.savez(handle, **(found | {"key": np.array(key)}))  # type: ignore[arg-type]
    return found


@torch.inference_mode()
def _encode(
    items: list[Item], tokenizer: Vqgan, aligner: Aligner, words: list[Word], versions: int, device: torch.device
) -> Arrays:
    """``codes`` and ``places`` of `GeneratorData`: the first version as the images are, the others slightly moved."""
    from medsynth_cli.alignment.windows import scores_of
    from medsynth_cli.training.augment import jitter
    from medsynth_cli.training.generator import places_of

    size = tokenizer.config.resolution_px
    codes = np.zeros((len(items), versions, tokenizer.config.grid, tokenizer.config.grid), dtype=np.uint16)
    places = np.full((len(items), len(words), 2), -1, dtype=np.int8)
    vectors = aligner.encode_words([word.phrase for word in words])
    console().print(f"writing the codes of {len(items)} images", markup=False)
    with Progress("codes", len(items)) as progress, devices.autocast(device):
        for start in range(0, len(items), BATCH):
            part = slice(start, start + BATCH)
            pixels = to_pixels(datasets.stack(items[part], size), device)
            random = loop.draws(0, start)
            for version in range(versions):
                moved = pixels if version == 0 else jitter(pixels, random)
                codes[part, version] = tokenizer.encode(moved).cpu().numpy()
            shown = [i for i, item in enumerate(items[part]) if item.meta.get("labels")]
            if shown:
                scores = scores_of(aligner, aligner.encode_patches(pixels[shown]), vectors)
                for i, own in zip(shown, scores, strict=True):
                    places[start + i] = places_of(own, items[start + i].meta["labels"], words)
            progress.advance(len(pixels))
    return {"codes": codes, "places": places}
