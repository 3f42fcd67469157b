"""Strategies, likeness to a corpus, required and excluded findings, and distributions of people."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest

from medsynth_cli import modality
from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import records
from medsynth_cli.text import pairwise, people, sampling, termsets, vocabulary
from medsynth_cli.text.likeness import Likeness
from medsynth_cli.text.sampling import Plan

CHEST = vocabulary.load(modality.find("chest_xray"))
SHARES = {"cardiomegaly": 300, "pleural_effusion": 200, "emphysema": 20, "pneumothorax": 10}
STATISTICS = {
    "reports": 1100, "empty": 100, "findings": {"0": 500, "1": 350, "2": 150},
    "terms": {
        key: {"kind": "pathology", "present": count, "sides": {}, "severities": {}} for key, count in SHARES.items()
    },
    "located": {"pleural_effusion": {"lung_base": 100, "costophrenic_angle": 50}},
    "together": {"cardiomegaly": {"pleural_effusion": 140}},
}  # fmt: skip
STATISTICS["terms"]["pleural_effusion"] |= {"sides": {"left": 90, "right": 10}, "severities": {"mild": 150}}


def draw(count: int | None, **settings: Any) -> list[dict[str, Any]]:
    drawn = list(sampling.sample(CHEST, count, 3, Plan(**settings)))
    assert all(records.complaint(record, ("terms",)) == "" for record in drawn)
    return drawn


def present(record: dict[str, Any]) -> list[str]:
    return [finding["term"] for finding in record["findings"] if finding["present"]]


def counts(drawn: list[dict[str, Any]]) -> Counter:
    return Counter(term for record in drawn for term in present(record))


def test_frequency_is_that_of_the_corpus() -> None:
    drawn = draw(2000, strategy="frequency", likeness=Likeness(STATISTICS))
    assert 0.45 < sum(not present(record) for record in drawn) / 2000 < 0.55
    found = counts(drawn)
    assert set(found) == set(SHARES)
    assert found["cardiomegaly"] > found["pleural_effusion"] > found["emphysema"] > found["pneumothorax"]
    both = [set(present(record)) for record in drawn if len(present(record)) == 2]
    together = sum({"cardiomegaly", "pleural_effusion"} == pair for pair in both)
    assert together / len(both) > 0.8
    effusions = [f for record in drawn for f in record["findings"] if f["present"] and f["term"] == "pleural_effusion"]
    share = {value: n / len(effusions) for value, n in Counter(f["side"] for f in effusions).items()}
    assert share["left"] > 0.8
    assert "bilateral" not in share
    assert {f["severity"] for f in effusions} == {"mild", None}
    assert {f["anatomy"] for f in effusions} == {"lung_base", "costophrenic_angle", None}


def test_balanced_lifts_the_long_tail() -> None:
    found = counts(draw(3000, strategy="balanced", likeness=Likeness(STATISTICS), normal_fraction=0))
    assert found["pneumothorax"] > found["emphysema"] > found["cardiomegaly"]


def test_uniform_draws_all_alike() -> None:
    found = counts(draw(3000, strategy="uniform", normal_fraction=0))
    numbers = [found[term.key] for term in CHEST.of_kind("pathology")]
    assert min(numbers) > 0.5 * np.mean(numbers)
    assert max(numbers) < 1.5 * np.mean(numbers)


def test_pairs_cover_every_plausible_pair_once_in_the_fewest_sets() -> None:
    drawn = draw(None, strategy="pairs")
    pairs = [(f["term"], f["anatomy"]) for record in drawn for f in record["findings"]]
    wanted = {(term.key, anatomy) for term in CHEST.of_kind("pathology") for anatomy in term.anatomy}
    assert Counter(pairs) == Counter(wanted)
    assert len(drawn) == pairwise.fewest(CHEST.of_kind("pathology"), CHEST, sampling.MOST_FINDINGS)
    for record in drawn:
        groups = [set(CHEST.terms[key].groups) for key in present(record)]
        assert not any(one & other for one, other in itertools.combinations(groups, 2))
    assert draw(5, strategy="pairs") == drawn[:5]


def test_required_and_excluded_findings() -> None:
    (required,) = termsets.parse("moderate left effusion", CHEST)
    drawn = draw(200, require=[required], exclude=frozenset({"pneumothorax", "cardiomegaly"}), normal_fraction=0.2)
    normal = [record for record in drawn if not present(record)]
    assert 20 < len(normal) < 60
    assert all(record["findings"][0] == required for record in drawn if present(record))
    named = {finding["term"] for record in drawn for finding in record["findings"]}
    assert not named & {"pneumothorax", "cardiomegaly"}


def test_a_share_of_normal_sets() -> None:
    assert all(present(record) for record in draw(50, normal_fraction=0))
    assert not any(present(record) for record in draw(50, normal_fraction=1))


def test_people_are_drawn_by_their_shares() -> None:
    drawn = draw(
        1000,
        view=people.names("PA:3,AP:1", CHEST.views, "view"),
        sex=people.names("F", ("M", "F"), "sex"),
        age=people.ages("0-17:0.25,70:0.75"),
    )
    assert 0.7 < sum(record["view"] == "PA" for record in drawn) / 1000 < 0.8
    assert {record["sex"] for record in drawn} == {"F"}
    ages = Counter(record["age"] for record in drawn)
    assert set(ages) == {*range(18), 70}
    assert 700 < ages[70] < 800


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("old", "not years"),
        ("90-18", "the lower first"),
        ("0-200", "not between 0 and 130"),
        ("18-40:0.5,41-90", "give all shares"),
        ("18-40:x", "'x' is no share"),
        ("18-40:-1", "none negative"),
    ],
)
def test_ages_that_are_none(text: str, message: str) -> None:
    with pytest.raises(MedsynthError, match=message):
        people.ages(text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "magic"}, "unknown strategy 'magic'"),
        ({"strategy": "frequency"}, "needs the frequencies of a corpus"),
        ({"strategy": "pairs", "require": [{"term": "mass"}]}, "has every finding once"),
        ({"require": [{"term": "mass"}], "exclude": frozenset({"mass"})}, "mass is required and excluded"),
    ],
)
def test_plans_that_contradict_themselves(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(MedsynthError, match=message):
        Plan(**settings)


def test_nothing_left_to_draw() -> None:
    keys = frozenset(term.key for term in CHEST.of_kind("pathology"))
    with pytest.raises(MedsynthError, match="no finding is left"):
        draw(1, exclude=keys)
