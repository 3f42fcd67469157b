"""JUnit XML of scores, read back by a parser."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from medsynth_cli.metrics import gates, junit

SCORE = {
    "metrics": {"FD": {"value": 97.0, "floors": {"round trip": 80.0}}, "KID": {"value": 0.1}},
    "alarms": [
        {"name": "copies", "raised": False, "message": "none is near"},
        {"name": "collapse", "raised": True, "message": "all the same"},
        {"name": "leak", "raised": None, "message": "no training images"},
    ],
}
BOUNDS = [
    gates.Bound("FD", "<=", 1.2, "round trip"),
    gates.Bound("KID", "<=", 0.2),
    gates.NoAlarm("collapse"),
    gates.NoAlarm("any"),
]


def suite(score):
    root = ET.fromstring(junit.render(score).encode())
    assert root.tag == "testsuites"
    (found,) = root
    return found


@pytest.fixture
def score():
    return SCORE | {"gates": gates.check(BOUNDS, SCORE)}


def test_each_gate_and_each_alarm_is_a_test_case_with_its_outcome(score):
    found = suite(score)
    assert (found.tag, found.get("name")) == ("testsuite", "medsynth evaluate")
    assert [(case.get("name"), [child.tag for child in case]) for case in found] == [
        ("FD <= 1.2 x round trip", ["failure"]),
        ("KID <= 0.2", []),
        ("no alarm 'collapse'", ["failure"]),
        ("no alarm", ["failure"]),
        ("copies", []),
        ("collapse", ["failure"]),
        ("leak", ["skipped"]),
    ]
    counts = {name: found.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "7", "failures": "4", "errors": "0", "skipped": "1"}


def test_a_failure_says_why_in_the_text_that_gitlab_shows_and_the_message_that_others_show(score):
    failures = {case.get("name"): case.find("failure") for case in suite(score)}
    first = failures["FD <= 1.2 x round trip"]
    assert first.get("message") == first.text == "FD <= 1.2 x round trip does not hold: found 97, the bound is 96"
    assert failures["collapse"].text == "all the same"


def test_names_tell_cases_apart_and_stay_when_figures_change(score):
    cases = [(case.get("classname"), case.get("name")) for case in suite(score)]
    assert len(set(cases)) == len(cases)
    better = SCORE | {"metrics": {"FD": {"value": 5.0, "floors": {"round trip": 9.0}}}}
    again = suite(better | {"gates": gates.check(BOUNDS, better)})
    assert [(case.get("classname"), case.get("name")) for case in again] == cases


def test_a_score_without_gates_and_alarms_is_an_empty_suite():
    found = suite({"metrics": {}, "gates": []})
    assert (found.get("tests"), len(found)) == ("0", 0)


@pytest.mark.parametrize(
    ("hostile", "read"),
    [
        ("<failure/>&amp;\"']]>", "<failure/>&amp;\"']]>"),
        ("a\nb\tc", "a\nb\tc"),
        ("\x00\x08\x0b\x1b[31m", "\ufffd\ufffd\ufffd\ufffd[31m"),
        ("\ud800 \ufffe \uffff", "\ufffd \ufffd \ufffd"),
        ("\u00e9 \u2264 \U0001f600", "\u00e9 \u2264 \U0001f600"),
    ],
)
def test_hostile_characters_survive_or_are_replaced(hostile, read):
    alarm = {"name": hostile, "raised": True, "message": hostile}
    found = suite({"alarms": [alarm], "metrics": {}, "gates": gates.check([gates.Bound(hostile, "<", 1)], SCORE)})
    gate, case = found
    assert gate.get("name") == f"{read} < 1"
    assert (case.get("name"), case.find("failure").get("message"), case.find("failure").text) == (read, read, read)
