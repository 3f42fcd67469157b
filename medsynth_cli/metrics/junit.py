"""A score as JUnit XML, which CI systems show beside test results: a test case a gate, and one an alarm.

The form is the part that GitHub's actions and GitLab read alike: GitLab shows the text of a failure, others its
``message``. Outputs hold no time; as some readers want one, it is 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree as ET

from medsynth_cli.files.records import Record
from medsynth_cli.metrics import gates

SUITE = "medsynth evaluate"

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped (section 2.2); half a surrogate pair could not be encoded either."""


def render(score: Record) -> str:
    """JUnit XML of a score; a broken gate and a raised alarm are failures, an alarm that could not tell is skipped."""
    cases = [*_gates(score), *_alarms(score)]
    about = {
        "name": SUITE,
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": "0",
        "time": "0",
    }
    skipped = str(sum(case.find("skipped") is not None for case in cases))
    root = ET.Element("testsuites", about)
    ET.SubElement(root, "testsuite", about | {"skipped": skipped}).extend(cases)
    ET.indent(root)
    # With a declaration of its own, ElementTree would name the encoding of the locale.
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _gates(score: Record) -> Iterator[ET.Element]:
    for entry in score.get("gates") or []:
        case = _case("gates", gates.title(entry))
        if not entry["held"]:
            _add(case, "failure", gates.describe(entry))
        yield case


def _alarms(score: Record) -> Iterator[ET.Element]:
    for alarm in score.get("alarms") or []:
        case = _case("alarms", alarm["name"])
        if alarm["raised"] is not False:
            _add(case, "failure" if alarm["raised"] else "skipped", _message(alarm))
        yield case


def _message(alarm: Mapping[str, Any]) -> str:
    return str(alarm.get("message") or alarm["name"])


def _case(group: str, name: str) -> ET.Element:
    return ET.Element("testcase", {"classname": f"{SUITE}.{group}", "name": _legal(name), "time": "0"})


def _add(case: ET.Element, outcome: str, message: str) -> None:
    ET.SubElement(case, outcome, {"message": _legal(message)}).text = _legal(message)


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", text)
