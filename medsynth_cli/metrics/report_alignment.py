"""Report-image alignment: whether an image fits the report it was made from better than the reports of others.

The bundle's aligner says how well each of its words ("left pleural effusion") matches an image: as well as the best
patch does. A report fits an image as well as its words do on average, each word seen from its mean over the images:
some words match any chest. The figure is the probability that the own report fits better than another one that
asserts something else (the area under a ROC curve over pairs of reports); 0.5 is chance.

The aligner was trained on the labelled pathologies and their sides alone, so only these count; a term with the label
of another stands for it. What a report denies or doubts is left out, as it is in retrieval: an image cannot fail to
match it in one place. Reports that assert nothing, such as normal ones, have no figure, but neither do they count as
another report.

The aligner chose the key patches that the bundle's own images are made with, and what selects does not judge: for
them the figure shows that the patches are still there, not that a reader would find the words.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from medsynth_cli import modality
from medsynth_cli.alignment import aligner
from medsynth_cli.alignment import words as word_lists
from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import intervals
from medsynth_cli.metrics.comparison import Comparison, Row, row, unavailable
from medsynth_cli.recognition.observers import Observer
from medsynth_cli.text import entities, termsets, vocabulary
from medsynth_cli.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from medsynth_cli.files.records import Record
    from medsynth_cli.runtime.bundles import Bundle

NAME = "report alignment"
NOTE = (
    "circular for images that this bundle made: its aligner chose their key patches; "
    "words of pathologies that it was trained on, asserted ones only"
)
METHOD = f"bootstrap over patients or records, {intervals.ROUNDS} rounds"
FEWEST = 20
"""Images that an interval needs."""
Words = frozenset[int]
"""Numbers of words in `word_lists.words`."""


def observer(bundle: Bundle, device: torch.device) -> Observer:
    """What says how well each word of `word_lists.words` matches an image, ``(W,)``: its cosine with the best patch.

    That is kept instead of the patches' embeddings, which are a thousand times as large.

    Raises:
        MedsynthError: the bundle has no aligner.
    """
    phrases = [word.phrase for word in word_lists.words(_vocabulary(bundle))]

    @functools.cache
    def loaded() -> tuple[aligner.Aligner, Tensor]:
        model = aligner.load(bundle, device)
        return model, model.encode_words(phrases)

    def forward(images: Tensor) -> Tensor:
        model, words = loaded()
        patches = model.encode_patches(images[:, None].float() / 255)
        return model.match(patches, words).flatten(2).amax(dim=2)

    words_sha256 = hashlib.sha256("|".join(phrases).encode()).hexdigest()
    return Observer(aligner.PART, f"{bundle.part_sha256(aligner.PART)}|{words_sha256}", forward, device)


class Contest:
    """The report of every image against those of others.

    Args:
        matches: of the observer, ``(N, W)``.
        asserted: words of each image's report, N sets, none empty.
    """

    def __init__(self, matches: NDArray[np.floating], asserted: Sequence[Words]) -> None:
        reports = {words: number for number, words in enumerate(dict.fromkeys(asserted))}
        self._own = np.array([reports[words] for words in asserted])
        seen = matches.astype(np.float64) - matches.mean(axis=0, dtype=np.float64)
        fits = np.stack([seen[:, sorted(words)].mean(axis=1) for words in reports], axis=1)
        own = fits[np.arange(len(fits)), self._own][:, None]
        self._wins = (own > fits) + (own == fits) / 2
        self._wins[np.arange(len(fits)), self._own] = 0

    def rate(self, weights: NDArray[np.generic] | None = None) -> float:
        """Share of pairs of an image and another one's different report in which the own report fits better.

        Args:
            weights: how often each image counts, ``(N,)``; None: once.

        Returns:
            A number in [0, 1], ties counted half; NaN if all reports are the same.
        """
        counts = np.ones(len(self._own)) if weights is None else np.asarray(weights, np.float64)
        reports = np.bincount(self._own, counts, minlength=self._wins.shape[1])
        pairs = counts.sum() ** 2 - (reports**2).sum()
        return float(counts @ self._wins @ reports / pairs) if pairs else float("nan")


def score(comparison: Comparison) -> dict[str, Row]:
    """``report alignment`` of the synthetic images.

    The floors of real images take the findings of their labels and boxes for their reports; they need the images, or a
    reference that holds what the aligner says of them.
    """
    said = [_of_report(record, comparison.vocabulary) for record in comparison.synthetic.meta]
    index = np.flatnonzero([bool(words) for words in said])
    if len({said[i] for i in index}) < 2:
        return {NAME: unavailable("needs records with reports that assert different findings with a label")}
    try:
        look = observer(comparison.observers.bundle, comparison.observers.device)
        contest = Contest(comparison.synthetic.of(look)[index], [said[i] for i in index])
    except MedsynthError as error:
        return {NAME: unavailable(error)}

    def on_real(matches: NDArray[np.floating]) -> float:
        labelled = [_of_labels(record, comparison.vocabulary) for record in comparison.real.meta]
        known = np.flatnonzero([bool(words) for words in labelled])
        if not len(known):
            return float("nan")
        return Contest(matches[known], [labelled[i] for i in known]).rate()

    groups = np.unique(comparison.synthetic.groups[index], return_inverse=True)[1]
    bounds = None
    if len(index) >= FEWEST:
        bounds = intervals.percentile([contest.rate(w) for w in intervals.weights(groups, seed=comparison.seed)])
    floors = comparison.on_real(look, on_real) | {"repeated": 0.5}
    more = {"n": len(index), "extractor": look.name, "note": NOTE, "interval_method": METHOD}
    return {NAME: row(contest.rate(), bounds, better="higher", floors=floors, **more)}


def _of_report(record: Record, terms: Vocabulary) -> Words:
    """What the report, or else the prompt, of a record asserts."""
    report = record.get("report")
    text = report if isinstance(report, Mapping) else {"findings": str(report or record.get("prompt") or "")}
    keywords = entities.keywords(text, terms)
    return words_of([word for word in keywords if not word["negated"] and not word["uncertain"]], terms)


def _of_labels(record: Record, terms: Vocabulary) -> Words:
    """What a report written from the labels and boxes of a real image asserts."""
    findings = termsets.from_metadata(record, terms, np.random.default_rng(0))["findings"]
    return words_of([finding for finding in findings if finding["present"]], terms)


def words_of(asserted: Iterable[Mapping[str, Any]], terms: Vocabulary) -> Words:
    """The aligner's words for findings that are there.

    Args:
        asserted: each with ``term`` and ``side``. A term with a label stands for the first term of that label, others
            and anatomy are left out; both sides are no side, and a side said once holds for mentions without one.
        terms: the vocabulary.
    """
    sides: dict[str, set[str]] = {}
    for finding in asserted:
        label = terms.terms[finding["term"]].label
        if label:
            side = finding.get("side") if finding.get("side") in ("left", "right") else None
            sides.setdefault(terms.primary_terms[label].key, set()).update([side] if side else [])
    known = {(word.term, word.side): number for number, word in enumerate(word_lists.words(terms))}
    wanted = [(term, side) for term, said in sides.items() for side in said or ("",)]
    return frozenset(known[word] if word in known else known[word[0], ""] for word in wanted)


def _vocabulary(bundle: Bundle) -> Vocabulary:
    return vocabulary.load(modality.find(bundle.modality))
