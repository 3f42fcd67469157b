"""Shortcuts: what a classifier could learn from the images, or from what was asked for, in place of the findings.

Three questions. Can synthetic images be told from real ones (the classifier two-sample test of Lopez-Paz and Oquab
2017, arXiv 1610.06545)? Does the view come out that was asked for, and do view, sex and age give findings away? Do
the corners of an image, where text markers are, give findings away?
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import auroc, comparison, cues, intervals, patients, probe, subgroups
from medsynth_cli.metrics.comparison import (
    REPEATED,
    ROUND_TRIP,
    TRAINING,
    Comparison,
    Floors,
    Row,
    Sides,
    label_truth,
    row,
)
from medsynth_cli.metrics.cues import Cues
from medsynth_cli.recognition.extractors import figure_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.files.records import Record
    from medsynth_cli.metrics.imagesets import ImageSet
    from medsynth_cli.recognition.observers import Observer

ORIGIN, VIEW = "real or synthetic", "view from features"
FROM_VIEW, FROM_BORDER = "finding from view", "finding from border"
SEEDS = 2
"""Ways of making folds."""
FEWEST = 5
"""Patients or records of either side that cross-validation needs, and images of a view."""
METHOD = f"bootstrap over patients or records with the probes fixed, {intervals.ROUNDS} rounds"
CROSSED = f"{METHOD}, widened for shared folds"
NOTES = {
    ORIGIN: "0.5: a linear probe cannot tell them; 1: it can, which says that they differ, not that it matters",
    VIEW: "a probe of real images looks for the view that was asked for",
    FROM_VIEW: "no image is looked at: view, sex and age alone, in synthetic requests and in real images",
    FROM_BORDER: "from the four corners alone, where real images may tell findings as well; more than that is suspect",
}


def score(compared: Comparison) -> dict[str, Row]:
    """``real or synthetic`` and ``view from features`` on every extractor; findings from view and from the border.

    ``finding from view`` and ``finding from border`` are macro AUROCs over findings; ``... excess`` is by how much
    they are above those of real images at the same numbers of positives and negatives.
    """
    rows = comparison.over_extractors(compared, ORIGIN, lambda sides: {ORIGIN: _origin(compared, sides)})
    for extractor in compared.extractors:
        try:
            found = _view(compared, compared.observers.extractor(extractor))
        except MedsynthError as error:
            found = comparison.unavailable(error)
        rows[figure_name(VIEW, extractor)] = found
    for name, compute in ((FROM_VIEW, _from_view), (FROM_BORDER, _from_border)):
        try:
            rows |= compute(compared)
        except MedsynthError as error:
            rows[name] = comparison.unavailable(error)
    return rows


def _origin(compared: Comparison, sides: Sides) -> Row:
    """How well a probe tells synthetic images from real ones."""
    if sides.fewest_groups < FEWEST:
        raise MedsynthError(f"needs {FEWEST} patients or records on either side")
    owners = [*compared.synthetic.owners, *compared.real.owners]
    groups = np.unique(owners, return_inverse=True)[1]
    rankings = _apart(sides.ours, sides.real, groups, compared.seed)
    floors: Floors = {}
    for name, features in sides.others.items():
        other = [str(n) for n in range(len(features))] if name == REPEATED else compared.floor_images.owners
        joint = np.unique([*other, *compared.real.owners], return_inverse=True)[1]
        floors[name] = _mean(_apart(features, sides.real, joint, compared.seed))
    value = _mean(rankings)
    bounds = probe.cross_validated(value, probe.drawn(rankings, groups, compared.seed))
    return row(value, bounds, better="lower", floors=floors, interval_method=CROSSED, note=NOTES[ORIGIN])


def _apart(
    ours: NDArray[np.floating], others: NDArray[np.floating], groups: NDArray[np.integer], seed: int
) -> list[probe.FoldedRanking]:
    """Out-of-fold rankings of which images are ``ours``, ``(N, D)`` before ``(M, D)``, by groups ``(N + M,)``."""
    features = np.concatenate([ours, others])
    truth = np.arange(len(features)) < len(ours)
    folds = [probe.folds(groups, seed + n) for n in range(SEEDS)]
    return [probe.FoldedRanking(probe.out_of_fold(features, truth[:, None], fold)[:, 0], truth, fold) for fold in folds]


def _view(compared: Comparison, observer: Observer) -> Row:
    """Whether synthetic images show the view that was asked for, to a probe that learnt views from real ones."""
    ours, real = (_known(images, "view") for images in (compared.synthetic, compared.real))
    sides = [images.field("view") for images in (ours, real)]
    views = [v for v in sorted({*sides[1]}) if all(FEWEST <= s.count(v) <= len(s) - FEWEST for s in sides)]
    if not views:
        raise MedsynthError(f"no view that {FEWEST} synthetic and {FEWEST} real images have, and as many have not")
    features, truth = real.of(observer), _one_hot(sides[1], views)
    learnt = probe.train(features, truth)

    def told(images: ImageSet, said: NDArray[np.floating]) -> float:
        return auroc.macro(learnt(said), _one_hot(images.field("view"), views))

    fold = probe.folds(real.groups, compared.seed)
    logits = probe.out_of_fold(features, truth, fold)
    crossed = [probe.FoldedRanking(logits[:, n], truth[:, n], fold) for n in range(len(views))]
    floors: Floors = {"real": _mean(crossed), REPEATED: 0.5}
    if compared.train is not None:
        train = _known(compared.floor_images, "view")
        train = train.take(np.flatnonzero(~patients.shared(train, real)))
        for name, look in ((TRAINING, lambda: observer), (ROUND_TRIP, lambda: compared.observers.round_trip(observer))):
            with contextlib.suppress(MedsynthError):  # a floor may be missing
                floors[name] = told(train, train.of(look()))
    said, asked = learnt(ours.of(observer)), _one_hot(sides[0], views)
    rankings = [auroc.Ranking(said[:, n], asked[:, n]) for n in range(len(views))]
    drawn = np.mean([probe.drawn([ranking], ours.groups, compared.seed) for ranking in rankings], axis=0)
    more = {"extractor": observer.name, "n": len(ours), "n_real": len(real), "note": NOTES[VIEW]}
    bounds = intervals.percentile(drawn)
    return row(_mean(rankings), bounds, better="higher", floors=floors, interval_method=METHOD, **more)


def _from_view(compared: Comparison) -> dict[str, Row]:
    """Findings from view, sex and age, as asked for and as known of real images."""
    ours, real = _labelled(compared)
    told = [[_facts(meta) for meta in images.meta] for images in (ours, real)]
    names = sorted({*itertools.chain(*told[0])})
    if not names:
        raise MedsynthError("no record with findings names a view, a sex or an age")
    features = [np.array([[name in own for name in names] for own in side], np.float64) for side in told]
    return _from_cue(compared, FROM_VIEW, ours, real, features)


def _from_border(compared: Comparison) -> dict[str, Row]:
    """Findings from features of the corners; real images after the tokenizer stand in for synthetic ones."""
    ours, real = _labelled(compared)
    look = compared.observers.border(compared.observers.extractor("effnet"))
    features = [ours.of(look), real.of(look), real.of(compared.observers.round_trip(look))]
    rows = _from_cue(compared, FROM_BORDER, ours, real, features)
    return {name: result | {"extractor": look.name} for name, result in rows.items()}


def _from_cue(
    compared: Comparison, name: str, ours: ImageSet, real: ImageSet, features: Sequence[NDArray[np.floating]]
) -> dict[str, Row]:
    """Rows of a cue: features of synthetic images, of real ones, and perhaps of these after the tokenizer."""
    asked = compared.requested[1]
    truths = [asked, *[label_truth(real, compared.labels)] * (len(features) - 1)]
    groups = [ours.groups, real.groups, real.groups]
    sides = [Cues(*side) for side in zip(features, truths, groups, strict=False)]
    others = dict(zip((ROUND_TRIP,), sides[2:], strict=False))
    told = cues.compare(sides[0], sides[1], compared.labels, compared.seed, others)
    more = {"n": len(ours), "n_real": len(real), "note": NOTES[name]}
    return {name + end: result | more for end, result in cues.rows(told).items()}


def _labelled(compared: Comparison) -> tuple[ImageSet, ImageSet]:
    """Synthetic images whose record says which findings were asked for, and real ones whose labels are known."""
    index, _ = compared.requested
    return compared.synthetic.take(index), _known(compared.real, "labels")


def _facts(meta: Record) -> list[str]:
    return [f"{field}={value}" for field, groups in subgroups.FIELDS.items() for value in groups(meta)]


def _known(images: ImageSet, field: str) -> ImageSet:
    """The images that a field is known of."""
    return images.take([index for index, value in enumerate(images.field(field)) if value is not None])


def _one_hot(values: Sequence[str], names: Sequence[str]) -> NDArray[np.float64]:
    return np.array([[value == name for name in names] for value in values], np.float64)


def _mean(rankings: Sequence[probe.FoldedRanking | auroc.Ranking]) -> float:
    return float(np.mean([ranking.auroc() for ranking in rankings]))
