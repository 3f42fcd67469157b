"""What a codebook holds, in figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from medsynth_cli.alignment.codebook import spoken
from medsynth_cli.alignment.words import all_words

if TYPE_CHECKING:
    from rich.console import Console

    from medsynth_cli.alignment.codebook import Codebook
    from medsynth_cli.files.records import Record
    from medsynth_cli.text.vocabulary import Vocabulary

KIND = "codebook-stats"
QUANTILES = (0, 0.25, 0.5, 0.75, 1)
BARS = " ▁▂▃▄▅▆▇█"
COLUMNS = ("patches", "patients", "least", "median")
BINS = 8
NO_PATCH = "no patch"


def of(codebook: Codebook, vocabulary: Vocabulary) -> Record:
    """A ``codebook-stats`` record.

    ``empty`` names the words without patches: all pathologies of the vocabulary, and anatomy if the codebook has any.
    """
    whole = range(len(codebook.at))
    return {
        "kind": KIND,
        "codebook_sha256": codebook.sha256,
        "words": len(codebook.words),
        "patches": len(codebook.at),
        "images": len(codebook.source),
        "patients": codebook.patients(whole),
        "score": _scores(codebook, whole),
        "entries": [_entry(codebook, number) for number in range(len(codebook.words))],
        "empty": _empty(codebook, vocabulary),
        "settings": {k: v for k, v in codebook.about.get("settings", {}).items() if k != "words"},
        "counts": codebook.about.get("counts", {}),
    }


def _entry(codebook: Codebook, number: int) -> dict[str, Any]:
    term, side = codebook.words[number]
    entries = range(int(codebook.starts[number]), int(codebook.starts[number + 1]))
    told = codebook.about["entries"][number] if codebook.about else {}
    return {
        "term": term,
        "side": side or None,
        "patches": len(entries),
        "images": len(np.unique(codebook.image[entries])),
        "patients": codebook.patients(entries),
        "score": _scores(codebook, entries),
        "near_duplicates_removed": told.get("near_duplicates"),
        "over_patient_limit": told.get("crowded"),
    }


def _scores(codebook: Codebook, entries: range) -> dict[str, Any]:
    """Quantiles of the scores, and how many lie in each of `BINS` equal parts of the codebook's range."""
    scores = codebook.score[entries]
    ends = (float(codebook.score.min()), float(codebook.score.max()))
    counts, _ = np.histogram(scores, BINS, ends)
    return {
        "quantiles": {str(q): round(float(np.quantile(scores, q)), 4) for q in QUANTILES},
        "range": [round(end, 4) for end in ends],
        "histogram": counts.tolist(),
    }


def _empty(codebook: Codebook, vocabulary: Vocabulary) -> list[dict[str, Any]]:
    anatomy = any(vocabulary.terms[term].kind == "anatomy" for term, _ in codebook.words if term in vocabulary.terms)
    why = {(one["term"], one["side"] or ""): one["reason"] for one in codebook.about.get("dropped", [])}
    return [
        {"term": word.term, "side": word.side or None, "reason": why.get((word.term, word.side), NO_PATCH)}
        for word in all_words(vocabulary, anatomy)
        if (word.term, word.side) not in codebook.words
    ]


def show(record: Record, console: Console) -> None:
    """A table of the entries, and the words without patches."""
    from rich import box
    from rich.table import Table

    table = Table("word", *COLUMNS, "best", "scores", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in table.columns[1:-1]:
        column.justify = "right"
    for column in table.columns:
        column.no_wrap = True
    for entry in (*record["entries"], {"term": "all", "side": None} | record):
        quantiles, counts = entry["score"]["quantiles"], entry["score"]["histogram"]
        bars = "".join(BARS[math.ceil(count / max(counts) * (len(BARS) - 1))] for count in counts)
        patients = "?" if entry["patients"] is None else str(entry["patients"])
        figures = [f"{quantiles[str(q)]:.2f}" for q in (0, 0.5, 1)]
        table.add_row(spoken(entry["term"], entry["side"]), str(entry["patches"]), patients, *figures, bars)
    console.print(table)
    reasons: dict[str, list[str]] = {}
    for word in record["empty"]:
        reasons.setdefault(word["reason"], []).append(word["term"].replace("_", " "))
    for reason, terms in reasons.items():
        named = ", ".join(dict.fromkeys(terms))
        console.print(f"{len(terms)} words without patches, sides counted ({reason}): {named}", markup=False)
