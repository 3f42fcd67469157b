"""Reports from a grammar: offline, deterministic, every requested finding stated and every absence denied."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from medsynth_cli.errors import MedsynthError
from medsynth_cli.text import draws, vocabulary
from medsynth_cli.text.modifiers import SEVERITY_NAMES
from medsynth_cli.text.providers import Draft
from medsynth_cli.text.vocabulary import PATHOLOGY, Term

GRAMMAR = "grammar.yaml"
IMPRESSION_WORDS = 16
"""The impression leaves out further findings beyond this many words."""
VOWEL_NUMBERS = ("8", "11-", "18-")
"""How ages under 100 begin that are spoken with a vowel first."""
Finding = Mapping[str, Any]


class Template:
    """Writes reports from the modality's ``grammar.yaml``; the same seed and record give the same report."""

    name = "template"
    model: str | None = None
    attempts = 1

    @dataclass(frozen=True)
    class Options:
        """Settings of the template provider.

        Attributes:
            context: probability of a sentence on view, age and sex.
            min_words: shortest findings text, in words; normal structures and common absences fill it up.
            max_words: no filling beyond this many words.
        """

        context: float = 0.5
        min_words: int = 25
        max_words: int = 50

        def __post_init__(self) -> None:
            if not 0 <= self.context <= 1:
                raise MedsynthError(f"setting context={self.context}: not within 0 and 1")
            if not 0 <= self.min_words <= self.max_words:
                raise MedsynthError(f"setting min_words={self.min_words}: not within 0 and max_words={self.max_words}")

    def __init__(self, folder: Path, seed: int, options: Options) -> None:
        path = folder / GRAMMAR
        try:
            data = path.read_bytes()
            self._grammar: dict[str, Any] = yaml.safe_load(data)
        except OSError as error:
            raise MedsynthError(f"{path}: {error.strerror}", "see docs/extending.md") from error
        except yaml.YAMLError as error:
            raise MedsynthError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
        self.prompt_sha256: str | None = hashlib.sha256(data).hexdigest()
        self._vocabulary = vocabulary.load(folder)
        self._seed = seed
        self._options = options

    def write(self, record: dict[str, Any], attempt: int) -> Draft:
        """Write the report of a ``terms`` record; it depends on seed and record alone.

        Its terms must be in the vocabulary; `reports.compose` sees to that.
        """
        random = draws.generator(self._seed, str(record["id"]))
        present = [f for f in record["findings"] if f["present"]]
        absent = [f for f in record["findings"] if not f["present"]]
        order = [present[i] for i in random.permutation(len(present))]
        sentences = self._findings(order, random)
        sentences += self._absences(absent, random)
        context = self._context(record, random)
        filled = self._fill(context + sentences, present, absent, random)
        return Draft(" ".join(filled), self._impression(present, random))

    def _term(self, finding: Finding) -> Term:
        return self._vocabulary.terms[finding["term"]]

    def _findings(self, findings: Sequence[Finding], random: np.random.Generator) -> list[str]:
        """One sentence a finding, or two or more findings in one."""
        sentences, at = list[str](), 0
        crowded = len(findings) > 3
        while at < len(findings):
            group = findings[at : at + (3 if crowded else 1 + int(random.random() < 0.3))]
            at += len(group)
            # A finding without a side comes last, so that no later side reads as its own.
            group = sorted(group, key=lambda finding: finding.get("side") is None)
            phrases = [self._phrase(finding, random) for finding in group]
            if len(phrases) > 1:
                texts = [_article(text) if counted else text for text, counted, _ in phrases]
                sentences.append(_fill_frame(_pick(random, self._grammar["together"]), list=_join(texts, "and")))
                continue
            text, counted, plural = phrases[0]
            frame = _pick(random, self._grammar["plural" if plural else "finding"])
            bare = frame == "{Np}."
            sentences.append(_fill_frame(frame, np=_article(text) if counted and not bare else text))
        return sentences

    def _phrase(self, finding: Finding, random: np.random.Generator, site: bool = True) -> tuple[str, bool, bool]:
        """A finding as a noun phrase without article; whether it takes one; whether it is plural."""
        grammar, term = self._grammar, self._term(finding)
        name = _pick(random, grammar["say"].get(term.key, [term.name]))
        counted = name.startswith(("a ", "an "))
        name = name.split(" ", 1)[1] if counted else name
        side = finding.get("side") if term.sided else None
        plural = counted and side == "bilateral"
        name = self._plural(name) if plural else name
        place, holds_side = self._site(finding, side) if site else ("", False)
        before = side if side and not holds_side else ""
        if before and not place and before != "bilateral" and random.random() < 0.3:
            before, place = "", f"on the {side}"
        parts = [self._adjective(finding), before or "", name, place]
        return " ".join(part for part in parts if part), counted and not plural, plural

    def _adjective(self, finding: Finding) -> str:
        severity = finding.get("severity")
        if severity is None:
            return ""
        words = self._grammar["size" if finding["term"] in self._grammar["sized"] else "severity"]
        return str(words[SEVERITY_NAMES.index(severity)])

    def _site(self, finding: Finding, side: str | None) -> tuple[str, bool]:
        """Where a finding sits, such as "in the left lower lobe", and whether that says the side."""
        key = finding.get("anatomy")
        if key is None or key in self._grammar["silent"]:
            return "", False
        anatomy = self._vocabulary.terms[key]
        preposition = "at" if key in self._grammar["at"] else "in"
        if side and anatomy.sided:
            if side == "bilateral":
                return f"{preposition} both {self._plural(anatomy.name)}", True
            return f"{preposition} the {side} {anatomy.name}", True
        return f"{preposition} the {anatomy.name}", False

    def _plural(self, phrase: str) -> str:
        head, last = phrase.rpartition(" ")[::2]
        many = self._grammar["plurals"].get(last)
        if many is None:
            many = last[:-1] + "ies" if last.endswith("y") else last + ("es" if last.endswith(("s", "x")) else "s")
        return f"{head} {many}".strip()

    def _absences(self, findings: Sequence[Finding], random: np.random.Generator) -> list[str]:
        """One sentence that denies all of them."""
        if not findings:
            return []
        texts = [self._phrase(finding, random, site=False)[0] for finding in findings]
        return [_fill_frame(_pick(random, self._grammar["absent"]), list=_join(texts, "or"))]

    def _context(self, record: Mapping[str, Any], random: np.random.Generator) -> list[str]:
        """A sentence on view, age and sex, sometimes."""
        if random.random() >= self._options.context or not record.get("view"):
            return []
        frames = self._grammar["context"]
        age, sex = record.get("age"), record.get("sex")
        if age is None or sex is None or age < 1 or random.random() < 0.3:
            return [_fill_frame(_pick(random, frames["view"]), view=record["view"])]
        children = self._grammar["children"]
        noun = children[sex] if age < children["under"] else self._grammar["sexes"][sex]
        aged = f"{int(age)}-year-old {noun}"
        aged = f"{'an' if aged.startswith(VOWEL_NUMBERS) and age < 100 else 'a'} {aged}"
        return [_fill_frame(_pick(random, frames["full"]), view=record["view"], age=str(int(age)), sex=noun, aged=aged)]

    def _fill(
        self, sentences: list[str], present: Sequence[Finding], absent: Sequence[Finding], random: np.random.Generator
    ) -> list[str]:
        """Add sentences on normal structures and pertinent negatives up to a random length."""
        target = int(random.integers(self._options.min_words, max(self._options.max_words * 3 // 4, 1) + 1))
        target = max(target, self._options.min_words)
        extra = self._normal_sentences(present, random)
        negatives = self._negatives(present, absent, random)
        extra.insert(int(random.integers(0, min(2, len(extra)) + 1)), negatives)
        for sentence in filter(None, extra):
            have = _count(sentences)
            if have >= target:
                break
            if have + _count([sentence]) <= self._options.max_words:
                sentences = [*sentences, sentence]
        return sentences

    def _normal_sentences(self, present: Sequence[Finding], random: np.random.Generator) -> list[str]:
        touched = {self._term(finding).structure for finding in present}
        normal = [frames for structure, frames in self._grammar["normal"].items() if structure not in touched]
        lead, rest = normal[:2], normal[2:]
        order = [lead[i] for i in random.permutation(len(lead))] + [rest[i] for i in random.permutation(len(rest))]
        return [_pick(random, frames) for frames in order]

    def _negatives(self, present: Sequence[Finding], absent: Sequence[Finding], random: np.random.Generator) -> str:
        """A sentence that denies up to three common findings that nothing present resembles."""
        groups = {group for finding in present for group in self._term(finding).groups}
        denied = {finding["term"] for finding in absent}
        pool = [
            {"term": term.key}
            for term in self._vocabulary.of_kind(PATHOLOGY)
            if term.common and term.key not in denied and not groups & set(term.groups)
        ]
        chosen = random.permutation(len(pool))[: int(random.integers(1, 4))]
        return " ".join(self._absences([pool[i] for i in sorted(chosen)], random))

    def _impression(self, present: Sequence[Finding], random: np.random.Generator) -> str:
        frames = self._grammar["impression"]
        if not present:
            return _pick(random, frames["none"])
        phrases = list[tuple[str, bool]]()
        for finding in sorted(present, key=lambda finding: finding.get("side") is None):
            text, counted, _ = self._phrase(finding, random, site=False)
            if phrases and _count([text, *(text for text, _ in phrases)]) + len(phrases) > IMPRESSION_WORDS:
                break
            phrases.append((text, counted))
        (first, counted), rest = phrases[0], [_article(text) if counted else text for text, counted in phrases[1:]]
        frame = _pick(random, frames["short" if _count([first, *rest]) < 4 else "found"])
        if counted and not frame.startswith("{"):
            first = _article(first)
        return _fill_frame(frame, list=_join([first, *rest], "and"))


def _pick(random: np.random.Generator, items: Sequence[str]) -> str:
    return str(items[int(random.integers(len(items)))])


def _article(text: str) -> str:
    return f"{'an' if text[0] in 'aeiou' else 'a'} {text}"


def _join(texts: Sequence[str], conjunction: str) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} {conjunction} {texts[-1]}"


def _fill_frame(frame: str, **values: str) -> str:
    """Fill a frame; a capital field name capitalises its value."""
    capitals = {key.capitalize(): value[:1].upper() + value[1:] for key, value in values.items()}
    text = frame.format(**values, **capitals)
    return text[:1].upper() + text[1:]


def _count(texts: Sequence[str]) -> int:
    return sum(len(text.split()) for text in texts)
