"""Labels of public data sets in the spelling of NIH ChestX-ray14, by one explicit table each.

A label without a counterpart is None: it is left out, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

CHEXPERT: dict[str, str | None] = {
    "Atelectasis": "Atelectasis",
    "Cardiomegaly": "Cardiomegaly",
    "Consolidation": "Consolidation",
    "Edema": "Edema",
    "Enlarged Cardiomediastinum": None,
    "Fracture": None,
    "Lung Lesion": None,  # mass or nodule: not told apart
    "Lung Opacity": None,
    "No Finding": None,
    "Pleural Effusion": "Effusion",
    "Pleural Other": None,  # thickening among others
    "Pneumonia": "Pneumonia",
    "Pneumothorax": "Pneumothorax",
    "Support Devices": None,
}
"""Column of a table of the CheXpert or NegBio labeller -> label."""
POSITIVE = 1.0
UNCERTAIN = "uncertain (-1) and blank as absent"
"""What becomes of the labellers' other values: "U-Zeros" in the CheXpert paper (Irvin et al. 2019)."""

MESH = {
    "cardiomegaly": ("Cardiomegaly",),
    "cardiac shadow/enlarged": ("Cardiomegaly",),
    "pulmonary atelectasis": ("Atelectasis",),
    "pleural effusion": ("Effusion",),
    "hydropneumothorax": ("Effusion", "Pneumothorax"),
    "hemopneumothorax": ("Effusion", "Pneumothorax"),
    "hemothorax": ("Effusion",),
    "pneumothorax": ("Pneumothorax",),
    "infiltrate": ("Infiltration",),
    "consolidation": ("Consolidation",),
    "pneumonia": ("Pneumonia",),
    "pulmonary edema": ("Edema",),
    "mass/lung": ("Mass",),
    "nodule/lung": ("Nodule",),
    "emphysema": ("Emphysema",),
    "pulmonary emphysema": ("Emphysema",),
    "bullous emphysema": ("Emphysema",),
    "pulmonary fibrosis": ("Fibrosis",),
    "thickening/pleura": ("Pleural_Thickening",),
    "hernia, hiatal": ("Hernia",),
    "hernia, diaphragmatic": ("Hernia",),
}
"""Heading of OpenI's manual indexing, with its first qualifier where that decides -> labels; all others: none."""
NOT_INDEXED = "no indexing"


def of_chexpert(row: Mapping[str, str]) -> tuple[str, ...]:
    """Labels that a row of a CheXpert or NegBio table has as positive; see `UNCERTAIN` for the others."""
    return tuple(label for column, label in CHEXPERT.items() if label and _positive(row.get(column)))


def of_mesh(terms: Iterable[str]) -> list[str] | None:
    """Labels of a report's MeSH terms, such as ``Pleural Effusion/left/small``; None if it was not indexed."""
    plain = [" ".join(term.split()).casefold() for term in terms]
    plain = [term for term in plain if term]
    if not plain or NOT_INDEXED in plain:
        return None
    heads = [head for term in plain for head in (term.split("/")[0], "/".join(term.split("/")[:2]))]
    return sorted({label for head in heads for label in MESH.get(head, ())})


def _positive(value: str | None) -> bool:
    try:
        return float(value or 0) == POSITIVE
    except ValueError:
        return False
