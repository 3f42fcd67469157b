"""Term sets: what an image should show, from a phrase or from a data set's labels and boxes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.text import matching, sampling
from medsynth_cli.text.modifiers import SEVERITIES, SEVERITY_NAMES, SIDES
from medsynth_cli.text.vocabulary import ANATOMY, PATHOLOGY, WORD, Term, Vocabulary, words

BOX_IMAGE_PX = 256
"""Side of the image that the boxes of the data sets are measured in."""
ZONES = (("upper_lung_zone", 0.375), ("mid_lung_zone", 0.57), ("lower_lung_zone", 1.0))
"""Anatomy key and the lower end of the zone, as a share of the image's height."""
CROSSES_MIDLINE = 0.25
"""A box with at least this share of its width on either side of the midline is on both."""
ONE_ZONE = 0.6
"""A finding sits in a zone if at least this share of its boxes' area is centred there."""

_DENIALS = frozenset(("no", "without", "absent", "not"))
_FILLERS = frozenset(
    ("a", "an", "the", "in", "at", "of", "on", "to", "within", "over", "along", "there", "is", "are", "with", "sided",
     "side", "evidence", "sign", "any")
)  # fmt: skip
_NORMAL = re.compile(r"\s*(normal|none|(normal )?no (acute )?(findings?|abnormality|disease)|unremarkable)[\s.]*", re.I)
_BOTH_SIDES = re.compile(r"\b(left(?:-sided)?\s+and\s+right|right(?:-sided)?\s+and\s+left)\b", re.I)
_DROPS_DENIAL = frozenset(("a", "an", "the", "there")) | SEVERITIES.keys() | SIDES.keys()


