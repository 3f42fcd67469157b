"""Retrieval: the words of a report fetch key patches from the visual codebook."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medsynth_cli import modality as modalities
from medsynth_cli.alignment import codebook as codebooks
from medsynth_cli.errors import MedsynthError
from medsynth_cli.text import entities
from medsynth_cli.text import vocabulary as vocabularies

if TYPE_CHECKING:
    from medsynth_cli.alignment.codebook import Codebook
    from medsynth_cli.files.records import Record
    from medsynth_cli.runtime.bundles import Bundle
    from medsynth_cli.text.vocabulary import Vocabulary

K2 = 3
"""Key patches a report, unless asked otherwise."""


@dataclass(frozen=True)
class Retriever:
    """Finds keywords in reports and fetches their key patches.

    Attributes:
        vocabulary: the words that are looked for.
        codebook: the patches they fetch.
    """

    vocabulary: Vocabulary
    codebook: Codebook

    def align(self, record: Record, k2: int | None = None, seed: int = 0) -> Record:
        """Add keywords and key patches to a report record.

        Asserted words fetch patches in turn, so that ``k2`` patches spread over all of them; a word that
        the report denies or doubts fetches none. Which of a word's patches are taken is drawn by
        (seed, record id), better ones more often.

        Raises:
            MedsynthError: the record has no report.
        """
        if "report" not in record:
            raise MedsynthError(f"{record['id']}: no report", "only records with a report can be aligned")
        keywords = entities.keywords(record["report"], self.vocabulary)
        random = np.random.default_rng([seed, zlib.crc32(str(record["id"]).encode())])
        return record | {
            "kind": "aligned",
            "keywords": keywords,
            "key_patches": self.fetch(self._asserted(keywords), K2 if k2 is None else k2, random),
            "tokenizer_sha256": self.codebook.tokenizer_sha256,
            "codebook_sha256": self.codebook.sha256,
        }

    def fetch(self, words: list[tuple[str, str | None]], k2: int, random: np.random.Generator) -> list[dict[str, Any]]:
        """Draw ``k2`` key patches for words (term, side), one word after the other."""
        pools = [(term, list(self._entries(term, side))) for term, side in words]
        pools = [(term, pool) for term, pool in pools if pool]
        patches: list[dict[str, Any]] = []
        while pools and len(patches) < k2:
            term, pool = pools.pop(0)
            weights = np.exp(-np.arange(len(pool)) / max(1.0, len(pool) / 2))
            entry = pool.pop(int(random.choice(len(pool), p=weights / weights.sum())))
            patches.append(self._patch(term, entry))
            if pool:
                pools.append((term, pool))
        return patches

    def _entries(self, term: str, side: str | None) -> list[int]:
        """Patches of a term; of another term with the same label if it has none itself."""
        side = None if side == "bilateral" else side
        found = list(self.codebook.entries(term, side))
        label = self.vocabulary.terms[term].label if term in self.vocabulary.terms else None
        primary = self.vocabulary.primary_terms.get(label) if label else None
        if not found and primary is not None:
            found = list(self.codebook.entries(primary.key, side))
        return found

    def _patch(self, term: str, entry: int) -> dict[str, Any]:
        return {
            "term": term,
            "entry": self.codebook.name(entry),
            "score": round(float(self.codebook.score[entry]), 4),
            "at": self.codebook.at[entry].tolist(),
            "codes": self.codebook.patch_codes(entry).tolist(),
        }

    @staticmethod
    def _asserted(keywords: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
        """The words that are said to be there, each once, with the first side said."""
        found: dict[str, str | None] = {}
        for word in keywords:
            if not word["negated"] and not word["uncertain"]:
                found[word["term"]] = found.get(word["term"]) or word.get("side")
        return list(found.items())


def load(bundle: Bundle, codebook: Path | None = None, modality: str | None = None) -> Retriever:
    """A retriever with the bundle's codebook, or another that fits it."""
    folder = modalities.find(modality or bundle.modality)
    return Retriever(vocabularies.load(folder), codebooks.of(bundle, codebook))
