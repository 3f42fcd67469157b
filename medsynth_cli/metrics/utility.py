"""Utility: what a classifier learns from the synthetic images that holds for real ones.

A probe is trained on synthetic images and tested on real ones (Esteban et al. 2017, arXiv 1706.02633), beside one
that is trained on as many real images, and one that is trained on both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import intervals, lessons, patients, probe
from medsynth_cli.metrics.auroc import FEWEST_POSITIVES, Ranking
from medsynth_cli.metrics.comparison import (
    REPEATED,
    ROUND_TRIP,
    TRAINING,
    Comparison,
    Row,
    label_truth,
    row,
    unavailable,
)
from medsynth_cli.metrics.lessons import Lesson, Side
from medsynth_cli.recognition.extractors import figure_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.metrics.imagesets import ImageSet
    from medsynth_cli.recognition.observers import Observer

GAIN = "gain"
COMPARED = (lessons.SYNTHETIC, lessons.REAL, lessons.BOTH)
FLOORS = {
    lessons.SYNTHETIC: {
        TRAINING: lessons.REAL,
        ROUND_TRIP: lessons.REAL_ROUND_TRIP,
        lessons.SHUFFLED: lessons.SHUFFLED,
    },
    lessons.REAL: {ROUND_TRIP: lessons.REAL_ROUND_TRIP},
    lessons.BOTH: {
        TRAINING: lessons.MORE_REAL,
        ROUND_TRIP: lessons.MORE_ROUND_TRIP,
        REPEATED: lessons.BOTH_REPEATED,
        lessons.SHUFFLED: lessons.BOTH_SHUFFLED,
    },
}
"""Row -> its floors -> the kind of training set that gives them. One image teaches nothing: 0.5 without a probe."""
METHOD = f"bootstrap over test patients and {lessons.SEEDS} draws of training images, {intervals.ROUNDS} rounds"
NO_TRAINING = "no training images with labels to compare with: name some with --train"


def score(comparison: Comparison) -> dict[str, Row]:
    """``utility synthetic``, ``real``, ``both`` and ``gain`` (both less real), on every extractor.

    Each is the macro AUROC, on the real images, of probes for the findings that all sides show often enough. There
    are as many training images as synthetic ones; of the side that has more, only so many are taken.

    Floors of ``synthetic`` are probes of training images, of these after the tokenizer, of one image over and over,
    and of synthetic images with shuffled labels. Those of ``both`` and ``gain`` put the same in the place of the
    synthetic images, next to the real ones; ``training`` are then further training images.
    """
    rows: dict[str, Row] = {}
    for extractor in comparison.extractors:
        try:
            found = _on(comparison, comparison.observers.extractor(extractor))
        except MedsynthError as error:
            found = {lessons.SYNTHETIC: unavailable(error)}
        rows |= {figure_name(f"utility {name}", extractor): result for name, result in found.items()}
    return rows


def _on(comparison: Comparison, observer: Observer) -> dict[str, Row]:
    """Rows on one extractor, by the ends of their names."""
    test = _labelled(comparison.real)
    train = None if comparison.train is None else _labelled(comparison.train)
    if test is None:
        raise MedsynthError(f"{comparison.real.name} has no labels to test with")
    notes = _whose(comparison.synthetic, test, train)
    if train is not None:
        train = _taken(train, ~patients.shared(train, test))
    sides = _sides(comparison, train, observer)
    truth = label_truth(test, comparison.labels)
    known = [sides[name].truth for name in COMPARED if name in sides]
    columns = _columns([*known, truth])
    names = [comparison.labels[column] for column in columns]
    tests = _tests(lessons.plan(sides, comparison.seed), test.of(observer), truth, columns)
    n = len(sides[lessons.SYNTHETIC].truth)
    notes = [f"probes of {n} images of a kind, macro over {len(names)} findings", *notes]
    more = {"extractor": observer.name, "n": n, "n_real": len(test), "note": "; ".join(notes)}
    rows = {name: result | more for name, result in _rows(tests, names, test.groups, comparison.seed).items()}
    if lessons.REAL not in sides:
        rows |= {name: unavailable(NO_TRAINING) for name in (lessons.REAL, lessons.BOTH, GAIN)}
    return rows


def _labelled(images: ImageSet) -> ImageSet | None:
    """The images whose labels are known; None if there are none."""
    return _taken(images, np.array([own is not None for own in images.field("labels")], bool))


def _taken(images: ImageSet, wanted: NDArray[np.bool_]) -> ImageSet | None:
    return images.take(np.flatnonzero(wanted)) if wanted.any() else None


def _whose(synthetic: ImageSet, test: ImageSet, train: ImageSet | None) -> list[str]:
    """What is to be said about patients on both sides of the test."""
    said = []
    if train is not None:
        left_out = int(patients.shared(train, test).sum())
        said.append(
            f"{left_out} training images of test patients left out"
            if left_out
            else "no training image is of a test patient"
        )
        nobody = patients.unknown(train) + patients.unknown(test)
        said += [f"patients of {nobody} training and test images are unknown"] if nobody else []
    copied = int(patients.shared(synthetic, test).sum())
    return said + ([f"{copied} synthetic images name a test patient"] if copied else [])


def _sides(comparison: Comparison, train: ImageSet | None, observer: Observer) -> dict[str, Side]:
    """What there is to learn from, as many images each; training images stand in random order, so the first do."""
    index, wanted = comparison.requested
    if not len(index):
        raise MedsynthError("no record says which findings were asked for")
    n = len(index) if train is None else min(len(index), len(train))
    ours, asked = comparison.synthetic.take(index[:n]), wanted[:n]
    sides = {lessons.SYNTHETIC: Side(ours.of(observer), asked, ours.groups)}
    if train is None:
        return sides
    parts = [(lessons.REAL, lessons.REAL_ROUND_TRIP, train.take(np.arange(n)))]
    if len(train) >= 2 * n:
        parts.append((lessons.MORE_REAL, lessons.MORE_ROUND_TRIP, train.take(np.arange(n, 2 * n))))
    for name, after, images in parts:
        truth = label_truth(images, comparison.labels)
        sides[name] = Side(images.of(observer), truth, images.groups)
        with contextlib.suppress(MedsynthError):  # a floor may be missing
            sides[after] = Side(images.of(comparison.observers.round_trip(observer)), truth, images.groups)
    return sides


def _columns(truths: Sequence[NDArray[np.generic]]) -> NDArray[np.int64]:
    """Findings that are there, and not there, often enough on all sides.

    Raises:
        MedsynthError: there is none.
    """
    shown = [np.count_nonzero(truth, axis=0) for truth in truths]
    fewest = np.min([np.minimum(own, len(truth) - own) for own, truth in zip(shown, truths, strict=True)], axis=0)
    found = np.flatnonzero(fewest >= FEWEST_POSITIVES)
    if not len(found):
        raise MedsynthError(f"no finding that {FEWEST_POSITIVES} images of every side show, and {FEWEST_POSITIVES} not")
    return found


Tests = dict[str, "list[list[Ranking]]"]
"""Kind of training set -> for each draw of it and each finding, how its probe ranks the test images."""


def _tests(
    plan: Mapping[str, Sequence[Lesson]],
    features: NDArray[np.floating],
    truth: NDArray[np.generic],
    columns: NDArray[np.integer],
) -> Tests:
    """Train a probe on every training set, and let it look at test images ``(M, D)`` with labels ``(M, L)``."""
    found: Tests = {}
    for name, drawn in plan.items():
        found[name] = []
        for lesson in drawn:
            logits = probe.train(lesson.features, lesson.truth[:, columns], lesson.weights)(features)
            found[name].append([Ranking(logits[:, i], truth[:, column]) for i, column in enumerate(columns)])
    return found


def _rows(tests: Tests, names: Sequence[str], groups: NDArray[np.integer], seed: int) -> dict[str, Row]:
    """The rows that there are tests for, by the ends of their names."""
    values = {kind: np.mean([[r.auroc() for r in own] for own in draws], axis=0) for kind, draws in tests.items()}
    compared = [kind for kind in COMPARED if kind in tests]
    rounds: dict[str, Any] = {kind: [] for kind in compared}
    # A round takes one draw of training images, the same for all kinds: what another training set would have given.
    which = np.random.default_rng([seed, 10]).integers(0, lessons.SEEDS, intervals.ROUNDS)
    for draw, weights in zip(which, intervals.weights(groups, seed=seed), strict=True):
        for kind in compared:
            rounds[kind].append([ranking.auroc(weights) for ranking in tests[kind][draw]])
    drawn = {kind: np.array(found) for kind, found in rounds.items()}
    rows = {kind: _row(values[kind], drawn[kind], _floors(kind, values), names) for kind in compared}
    if lessons.BOTH in tests:
        real = values[lessons.REAL]
        gains = drawn[lessons.BOTH] - drawn[lessons.REAL]
        floors = {name: floor - float(real.mean()) for name, floor in _floors(lessons.BOTH, values).items()}
        rows[GAIN] = _row(values[lessons.BOTH] - real, gains, floors, names)
    return rows


def _row(
    values: NDArray[np.float64], drawn: NDArray[np.float64], floors: Mapping[str, float], names: Sequence[str]
) -> Row:
    """The mean over findings of ``(L,)`` and its interval from draws ``(R, L)``, and the findings' own."""
    own = {
        name: {"value": float(values[i]), "interval": list(intervals.percentile(drawn[:, i]) or ()) or None}
        for i, name in enumerate(names)
    }
    bounds = intervals.percentile(drawn.mean(axis=1))
    return row(float(values.mean()), bounds, better="higher", floors=dict(floors), interval_method=METHOD, findings=own)


def _floors(kind: str, values: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    found = {name: float(values[other].mean()) for name, other in FLOORS[kind].items() if other in values}
    return found if kind == lessons.BOTH else found | {REPEATED: 0.5}
