"""What the entity rules read in sentences: term, side, negation, uncertainty."""

from __future__ import annotations

import pytest

from medsynth_cli import modality
from medsynth_cli.text import entities, matching, vocabulary

CHEST = vocabulary.load(modality.find("chest_xray"))

# Sentence -> pathologies as "term side flags": - denied, ? uncertain; sides L, R, B.
SENTENCES = {
    "There is a left pleural effusion.": "pleural_effusion L",
    "Moderate right-sided pleural effusion.": "pleural_effusion R",
    "Small bilateral pleural effusions.": "pleural_effusion B",
    "Left and right effusions.": "pleural_effusion B",
    "Effusions, left greater than right.": "pleural_effusion B",
    "Pleural effusions bilaterally.": "pleural_effusion B",
    "Effusion on the left.": "pleural_effusion L",
    "Effusions are seen on both sides.": "pleural_effusion B",
    "Fluid in the pleural space on the right.": "pleural_effusion R",
    "Bibasilar atelectasis.": "atelectasis B",
    "Left basilar atelectasis.": "atelectasis L",
    "Biapical scarring is present.": "scarring B",
    "Consolidation in the right lower lobe.": "consolidation R",
    "Right lower lobe pneumonia.": "pneumonia R",
    "In the left lower lobe, there is consolidation.": "consolidation L",
    "The left lung base shows consolidation.": "consolidation L",
    "Opacities in the left upper and right lower lobes.": "opacity B",
    "Atelectasis and consolidation at the left base.": "atelectasis L; consolidation L",
    "Opacity in the left lung and a right rib fracture.": "opacity L; rib_fracture R",
    "A mass on the right and left consolidation.": "mass R; consolidation L",
    "Left pleural effusion and cardiomegaly.": "pleural_effusion L; cardiomegaly",
    "Nodule in the right upper lobe, bilateral effusions, and edema.": "nodule R; pleural_effusion B; pulmonary_edema",
    "The heart is mildly enlarged.": "cardiomegaly",
    "Enlarged heart with left ventricular prominence.": "cardiomegaly",
    "Mediastinal shift to the right.": "mediastinal_shift R",
    "Blunting of the left costophrenic angle.": "costophrenic_blunting L",
    "Elevation of the right hemidiaphragm.": "elevated_hemidiaphragm R",
    "Left costophrenic angle blunting.": "costophrenic_blunting L",
    "Subcutaneous emphysema in the left chest wall.": "subcutaneous_emphysema L",
    "Loculated pleural effusion on the left.": "loculated_effusion L",
    "Pericardial effusion is present.": "pericardial_effusion",
    "No pleural effusion.": "pleural_effusion -",
    "No effusion, pneumothorax or consolidation.": "pleural_effusion -; pneumothorax -; consolidation -",
    "No evidence of pneumothorax or pleural effusion.": "pneumothorax -; pleural_effusion -",
    "Without focal consolidation.": "consolidation -",
    "Negative for pneumonia.": "pneumonia -",
    "The lungs are free of consolidation.": "consolidation -",
    "Absence of pneumothorax.": "pneumothorax -",
    "No left and right effusions.": "pleural_effusion B -",
    "No left effusion.": "pleural_effusion L -",
    "The pneumothorax has resolved.": "pneumothorax -",
    "Edema and effusion have resolved.": "pulmonary_edema -; pleural_effusion -",
    "Pneumothorax is not seen.": "pneumothorax -",
    "Pleural effusion or pneumothorax is not identified.": "pleural_effusion -; pneumothorax -",
    "The effusion is no longer seen.": "pleural_effusion -",
    "Neither effusion nor pneumothorax is present.": "pleural_effusion -; pneumothorax -",
    "There is no pneumothorax, but there is a small left effusion.": "pneumothorax -; pleural_effusion L",
    "No effusion; moderate cardiomegaly.": "pleural_effusion -; cardiomegaly",
    "No pneumothorax. Large effusion.": "pneumothorax -; pleural_effusion",
    "No effusion however there is edema.": "pleural_effusion -; pulmonary_edema",
    "No pneumothorax and a small right effusion.": "pneumothorax -; pleural_effusion R",
    "No consolidation, the heart is enlarged.": "consolidation -; cardiomegaly",
    "Cardiomegaly without edema.": "cardiomegaly; pulmonary_edema -",
    "Small left effusion, pneumothorax has resolved.": "pleural_effusion L; pneumothorax -",
    "No abnormality except for mild cardiomegaly.": "cardiomegaly",
    "Atelectasis rather than pneumonia.": "atelectasis; pneumonia -",
    "No change in the left effusion.": "pleural_effusion L",
    "No significant change in cardiomegaly.": "cardiomegaly",
    "Not only effusion, pneumonia too.": "pleural_effusion; pneumonia",
    "The pneumothorax has not resolved.": "pneumothorax",
    "No increase in the right effusion.": "pleural_effusion R",
    "Possible pneumonia in the right lower lobe.": "pneumonia R ?",
    "Opacity in the left lower lobe may represent pneumonia.": "opacity L; pneumonia L ?",
    "Pneumonia cannot be excluded.": "pneumonia ?",
    "Suspected left pneumothorax.": "pneumothorax L ?",
    "Questionable nodule in the right upper lobe.": "nodule R ?",
    "Atelectasis versus pneumonia at the right base.": "atelectasis R ?; pneumonia R ?",
    "Left basilar opacity, likely atelectasis.": "opacity L; atelectasis L ?",
    "A small effusion is suspected.": "pleural_effusion ?",
    "Opacity concerning for mass.": "opacity; mass ?",
    "Pneumonia is unlikely.": "pneumonia -?",
    "Cannot exclude a small left effusion.": "pleural_effusion L ?",
    "Possible atelectasis, moderate cardiomegaly.": "atelectasis ?; cardiomegaly",
    "The lungs are clear.": "",
    "A massive pleural-based abnormality.": "",
    "A 1.5 cm nodule in the left lung.": "nodule L",
}
LETTERS = {"left": " L", "right": " R", "bilateral": " B", None: ""}


