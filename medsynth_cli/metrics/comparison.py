"""What a metric may ask for: synthetic images, real ones, training ones, and networks that look at them.

Everything is computed when it is first asked for, and once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from medsynth_cli import modality
from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics.imagesets import ImageSet
from medsynth_cli.metrics.observers import Observers
from medsynth_cli.recognition import judges
from medsynth_cli.recognition.extractors import figure_name
from medsynth_cli.text.vocabulary import PATHOLOGY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.recognition.observers import Observer
    from medsynth_cli.text.vocabulary import Vocabulary

Row = dict[str, Any]
Floors = dict[str, "float | None"]
T = TypeVar("T")
Figure = Callable[["NDArray[Any]", "NDArray[Any]"], float]

TRAINING, ROUND_TRIP, REPEATED = "training", "round trip", "repeated"
COPIES = 16
"""So many copies of an image have the same score as any larger number of them, whichever the metric."""


@dataclass(frozen=True)
class Sides:
    """Features of an extractor, of all images that are compared.

    Attributes:
        extractor: its name, as it was asked for.
        ours: synthetic images, ``(N, D)``.
        real: real images, ``(M, D)``.
        groups: numbers of the patients or records of either.
        others: what to take in place of ``ours`` for a floor: ``(N, D)``, or fewer if there are no more.
        train: all training images, ``(T, D)``; None if there are none.
    """

    extractor: str
    ours: NDArray[np.float32]
    real: NDArray[np.float32]
    groups: tuple[NDArray[np.int64], NDArray[np.int64]]
    others: Mapping[str, NDArray[np.float32]]
    train: NDArray[np.float32] | None

    @property
    def fewest_groups(self) -> int:
        """Number of groups of the side that has fewer."""
        return min(int(names.max()) + 1 for names in self.groups)

    def floors(self, figure: Figure) -> Floors:
        """A figure of what stands in for the synthetic images."""
        return {name: figure(features, self.real) for name, features in self.others.items()}

    def floors_of(
        self, figures: Callable[[NDArray[Any], NDArray[Any]], Mapping[str, float]], names: Sequence[str]
    ) -> dict[str, Floors]:
        """The same for figures that are computed together: their names -> floors."""
        found = {other: figures(features, self.real) for other, features in self.others.items()}
        return {name: {other: values[name] for other, values in found.items()} for name in names}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Synthetic images beside real ones.

    Attributes:
        synthetic: their ``findings`` or ``labels`` say what was asked for.
        real: what they are compared with.
        train: real images to compare with as well, so that figures have floors; None if there are none.
        observers: the networks.
        extractors: names of the feature extractors to use.
        seed: of random draws.
    """

    synthetic: ImageSet
    real: ImageSet
    train: ImageSet | None
    observers: Observers
    extractors: tuple[str, ...] = ("effnet",)
    seed: int = 0

    def where(self, synthetic: NDArray[np.bool_], real: NDArray[np.bool_]) -> Comparison:
        """The comparison of some of the images; the floors stay, at the new n."""
        return replace(
            self, synthetic=self.synthetic.take(np.flatnonzero(synthetic)), real=self.real.take(np.flatnonzero(real))
        )

    def sides(self, extractor: str) -> Sides:
        """Features of an extractor.

        Raises:
            MedsynthError: they cannot be computed here.
        """
        observer = self.observers.extractor(extractor)
        ours, real = self.synthetic.of(observer), self.real.of(observer)
        if min(len(ours), len(real)) < 2:
            raise MedsynthError("needs at least two synthetic and two real images")
        train = self.train
        known = None if train is None else _or_none(lambda: train.of(observer))
        groups = (self.synthetic.groups, self.real.groups)
        return Sides(extractor, ours, real, groups, self._others(observer, ours), known)

    def _others(self, observer: Observer, ours: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Training images at the same n, the same after the tokenizer, and one image again and again."""
        found = {}
        if self.train is not None:
            train = self.floor_images
            found[TRAINING] = _or_none(lambda: train.of(observer))
            found[ROUND_TRIP] = _or_none(lambda: train.of(self.observers.round_trip(observer)))
        there = {name: features for name, features in found.items() if features is not None and len(features) > 1}
        single = there.get(ROUND_TRIP, ours)[:1]
        return there | {REPEATED: np.repeat(single, min(len(ours), COPIES), axis=0)}

    def floors_of(self, observer: Observer, figure: Callable[[NDArray[Any]], float]) -> Floors:
        """A figure of what an observer says of real images and of training images."""
        floors: Floors = {"real": _or_none(lambda: figure(self.real.of(observer)))}
        if self.train is not None:
            train = self.floor_images
            floors[TRAINING] = _or_none(lambda: figure(train.of(observer)))
            floors[ROUND_TRIP] = _or_none(lambda: figure(train.of(self.observers.round_trip(observer))))
        return floors

    @functools.cached_property
    def floor_images(self) -> ImageSet:
        """As many training images as there are synthetic ones, or all."""
        assert self.train is not None
        return self.train.take(np.arange(min(len(self.synthetic), len(self.train))))

    @functools.cached_property
    def probabilities(self) -> NDArray[np.float32]:
        """The judge's probabilities of the synthetic images, float32 ``(N, L)``."""
        return self.synthetic.of(self.observers.judge.observer)

    def judged(self, figure: Figure) -> Floors:
        """A figure of probabilities and truth, both ``(M, L)``, of real images, and of the same after the tokenizer.

        Training images would not do: the judge has learnt them by heart.
        """
        return self.on_real(self.observers.judge.observer, lambda probabilities: figure(probabilities, self.truth))

    def on_real(self, observer: Observer, figure: Callable[[NDArray[Any]], float]) -> Floors:
        """A figure of what an observer says of real images, and of the same after the tokenizer."""
        return {
            "real": _or_none(lambda: figure(self.real.of(observer))),
            ROUND_TRIP: _or_none(lambda: figure(self.real.of(self.observers.round_trip(observer)))),
        }

    @functools.cached_property
    def labels(self) -> tuple[str, ...]:
        """Names of the L labels that the judge knows."""
        return self.observers.judge.labels

    @functools.cached_property
    def requested(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Images whose record says what was asked for: their indices ``(R,)``, and which labels, float32 ``(R, L)``."""
        known, wanted = [], []
        for index, record in enumerate(self.synthetic.meta):
            labels = self._asked(record)
            if labels is not None:
                known.append(index)
                wanted.append(labels)
        return np.array(known, dtype=np.int64), judges.label_matrix(wanted, self.labels)

    @functools.cached_property
    def requested_groups(self) -> NDArray[np.int64]:
        """Numbers of the patients or records of the images in `requested`, ``(R,)``."""
        return np.unique(self.synthetic.groups[self.requested[0]], return_inverse=True)[1].astype(np.int64)

    @functools.cached_property
    def truth(self) -> NDArray[np.float32]:
        """Labels of the real images, float32 ``(M, L)``, 0 or 1."""
        return label_truth(self.real, self.labels)

    @functools.cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the bundle's modality."""
        from medsynth_cli.text import vocabulary

        return vocabulary.load(modality.find(self.observers.bundle.modality))

    def asked_findings(self, record: Mapping[str, Any]) -> list[dict[str, Any]] | None:
        """Findings that a record asks for, its own or those of its labels or of the words of its prompt; None: unsaid.

        Each has ``term``, the key of a pathology, and ``present``; ``anatomy`` where the record has findings.
        """
        if isinstance(record.get("findings"), list):
            return list(record["findings"])
        if isinstance(record.get("labels"), list):
            terms = (self.vocabulary.find(str(label)) for label in record["labels"])
            return [{"term": term.key, "present": True} for term in terms if term is not None]
        if record.get("prompt"):
            from medsynth_cli.text import entities

            found = entities.keywords({"findings": str(record["prompt"])}, self.vocabulary)
            pathologies = (word for word in found if self.vocabulary.terms[word["term"]].kind == PATHOLOGY)
            return [word | {"present": not word["negated"]} for word in pathologies]
        return None

    def _asked(self, record: Mapping[str, Any]) -> list[str] | None:
        """Labels that a record asks for, in its findings, its labels or the words of its prompt."""
        labels = record.get("labels")
        if isinstance(labels, list) and not isinstance(record.get("findings"), list):
            return labels
        found = self.asked_findings(record)
        return None if found is None else self.vocabulary.labels_of(found)


def label_truth(images: ImageSet, labels: Sequence[str]) -> NDArray[np.float32]:
    """Labels that images are known to show, float32 ``(N, L)``, 0 or 1."""
    return judges.label_matrix([own or [] for own in images.field("labels")], labels)


def row(value: float, interval: Sequence[float] | None = None, **more: Any) -> Row:
    """One result; a value that is no number becomes null with a reason, and so does a floor without it."""
    floors = {name: _finite(floor) for name, floor in (more.pop("floors", None) or {}).items()}
    more |= {"floors": floors} if floors else {}
    if not math.isfinite(value):
        return {"value": None, "reason": "not a number on these images"} | more
    bounds = [float(bound) for bound in interval] if interval is not None else None
    return {"value": float(value), "interval": bounds} | more


def unavailable(error: MedsynthError | str) -> Row:
    """The result of a metric that cannot be computed."""
    if isinstance(error, str):
        return {"value": None, "reason": error}
    return {"value": None, "reason": error.message + (f" ({error.hint})" if error.hint else "")}


def over_extractors(comparison: Comparison, name: str, compute: Callable[[Sides], dict[str, Row]]) -> dict[str, Row]:
    """Rows of a metric on features, one set an extractor.

    Args:
        comparison: the images.
        name: what stands for the rows where the features cannot be had.
        compute: features -> rows by the beginning of their names.
    """
    rows: dict[str, Row] = {}
    for extractor in comparison.extractors:
        try:
            sides = comparison.sides(extractor)
            found = compute(sides)
        except MedsynthError as error:
            rows[figure_name(name, extractor)] = unavailable(error)
            continue
        more: Row = {"extractor": comparison.observers.extractor(extractor).name}
        more |= {"n": len(sides.ours), "n_real": len(sides.real)}
        rows |= {figure_name(figure, extractor): result | more for figure, result in found.items()}
    return rows


def over_labels(
    comparison: Comparison, name: str, compute: Callable[[int, NDArray[Any], NDArray[Any]], Row]
) -> dict[str, Row]:
    """Rows of a metric on requested and recognised findings: ``<name> <label>`` for each label that was asked for.

    Args:
        comparison: the images.
        name: beginning of the rows' names; stands for all of them where findings cannot be recognised.
        compute: column of the label, the judge's probabilities ``(R,)``, whether it was asked for ``(R,)`` -> row.
    """
    try:
        probabilities, (index, wanted) = comparison.probabilities, comparison.requested
    except MedsynthError as error:
        return {name: unavailable(error)}
    if not len(index):
        return {name: unavailable("no record says which findings were asked for")}
    rows = {}
    for column, label in enumerate(comparison.labels):
        positives = int(wanted[:, column].sum())
        if positives == len(index):
            rows[f"{name} {label}"] = unavailable(f"every image was asked to show {label}: nothing to tell it from")
        elif positives:
            found = compute(column, probabilities[index, column], wanted[:, column])
            rows[f"{name} {label}"] = found | {"n": len(index), "positives": positives, "extractor": "judge"}
    return rows or {name: unavailable("no finding was asked for that the judge knows")}


def _or_none(compute: Callable[[], T]) -> T | None:
    """None in place of what cannot be computed: a floor may be missing."""
    try:
        return compute()
    except MedsynthError:
        return None


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