def parse(text: str, vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """Findings from a phrase such as ``left effusion, moderate cardiomegaly, no pneumothorax``.

    Commas and semicolons separate findings; "and" and "or" do too, and carry a "no" on. ``normal`` or ``no finding``
    is an empty list.

    Raises:
        MedsynthError: a part is no known finding (the nearest known ones are named), says two things at once, or
            gives a side to a finding that has none.
    """
    if _NORMAL.fullmatch(text):
        return []
    findings = list[dict[str, Any]]()
    for part in re.split(r"[,;]", _BOTH_SIDES.sub("bilateral", text)):
        denied = False
        for piece in re.split(r"\s+(?=(?:and|or|nor)\s)", part.strip()):
            joined, _, rest = (
                piece.partition(" ") if piece.split(" ")[0].lower() in ("and", "or", "nor") else ("", "", piece)
            )
            tokens = WORD.findall(rest.lower())
            if joined == "and" and tokens and tokens[0] in _DROPS_DENIAL:
                denied = False
            denied = denied or bool(_DENIALS & set(tokens))
            if tokens:
                findings.append(_finding(rest.strip(), tokens, not denied, vocabulary))
    if not findings:
        raise MedsynthError("no finding given", 'such as --findings "left effusion, cardiomegaly", or normal')
    _refuse_contradictions(findings)
    return findings


def from_metadata(meta: Mapping[str, Any], vocabulary: Vocabulary, random: np.random.Generator) -> dict[str, Any]:
    """The term set of one image of a data set.

    Side, zone and severity of a finding follow from its boxes: the patient's right is on the image's left, the zone
    is that of the box's centre, severity goes by the covered share of the image (`Term.extent`). A label without
    boxes gives a finding of unknown side. Half of the normal images get one to three absences.

    Args:
        meta: ``id``, ``labels``, ``boxes`` [{``label``, ``xywh`` in px of a 256-px image}], ``view``, ``sex``, ``age``.
        vocabulary: must know every label.
        random: for the absences.

    Returns:
        A ``terms`` record.

    Raises:
        MedsynthError: a label is not in the vocabulary.
    """
    findings = list[dict[str, Any]]()
    for label in meta.get("labels") or []:
        term = vocabulary.find(label)
        if term is None or term.kind != PATHOLOGY:
            raise MedsynthError(f"{meta.get('id')}: label {label!r} is not in the vocabulary")
        boxes = [box["xywh"] for box in meta.get("boxes") or [] if words(box["label"]) == words(label)]
        findings.append(_from_boxes(term, boxes))
    if not findings and random.random() < 0.5:
        findings = sampling.absences(vocabulary, [], int(random.integers(1, 4)), random)
    return {
        "kind": "terms",
        "id": str(meta["id"]),
        "modality": vocabulary.modality,
        "patient": meta.get("patient"),
        "findings": findings,
        "labels": vocabulary.labels_of(findings),
        "view": meta.get("view"),
        "sex": meta.get("sex"),
        "age": meta.get("age"),
    }


def _finding(text: str, tokens: Sequence[str], present: bool, vocabulary: Vocabulary) -> dict[str, Any]:
    """One finding from the words of a phrase that names exactly one pathology."""
    found = matching.mentions(tokens, vocabulary)
    pathologies = [mention for mention in found if mention.term.kind == PATHOLOGY]
    sites = [mention for mention in found if mention.term.kind == ANATOMY]
    used = {at for mention in found for at in range(mention.start, mention.end)}
    rest = [token for at, token in enumerate(tokens) if at not in used]
    strange = [t for t in rest if t not in SIDES | SEVERITIES and t not in _FILLERS | _DENIALS]
    if not pathologies or strange:
        phrase = " ".join(t for t in tokens if t not in SIDES | SEVERITIES and t not in _FILLERS | _DENIALS)
        raise MedsynthError(
            f"unknown finding {text!r}",
            f"nearest: {', '.join(vocabulary.nearest(phrase or text))}; see medsynth vocab show",
        )
    if len(pathologies) > 1 or len(sites) > 1:
        raise MedsynthError(f"{text!r} names more than one finding or site", "separate findings by commas")
    term = pathologies[0].term
    sides = {SIDES[token] for token in tokens if token in SIDES}
    severities = [SEVERITIES[token] for token in rest if token in SEVERITIES]
    if sides and not term.sided:
        raise MedsynthError(f"{text!r}: {term.name} has no side", f"write {term.name!r} without it")
    side = None if not sides else sides.pop() if len(sides) == 1 else "bilateral"
    return {
        "term": term.key,
        "anatomy": sites[0].term.key if sites else None,
        "side": side,
        "severity": severities[0] if severities else None,
        "present": present,
    }


def _refuse_contradictions(findings: list[dict[str, Any]]) -> None:
    for absent in (f for f in findings if not f["present"]):
        for present in (f for f in findings if f["present"] and f["term"] == absent["term"]):
            if absent["side"] in (None, present["side"]) or "bilateral" in (absent["side"], present["side"]):
                raise MedsynthError(f"{absent['term']} is asked for and denied", "leave one of the two out")


def _from_boxes(term: Term, boxes: Sequence[Sequence[float]]) -> dict[str, Any]:
    finding: dict[str, Any] = {
        "term": term.key, "anatomy": None, "side": None, "severity": None, "present": True,
    }  # fmt: skip
    if len(term.anatomy) == 1:
        finding["anatomy"] = term.anatomy[0]
    if not boxes:
        return finding
    share = sum(w * h for _, _, w, h in boxes) / BOX_IMAGE_PX**2
    if term.extent:
        finding["severity"] = SEVERITY_NAMES[int(np.searchsorted(term.extent, share))]
    if term.sided:
        sides = {side_of_box(box) for box in boxes}
        finding["side"] = sides.pop() if len(sides) == 1 else "bilateral"
        finding["anatomy"] = _zone_of_boxes(boxes, term) or finding["anatomy"]
    return finding


def side_of_box(box: Sequence[float]) -> str:
    """The patient's side, ``left``, ``right`` or ``bilateral``, of a box x, y, width, height in px."""
    x, _, width, _ = box
    on_image_left = (BOX_IMAGE_PX / 2 - x) / max(width, 1e-6)
    if CROSSES_MIDLINE <= on_image_left <= 1 - CROSSES_MIDLINE:
        return "bilateral"
    return "right" if on_image_left > 0.5 else "left"


def _zone_of_boxes(boxes: Sequence[Sequence[float]], term: Term) -> str | None:
    areas = dict[str, float]()
    for _, y, width, height in boxes:
        centre = (y + height / 2) / BOX_IMAGE_PX
        zone = next((key for key, end in ZONES if centre < end), ZONES[-1][0])
        areas[zone] = areas.get(zone, 0.0) + width * height
    zone = max(areas, key=lambda key: areas[key])
    return zone if zone in term.anatomy and areas[zone] >= ONE_ZONE * sum(areas.values()) else None
