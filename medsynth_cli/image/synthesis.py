"""Synthesis: aligned records to image codes to pixels."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from medsynth_cli import modality as modalities
from medsynth_cli.errors import MedsynthError
from medsynth_cli.runtime.conversion import to_images
from medsynth_cli.text import vocabulary as vocabularies
from medsynth_cli.tokens import generator as generators
from medsynth_cli.tokens import tokenizer as tokenizers
from medsynth_cli.tokens.decoding import ROWS, Sampling, gumbel, sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.files.records import Record
    from medsynth_cli.runtime.bundles import Bundle
    from medsynth_cli.tokens.generator import Generator
    from medsynth_cli.tokens.vqgan import Vqgan


@dataclass(frozen=True)
class Synthetic:
    """One synthetic image.

    Attributes:
        record: the aligned record that asked for it.
        codes: int64 ``(g, g)``, [0, K).
        pixels: uint8 ``(H, W)``.
    """

    record: Record
    codes: NDArray[np.int64]
    pixels: NDArray[np.uint8]

    @property
    def codes_sha256(self) -> str:
        """Hash of the codes, as little-endian 16-bit numbers in reading order."""
        return hashlib.sha256(self.codes.astype("<u2").tobytes()).hexdigest()


@dataclass(frozen=True)
class Synthesizer:
    """Generator and tokenizer of one bundle, on one device."""

    bundle: Bundle
    generator: Generator
    tokenizer: Vqgan
    device: torch.device

    def images(
        self, records: Iterable[Record], seed: int, sampling: Sampling, batch_size: int = 64
    ) -> Iterator[Synthetic]:
        """Make one image a record.

        An image depends on its record, ``seed`` and ``sampling`` alone: the noise is drawn by
        (seed, record id), and batches are padded to one shape.

        Raises:
            MedsynthError: a record was aligned with another tokenizer's codebook.
        """
        waiting = iter(records)
        while batch := list(islice(waiting, min(batch_size, ROWS[self.device.type]))):
            codes = self._codes(batch, seed, sampling)
            for record, own, pixels in zip(batch, codes, self._pixels(codes), strict=True):
                yield Synthetic(record, own, pixels)

    def _codes(self, batch: list[Record], seed: int, sampling: Sampling) -> NDArray[np.int64]:
        encoder = self.generator.encoder
        layout = encoder.layout
        expected = self.bundle.tokenizer_sha256
        for record in batch:
            if record["tokenizer_sha256"] != expected:
                raise MedsynthError(
                    f"record {record['id']} was aligned with another tokenizer than bundle {self.bundle.name}'s",
                    "run medsynth align with the same --bundle",
                )
        steps = layout.grid**2
        noise = [gumbel((seed, zlib.crc32(str(record["id"]).encode())), steps, layout.codes) for record in batch]
        prefixes = np.stack([encoder.prefix(record) for record in batch])
        persons = np.stack([encoder.person(record) for record in batch])
        return sample(self.generator.decoder, layout, prefixes, persons, np.stack(noise), sampling)

    def _pixels(self, codes: NDArray[np.int64]) -> NDArray[np.uint8]:
        rows = np.arange(ROWS[self.device.type]) % len(codes)
        pixels = self.tokenizer.decode(torch.from_numpy(codes[rows]).to(self.device))
        return to_images(pixels[: len(codes)])


def load(bundle: Bundle, device: torch.device) -> Synthesizer:
    """The synthesizer of a bundle."""
    vocabulary = vocabularies.load(modalities.find(bundle.modality))
    label_of = {key: term.label for key, term in vocabulary.terms.items() if term.label}
    return Synthesizer(bundle, generators.load(bundle, device, label_of), tokenizers.load(bundle, device), device)
