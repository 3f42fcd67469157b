"""Vocabularies: the anatomy and pathology terms of a modality, ``anatomy.yaml`` and ``pathology.yaml``.

``lexicon.yaml``, which a modality need not have, holds what reports also speak of and nothing draws: devices, findings
too general to be drawn, the quality of the image.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medsynth_cli import modality
from medsynth_cli.errors import MedsynthError

ANATOMY, PATHOLOGY = "anatomy", "pathology"
LEXICON = "lexicon.yaml"
WORD = re.compile(r"[^\W_]+")
KEY = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")

_REQUIRED: dict[str, dict[str, type]] = {
    ANATOMY: {"name": str, "synonyms": list, "sided": bool},
    PATHOLOGY: {"name": str, "synonyms": list, "anatomy": list, "sided": bool},
}
_OPTIONAL: dict[str, dict[str, type]] = {
    ANATOMY: {"part_of": str},
    PATHOLOGY: {"label": str, "structure": str, "groups": list, "extent": list, "common": bool},
}
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_IRREGULAR = {
    "bullae": "bulla",
    "hila": "hilum",
    "sulci": "sulcus",
    "bronchi": "bronchus",
    "apices": "apex",
    "granulomata": "granuloma",
}


@dataclass(frozen=True)
class Term:
    """A word or phrase that reports use.

    Attributes:
        key: its snake_case name in records.
        name: the canonical phrase.
        kind: ``anatomy`` or ``pathology``.
        synonyms: other phrases for the same; plurals need not be listed.
        anatomy: keys of the anatomy that a pathology may sit in, likeliest first.
        sided: whether it can be left, right or bilateral.
        label: label of the data sets, if it has one.
        part_of: key of the larger structure, for anatomy.
        structure: the structure that is not normal when this pathology is present.
        groups: families of findings that are not denied beside each other.
        extent: share of an image's area below which a box of it is mild, and above which severe.
        common: whether reports often deny it.
    """

    key: str
    name: str
    kind: str
    synonyms: tuple[str, ...]
    anatomy: tuple[str, ...]
    sided: bool
    label: str | None
    part_of: str | None = None
    structure: str | None = None
    groups: tuple[str, ...] = ()
    extent: tuple[float, float] | None = None
    common: bool = False

    @property
    def phrases(self) -> tuple[str, ...]:
        """Name, key as words, and synonyms."""
        return tuple(dict.fromkeys((self.name, self.key.replace("_", " "), *self.synonyms)))


@dataclass(frozen=True)
class Complaint:
    """Something wrong with a vocabulary: the file, the line (from 1) and what it is."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The terms of a modality.

    Attributes:
        terms: key -> term, anatomy first, in the order of the files.
        modality: name of the modality.
        views: the views that sampled term sets are given.
        folder: where its files are.
        lexicon: keys of the terms that only reports are read with.
    """

    terms: dict[str, Term]
    modality: str = ""
    views: tuple[str, ...] = ()
    folder: Path = Path()
    lexicon: frozenset[str] = frozenset()

    def of_kind(self, kind: str) -> list[Term]:
        """The terms that are ``anatomy`` or ``pathology``."""
        return [term for term in self.terms.values() if term.kind == kind]

    def find(self, phrase: str) -> Term | None:
        """The term of a key, name, synonym or label; case, underscores, spaces and plurals do not count."""
        return self.index.get(words(phrase)) or self._labels.get(words(phrase))

    def nearest(self, phrase: str, n: int = 5) -> list[str]:
        """Names of the ``n`` pathologies that look most like ``phrase``, best first."""
        wanted = " ".join(words(phrase))
        best = dict[str, float]()
        for term in self.of_kind(PATHOLOGY):
            ratios = (difflib.SequenceMatcher(None, wanted, p.lower()).ratio() for p in term.phrases)
            best[term.name] = max(ratios)
        return sorted(best, key=lambda name: -best[name])[:n]

    def labels_of(self, findings: Iterable[Mapping[str, Any]]) -> list[str]:
        """Labels of the findings that are present, each once, in order."""
        terms = (self.terms.get(str(f["term"])) for f in findings if f["present"])
        return list(dict.fromkeys(term.label for term in terms if term is not None and term.label))

    @functools.cached_property
    def index(self) -> dict[tuple[str, ...], Term]:
        """Singular lower-case words of every name, key and synonym -> term."""
        return {words(phrase): term for term in self.terms.values() for phrase in term.phrases}

    @functools.cached_property
    def longest(self) -> dict[str, int]:
        """First word of a phrase -> number of words of the longest phrase that begins with it."""
        longest = dict[str, int]()
        for phrase in self.index:
            longest[phrase[0]] = max(longest.get(phrase[0], 0), len(phrase))
        return longest

    @functools.cached_property
    def primary_terms(self) -> dict[str, Term]:
        """Label -> the first term that has it, which is the one that names it best."""
        labelled = [term for term in self.terms.values() if term.label]
        return {str(term.label): term for term in reversed(labelled)}

    @functools.cached_property
    def _labels(self) -> dict[tuple[str, ...], Term]:
        return {words(label): term for label, term in self.primary_terms.items()}


def words(phrase: str) -> tuple[str, ...]:
    """Lower-case words of a phrase, in the singular."""
    return tuple(singular(word) for word in WORD.findall(phrase.lower()))


@functools.lru_cache(maxsize=20_000)
def singular(word: str) -> str:
    """The singular of a lower-case word, English or the Latin of radiology; other words as they are."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    for plural, one in (("thoraces", "thorax"), ("tases", "tasis"), ("ebrae", "ebra"), ("llae", "lla"), ("sses", "ss")):
        if word.endswith(plural):
            return word.removesuffix(plural) + one
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and word[-2] not in "sui":
        return word[:-1]
    return word


