"""The layout of a sequence: what the language model reads before it writes image codes.

    view sex age · findings · report · key patches · <image> · codes
    3              3 a finding  text     3 + h·w a patch  1     grid²

Everything before the codes has a fixed length, padded on the left, so that every image code has the same
position in every sequence. Findings are the asserted keywords of the report, as label, side and severity;
the report's own words follow as byte-pair tokens; a key patch is its label, its row and column on the
grid, and its codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from medsynth_cli.files.records import Record

SIDES = ("none", "left", "right", "bilateral")
SEVERITIES = ("none", "mild", "moderate", "severe")
SEXES = ("none", "M", "F")
PERSON = 3
"""Tokens of view, sex and age."""
AGE_STEP = 10
AGE_GROUPS = 11
"""Decades of life, and one for unknown."""


@dataclass(frozen=True)
class Layout:
    """Sizes of a sequence, and where each kind of token lies in the one vocabulary.

    Attributes:
        codes: number of image codes.
        grid: side of the code grid.
        text_size: number of byte-pair tokens.
        labels: label names that findings and key patches carry.
        views: views of the modality.
        findings: most findings of a sequence.
        text_length: most byte-pair tokens of a sequence.
        patches: most key patches of a sequence.
        patch: side of a key patch, in codes.
    """

    codes: int
    grid: int
    text_size: int
    labels: tuple[str, ...]
    views: tuple[str, ...]
    findings: int = 4
    text_length: int = 40
    patches: int = 3
    patch: int = 3

    @property
    def prefix(self) -> int:
        """Tokens before the first image code."""
        return PERSON + 3 * self.findings + self.text_length + self.patches * (3 + self.patch**2) + 1

    @property
    def person_at(self) -> int:
        """Where view, sex and age stand in a prefix that says nothing else."""
        return self.prefix - PERSON - 1

    @property
    def length(self) -> int:
        """Tokens of a whole sequence."""
        return self.prefix + self.grid**2

    @property
    def offsets(self) -> dict[str, int]:
        """First token of each kind; the image codes come first, so that a code is its own token."""
        sizes = {
            "code": self.codes,
            "special": 2,
            "view": len(self.views) + 1,
            "sex": len(SEXES),
            "age": AGE_GROUPS,
            "label": len(self.labels),
            "side": len(SIDES),
            "severity": len(SEVERITIES),
            "row": self.grid,
            "column": self.grid,
            "text": self.text_size,
        }
        ends = np.cumsum(list(sizes.values()))
        return {name: int(end - size) for (name, size), end in zip(sizes.items(), ends, strict=True)}

    @property
    def vocab_size(self) -> int:
        """Size of the one vocabulary."""
        return self.offsets["text"] + self.text_size

    @property
    def pad(self) -> int:
        """The token of nothing."""
        return self.offsets["special"]

    @property
    def image(self) -> int:
        """The token after which the image codes begin."""
        return self.offsets["special"] + 1


class SequenceEncoder:
    """Turns aligned records into prefixes.

    Args:
        layout: sizes.
        text: byte-pair tokenizer of report words.
        label_of: vocabulary key -> label, for terms that have one.
    """

    def __init__(self, layout: Layout, text: Tokenizer, label_of: Mapping[str, str]) -> None:
        self.layout = layout
        self.text = text
        self._label = {term: layout.labels.index(label) for term, label in label_of.items() if label in layout.labels}

    def prefix(self, record: Record) -> NDArray[np.int64]:
        """The prefix of an aligned record: int64 ``(prefix,)``, [0, V)."""
        layout = self.layout
        tokens = [*self._person(record), *self._findings(record), *self._report(record)]
        for patch in record["key_patches"][: layout.patches]:
            tokens += self._patch(patch)
        return self._padded([*tokens, layout.image])

    def person(self, record: Record) -> NDArray[np.int64]:
        """The prefix of the same view, sex and age and nothing else, for classifier-free guidance."""
        return self._padded([*self._person(record), self.layout.image])

    def _padded(self, tokens: list[int]) -> NDArray[np.int64]:
        padding = [self.layout.pad] * (self.layout.prefix - len(tokens))
        return np.array(padding + tokens, dtype=np.int64)

    def _person(self, record: Record) -> list[int]:
        offsets, views = self.layout.offsets, self.layout.views
        view, sex, age = record.get("view"), record.get("sex"), record.get("age")
        return [
            offsets["view"] + (1 + views.index(view) if view in views else 0),
            offsets["sex"] + (SEXES.index(sex) if sex in SEXES else 0),
            offsets["age"] + (0 if age is None else 1 + min(int(age) // AGE_STEP, AGE_GROUPS - 2)),
        ]

    def _findings(self, record: Record) -> list[int]:
        """Label, side and severity of each label that the report asserts, in label order."""
        offsets, tokens = self.layout.offsets, list[int]()
        severity = {f["term"]: f.get("severity") for f in record.get("findings", []) if f["present"]}
        for label, (term, side) in sorted(self.asserted(record).items())[: self.layout.findings]:
            tokens += [
                offsets["label"] + label,
                offsets["side"] + SIDES.index(side or "none"),
                offsets["severity"] + SEVERITIES.index(severity.get(term) or "none"),
            ]
        return tokens

    def asserted(self, record: Record) -> dict[int, tuple[str, str | None]]:
        """Label index -> (term, side) of what the report says is there; the first side said counts."""
        found: dict[int, tuple[str, str | None]] = {}
        for word in record["keywords"]:
            label = self._label.get(word["term"])
            if label is None or word["negated"]:
                continue
            term, side = found.get(label, (word["term"], None))
            found[label] = (term, side or word.get("side"))
        return found

    def _report(self, record: Record) -> list[int]:
        report = record["report"]
        ids = self.text.encode(f"{report['impression']} {report['findings']}".strip()).ids
        return [self.layout.offsets["text"] + i for i in ids[: self.layout.text_length]]

    def _patch(self, patch: Mapping[str, Any]) -> list[int]:
        offsets = self.layout.offsets
        label = self._label.get(patch["term"])
        codes = np.asarray(patch["codes"])[: self.layout.patch, : self.layout.patch]
        if label is None or codes.shape != (self.layout.patch, self.layout.patch):
            return []
        row, column = patch["at"]
        return [offsets["label"] + label, offsets["row"] + row, offsets["column"] + column, *codes.flatten().tolist()]
