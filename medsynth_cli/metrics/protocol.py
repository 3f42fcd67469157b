"""Protocols of papers: what an evaluation takes from one, what the paper leaves unknown, where the run differs.

Only what a source says is written as known; `docs/protocols.md` names the sources. What is unknown says what is done
here instead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import layouts, mimic, openi

if TYPE_CHECKING:
    from medsynth_cli.files.records import Record
    from medsynth_cli.metrics.imagesets import ImageSet


@dataclass(frozen=True)
class Protocol:
    """How a paper evaluates.

    Attributes:
        title: of the paper.
        options: option of ``medsynth evaluate`` -> its value.
        parts: layout -> the part of it that is taken as real images, "" for all.
        known: row without which a statement is not followed ("" where none is needed) -> the statement.
        unknown: what the paper is not known to say, and what is done here.
    """

    title: str
    options: Mapping[str, str]
    parts: Mapping[str, str]
    known: Mapping[str, str]
    unknown: Sequence[str]


PROTOCOLS = {
    "2403.06835": Protocol(
        title="Medical Image Synthesis via Fine-Grained Image-Text Alignment and Anatomy-Pathology Prompting",
        options={"metrics": "fd,niqe,auroc", "extractors": "inception", "by": "none"},
        parts={mimic.JPG: "test,frontal", mimic.DICOM: "test,frontal", openi.KAGGLE: "frontal", openi.XML: ""},
        known={
            "FID": "FID against real images",
            "NIQE": "NIQE of the synthetic images",
            "AUROC macro": "a classifier says whether the requested findings are visible",
        },
        unknown=(
            "which data sets and which of their images were the real ones; here: the official test split of MIMIC-CXR, "
            "or all of OpenI",
            "whether lateral views were among them; here: frontal views, where a data set tells them",
            "how many synthetic and real images were compared; here: all that are named",
            "which reports or terms the synthetic images were made from, how many for each, with which seeds; here: "
            "whatever the images named were made from",
            "the weights behind FID, and how images came to them (crop, size, resize filter, bit depth); here: "
            "clean-fid's Inception-v3, the centre square at the size of the bundle by a Lanczos filter, 8 bits",
            "the parameters and the code behind NIQE; here: the released parameters, by pyiqa",
            "the classifier, its labels and its figure; here: the bundle's judge, AUROC of ChestX-ray14 labels",
            "how uncertain labels of real images count; here: as absent",
        ),
    ),
}
"""Number of the paper in arXiv -> its protocol."""


@dataclass(frozen=True)
class Plan:
    """One run by a protocol.

    Attributes:
        name: in `PROTOCOLS`.
        options: name -> the value that is used.
        real: names of the real images, with the protocol's part where none was named; None: a bundled reference.
        changed: where what was named differs from the protocol.
    """

    name: str
    options: Mapping[str, str]
    real: list[str] | None
    changed: tuple[str, ...]

    def account(self, score: Record, real: ImageSet) -> dict[str, Any]:
        """What the run followed, what is unknown, and where it differs: the field ``protocol`` of a score.

        Args:
            score: the record without it.
            real: the real images.
        """
        protocol, rows = PROTOCOLS[self.name], score["metrics"]
        missing = [row for row in protocol.known if (rows.get(row) or {}).get("value") is None]
        return {
            "name": self.name,
            "title": protocol.title,
            "follows": [statement for row, statement in protocol.known.items() if row not in missing],
            "unknown": list(protocol.unknown),
            "differs": [*self.changed, *_left_out(missing, rows), *_on_images(score, real, protocol)],
        }


def plan(
    name: str | None, options: Mapping[str, str], given: Collection[str], real: Sequence[str] | None
) -> Plan | None:
    """The plan of a run by a protocol; None for none.

    Args:
        name: in `PROTOCOLS`.
        options: option -> its value, given or default.
        given: options that were given; they win over the protocol.
        real: names of the real images.

    Raises:
        MedsynthError: there is no such protocol.
    """
    if name is None:
        return None
    if name not in PROTOCOLS:
        raise MedsynthError(f"no protocol {name!r}", f"known: {', '.join(PROTOCOLS)}")
    protocol = PROTOCOLS[name]
    used = {option: options[option] if option in given else value for option, value in protocol.options.items()}
    changed = [
        f"--{option} is {value}, not {protocol.options[option]}"
        for option, value in used.items()
        if _names(value) != _names(protocol.options[option])
    ]
    named = [_part(source, protocol) for source in real or ()]
    changed += [difference for _, difference in named if difference]
    return Plan(name, used, [source for source, _ in named] or None, tuple(changed))


def lines(account: Mapping[str, Any]) -> Iterator[str]:
    """What a score says of its protocol, a line a statement."""
    yield f"protocol {account['name']} ({account['title']})"
    for field in ("follows", "unknown", "differs"):
        yield from (f"  {field}: {statement}" for statement in account[field] or ("nothing",))


def _part(source: str, protocol: Protocol) -> tuple[str, str]:
    """A source with the protocol's part of it, and how it differs from the protocol."""
    folder, part = layouts.split(source)
    wanted = protocol.parts.get(layouts.detect(folder) or "")
    if wanted is None:
        return source, ""
    if part is not None:
        return source, "" if _names(part) == _names(wanted) else f"real images are {source}, not its {wanted or 'all'}"
    return f"{source}:{wanted}" if wanted else source, ""


def _left_out(missing: Sequence[str], rows: Mapping[str, Any]) -> Iterator[str]:
    for row in missing:
        reason = (rows.get(row) or {}).get("reason", "not among the metrics")
        yield f"{row} is left out: {reason}"


def _on_images(score: Record, real: ImageSet, protocol: Protocol) -> Iterator[str]:
    counts = score["counts"]
    data = {name for name in real.field("dataset") if name}
    if not data:
        yield f"real images are {score['real']}, not MIMIC-CXR or OpenI"
    projections = set(real.field("projection"))
    if data and "frontal" in protocol.parts.values() and "lateral" not in projections and None in projections:
        yield "which real images are lateral is not told: all are taken"
    if counts["synthetic"] < counts["real"]:
        yield f"fewer synthetic images ({counts['synthetic']}) than real ones ({counts['real']}), which raises FID"
    if counts["failed"]:
        yield f"{counts['failed']} images or records could not be read"
    if score["quick"]:
        yield "a quick look at a part of the synthetic images"


def _names(value: str) -> set[str]:
    return {name.strip() for name in value.split(",")}