def load(folder: Path, lexicon: bool = False) -> Vocabulary:
    """Read the vocabulary of a modality's folder.

    Args:
        folder: with ``modality.yaml``, ``anatomy.yaml`` and ``pathology.yaml``.
        lexicon: whether the terms of ``lexicon.yaml`` belong to it.

    Raises:
        MedsynthError: a file is missing or wrong; the message names file and line.
    """
    entries, complaints = _read(folder)
    if complaints:
        raise MedsynthError(str(complaints[0]), "medsynth vocab check lists every problem")
    views = modality.load(str(folder)).sampled_views
    apart = frozenset(entry.key for entry in entries if Path(entry.file).name == LEXICON)
    terms = {entry.key: _term(entry) for entry in entries if lexicon or entry.key not in apart}
    return Vocabulary(terms, folder.resolve().name, views, folder, apart & terms.keys())


def check(folder: Path) -> list[Complaint]:
    """Everything that is wrong with a folder's vocabulary, by file and line; empty if nothing is."""
    return sorted(_read(folder)[1], key=lambda complaint: (complaint.file, complaint.line))


@dataclass(frozen=True)
class _Entry:
    """A term as written: its values and the line (from 1) of each field."""

    file: str
    line: int
    key: str
    kind: str
    values: dict[str, Any]
    lines: dict[str, int]

    def complaint(self, message: str, field: str = "") -> Complaint:
        return Complaint(self.file, self.lines.get(field, self.line), f"{self.key}: {message}")


def _term(entry: _Entry) -> Term:
    values = entry.values
    extent = values.get("extent")
    return Term(
        key=entry.key,
        name=values["name"],
        kind=entry.kind,
        synonyms=tuple(values["synonyms"]),
        anatomy=tuple(values.get("anatomy", ())),
        sided=values["sided"],
        label=values.get("label"),
        part_of=values.get("part_of"),
        structure=values.get("structure"),
        groups=tuple(values.get("groups", ())),
        extent=(float(extent[0]), float(extent[1])) if extent else None,
        common=values.get("common", False),
    )


def _read(folder: Path) -> tuple[list[_Entry], list[Complaint]]:
    """The well-formed entries of all files, and all complaints."""
    entries, complaints = list[_Entry](), list[Complaint]()
    files = [(folder / f"{kind}.yaml", kind) for kind in (ANATOMY, PATHOLOGY)]
    files += [(folder / LEXICON, PATHOLOGY)] if (folder / LEXICON).exists() else []
    for path, kind in files:
        for found in _read_file(path, kind):
            if isinstance(found, Complaint):
                complaints.append(found)
                continue
            problems = list(_schema_problems(found))
            complaints += problems
            if not problems:
                entries.append(found)
    complaints += _duplicates(entries)
    complaints += _dangling(entries, modality.load(str(folder)).labels)
    return entries, complaints