def read(sentence: str) -> str:
    """The pathologies found, in the notation of the table."""
    found = []
    for row in entities.keywords({"findings": sentence, "impression": ""}, CHEST):
        if CHEST.terms[row["term"]].kind == "pathology":
            flags = ("-" if row["negated"] else "") + ("?" if row["uncertain"] else "")
            found.append(row["term"] + LETTERS[row["side"]] + (f" {flags}" if flags else ""))
    return "; ".join(found)


def test_the_table_is_long_enough() -> None:
    assert len(SENTENCES) >= 60


@pytest.mark.parametrize(("sentence", "expected"), SENTENCES.items())
def test_sentences(sentence: str, expected: str) -> None:
    assert read(sentence) == expected


def test_spans_count_code_points_of_their_section() -> None:
    report = {"findings": "𝔸 Größe: Pleural  Effusion left.", "impression": "No\npneumothorax\n- Opacities"}
    found = entities.keywords(report, CHEST)
    assert [row["section"] for row in found] == ["findings", "impression", "impression"]
    for row in found:
        start, end = row["span"]
        assert report[row["section"]][start:end] == row["text"]
    assert [row["text"] for row in found] == ["Pleural  Effusion", "pneumothorax", "Opacities"]
    assert [row["negated"] for row in found] == [False, True, False]


def test_anatomy_has_its_own_side() -> None:
    report = {"findings": "Opacity in the right lower lobe. The heart is normal.", "impression": ""}
    rows = [row for row in entities.keywords(report, CHEST) if CHEST.terms[row["term"]].kind == "anatomy"]
    assert [(row["term"], row["side"]) for row in rows] == [("lower_lobe", "right"), ("cardiac_silhouette", None)]


def test_longest_phrase_wins_and_words_are_whole() -> None:
    found = matching.mentions(["tension", "pneumothorax", "and", "massive", "masses"], CHEST)
    assert [(mention.term.key, mention.start, mention.end) for mention in found] == [
        ("tension_pneumothorax", 0, 2),
        ("mass", 4, 5),
    ]


def test_empty_report() -> None:
    assert entities.keywords({"findings": "", "impression": ""}, CHEST) == []
