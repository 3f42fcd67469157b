"""The coverage map: which findings were asked for where, how many images of each were made, and in how many of them
the judge recognises the finding.

It shows holes: pairs of anatomy and pathology that the vocabulary holds plausible and nobody asked for, that were
asked for and not made, or made and not recognised. The judge knows no places: an image counts as recognised if the
judge finds the pathology anywhere in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import f1
from medsynth_cli.text.vocabulary import ANATOMY, PATHOLOGY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.files.records import Record
    from medsynth_cli.metrics.comparison import Comparison
    from medsynth_cli.text.vocabulary import Vocabulary

UNPLACED = "no place stated"
"""The row of findings whose record does not say where they sit, and which may sit in several places."""
Pair = tuple[str, str]
"""Keys of anatomy (`UNPLACED` for none) and pathology."""


def of(comparison: Comparison, recognise: bool) -> dict[str, Any] | None:
    """The coverage map of the synthetic images.

    Args:
        comparison: the images; those that were lost count as requested and not as made.
        recognise: whether to ask the judge.

    Returns:
        ``anatomy`` and ``pathology``: names of the A rows and P columns; ``requested``, ``made`` and ``recognised``:
        numbers of images, ``A`` rows of ``P``; ``plausible``: [row, column] of the pairs that the vocabulary names.
        ``recognised`` is null where the judge does not know the pathology or was not asked. None if no record says
        what was asked for.
    """
    vocabulary, synthetic = comparison.vocabulary, comparison.synthetic
    made, lost = ([_pairs(comparison, record) for record in side] for side in (synthetic.meta, synthetic.lost))
    if all(pairs is None for pairs in (*made, *lost)):
        return None
    plausible = {(anatomy, term.key) for term in vocabulary.of_kind(PATHOLOGY) for anatomy in term.anatomy}
    there = _count(made)
    wanted = there + _count(lost)
    anatomy = _ordered({place for place, _ in plausible | wanted.keys()}, vocabulary, ANATOMY)
    pathology = _ordered({key for _, key in plausible | wanted.keys()}, vocabulary, PATHOLOGY)
    recognised = _recognised(comparison) if recognise else {}

    def seen(place: str, key: str) -> int | None:
        term = vocabulary.terms.get(key)
        found = recognised.get(term.label or "") if term else None
        if found is None:
            return None
        return sum(bool(there) for pairs, there in zip(made, found, strict=True) if (place, key) in (pairs or ()))

    return {
        "anatomy": _names(anatomy, vocabulary),
        "pathology": _names(pathology, vocabulary),
        "requested": [[wanted[place, key] for key in pathology] for place in anatomy],
        "made": [[there[place, key] for key in pathology] for place in anatomy],
        "recognised": [[seen(place, key) for key in pathology] for place in anatomy],
        "plausible": [
            [row, column]
            for row, place in enumerate(anatomy)
            for column, key in enumerate(pathology)
            if (place, key) in plausible
        ],
    }


def _pairs(comparison: Comparison, record: Record) -> set[Pair] | None:
    """What a record asks for, each pair once; None if it does not say. A pathology with one place only sits there."""
    findings = comparison.asked_findings(record)
    if findings is None:
        return None
    pairs = set()
    for finding in findings:
        if finding["present"]:
            term = comparison.vocabulary.terms.get(finding["term"])
            only = term.anatomy[0] if term and len(term.anatomy) == 1 else UNPLACED
            pairs.add((str(finding.get("anatomy") or only), str(finding["term"])))
    return pairs


def _count(images: Iterable[Collection[Pair] | None]) -> Counter[Pair]:
    return Counter(pair for pairs in images for pair in pairs or ())


def _recognised(comparison: Comparison) -> dict[str, NDArray[Any]]:
    """Label -> which synthetic images the judge sees it in, bool ``(N,)``: the labels that real images show as well."""
    try:
        return {
            label: comparison.probabilities[:, column] >= f1.threshold(comparison, column)
            for column, label in enumerate(comparison.labels)
            if comparison.truth[:, column].any()
        }
    except MedsynthError:
        return {}


def _ordered(keys: set[str], vocabulary: Vocabulary, kind: str) -> list[str]:
    """Keys in the order of the vocabulary, then those it does not know, `UNPLACED` last."""
    known = [term.key for term in vocabulary.of_kind(kind) if term.key in keys]
    return known + sorted(keys - {*known}, key=lambda key: (key == UNPLACED, key))


def _names(keys: Sequence[str], vocabulary: Vocabulary) -> list[str]:
    return [vocabulary.terms[key].name if key in vocabulary.terms else key for key in keys]