def _read_file(path: Path, kind: str) -> Iterator[_Entry | Complaint]:
    try:
        root = yaml.compose(path.read_text("utf-8"), _Loader)
    except OSError as error:
        yield Complaint(str(path), 1, error.strerror or "cannot be read")
        return
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        yield Complaint(str(path), line, f"not YAML: {error.problem}")
        return
    if not isinstance(root, yaml.MappingNode):
        yield Complaint(str(path), 1, "not a mapping of keys to terms")
        return
    for key, node in root.value:
        line = key.start_mark.line + 1
        if not isinstance(node, yaml.MappingNode):
            yield Complaint(str(path), line, f"{key.value}: not a mapping")
            continue
        lines = dict[str, int]()
        for field, _ in node.value:
            if field.value in lines:
                yield Complaint(str(path), field.start_mark.line + 1, f"{key.value}: {field.value!r} appears twice")
            lines[field.value] = field.start_mark.line + 1
        try:
            values = yaml.SafeLoader("").construct_document(node)
        except yaml.MarkedYAMLError as error:
            yield Complaint(str(path), line, f"{key.value}: {error.problem}")
            continue
        yield _Entry(str(path), line, str(key.value), kind, values, lines)


def _schema_problems(entry: _Entry) -> Iterator[Complaint]:
    """Missing, unknown and wrongly typed fields."""
    required, optional = _REQUIRED[entry.kind], _OPTIONAL[entry.kind]
    if not KEY.fullmatch(entry.key):
        yield entry.complaint("a key is snake_case")
    for field in required.keys() - entry.values.keys():
        yield entry.complaint(f"{field!r} is missing")
    for field, value in entry.values.items():
        wanted = (required | optional).get(field)
        if wanted is None:
            known = ", ".join(required | optional)
            yield entry.complaint(f"unknown field {field!r} (known: {known})", field)
        elif not isinstance(value, wanted):
            yield entry.complaint(f"{field!r} must be a {wanted.__name__}", field)
        elif wanted is list and not _items_fit(field, value):
            yield entry.complaint(
                f"{field!r} must hold {'two rising numbers' if field == 'extent' else 'texts'}", field
            )
        elif field == "name" and not words(str(value)):
            yield entry.complaint("'name' is empty", field)


def _items_fit(field: str, items: Any) -> bool:
    if field == "extent":
        return len(items) == 2 and all(isinstance(i, int | float) for i in items) and 0 < items[0] < items[1] <= 1
    return all(isinstance(item, str) and words(item) for item in items)


def _duplicates(entries: list[_Entry]) -> Iterator[Complaint]:
    """Keys and phrases that stand for two terms, and phrases that a term lists twice."""
    keys, owners = dict[str, _Entry](), dict[tuple[str, ...], _Entry]()
    for entry in entries:
        if entry.key in keys:
            first = keys[entry.key]
            yield entry.complaint(f"key used twice (first in {first.file}:{first.line})")
            continue
        keys[entry.key] = entry
        listed = set[tuple[str, ...]]()
        phrases = [("name", entry.values["name"]), *(("synonyms", s) for s in entry.values["synonyms"])]
        for field, phrase in phrases:
            plain = tuple(WORD.findall(phrase.lower()))
            if plain in listed:
                yield entry.complaint(f"{phrase!r} is listed twice", field)
            listed.add(plain)
        for field, phrase in [("", entry.key), *phrases]:
            owner = owners.setdefault(words(phrase), entry)
            if owner is not entry:
                yield entry.complaint(f"{phrase!r} also stands for {owner.key} ({owner.file}:{owner.line})", field)


def _dangling(entries: list[_Entry], labels: tuple[str, ...]) -> Iterator[Complaint]:
    """References to anatomy and labels that do not exist."""
    anatomy = {entry.key for entry in entries if entry.kind == ANATOMY}
    for entry in entries:
        for field in ("anatomy", "part_of"):
            value = entry.values.get(field, ())
            for key in [value] if isinstance(value, str) else value:
                if key not in anatomy:
                    yield entry.complaint(f"no anatomy {key!r}", field)
        label = entry.values.get("label")
        if label is not None and label not in labels:
            yield entry.complaint(f"unknown label {label!r} (known: {', '.join(labels)})", "label")
