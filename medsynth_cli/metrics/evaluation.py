"""One evaluation: metrics on synthetic beside real images, as a score record."""

from __future__ import annotations

import contextlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from medsynth_cli import modality
from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import (
    DEFAULT,
    METRICS,
    alarms,
    coverage_map,
    niqe,
    protocol,
    reference,
    report_alignment,
    subgroups,
    thumbnails,
)
from medsynth_cli.metrics.comparison import Comparison
from medsynth_cli.recognition import extractors as feature_extractors
from medsynth_cli.runtime import devices, provenance

if TYPE_CHECKING:
    from rich.console import Console

    from medsynth_cli.files.records import Record
    from medsynth_cli.metrics.comparison import Row
    from medsynth_cli.metrics.imagesets import ImageSet
    from medsynth_cli.metrics.observers import Observers
    from medsynth_cli.recognition.observers import Observer
    from medsynth_cli.runtime.bundles import Bundle

ON_FEATURES = ("fd", "kid", "mmd", "prdc", "vendi", "authenticity")
PROBED = ("utility", "shortcuts")
JUDGED = ("auroc", "f1", "calibration")
Loader = Callable[["Observers"], "Observer"]
LOOKS: dict[str, Loader] = {
    **dict.fromkeys(JUDGED, lambda own: own.judge.observer),
    "copies": lambda own: own.fingerprints.shifted,
    "re-identification": lambda own: own.identities.observer,
    "key-patches": lambda own: own.codes,
    "report-alignment": lambda own: report_alignment.observer(own.bundle, own.device),
    "niqe": lambda own: niqe.observer(own.bundle, "NIQE"),
    "niqe-matlab": lambda own: niqe.observer(own.bundle, "NIQE-MATLAB"),
    "niqe-radiographs": lambda own: niqe.observer(own.bundle, "NIQE-radiographs"),
}
"""Metric -> what looks at every image for it."""
NATURAL = (LOOKS["niqe"], LOOKS["niqe-radiographs"])
REFERENCE: dict[bool, tuple[Sequence[Loader], Sequence[Loader]]] = {
    False: (
        [*NATURAL, lambda own: own.extractor("effnet"), LOOKS["copies"], LOOKS["re-identification"]],
        [LOOKS["auroc"], LOOKS["report-alignment"]],
    ),
    True: (
        NATURAL,
        [lambda own: own.extractor("effnet"), lambda own: own.fingerprints.observer],
    ),
}
"""Whether images were trained with -> what a reference keeps of them as they are, and also after the tokenizer."""
IN_TABLE = {"real": "real", "training": "train", "round trip": "round\ntrip", "repeated": "one\nrep."}
"""Floors with a column of their own in the table, and its heading."""


def chosen(names: str, utility: bool = False) -> tuple[str, ...]:
    """The metrics of a comma-separated list, ``all`` is every one; and ``utility`` if that is wanted as well.

    Raises:
        MedsynthError: there is no metric of that name.
    """
    wanted = tuple(METRICS) if names == "all" else listed(names)
    unknown = [name for name in wanted if name not in METRICS]
    if unknown or not wanted:
        raise MedsynthError(f"no metric {', '.join(unknown) or 'named'}", f"known: {', '.join(METRICS)}, all")
    return (*wanted, "utility") if utility and "utility" not in wanted else wanted


def extractors_of(names: str) -> tuple[str, ...]:
    """The extractors of a comma-separated list.

    Raises:
        MedsynthError: there is no extractor of that name, or it needs a model or takes none.
    """
    wanted = listed(names)
    if not wanted:
        raise MedsynthError("no extractor named", f"known: {feature_extractors.known()}")
    for name in wanted:
        feature_extractors.find(name)
    return wanted


def listed(names: str) -> tuple[str, ...]:
    """The names in a comma-separated list, none for ``none``."""
    return () if names == "none" else tuple(name.strip() for name in names.split(",") if name.strip())


def looks(metrics: Sequence[str], extractors: Sequence[str], observers: Observers) -> list[Observer]:
    """What will look at every image, so that all can do so in one pass; what cannot be had here is left out."""
    wanted = [LOOKS[name] for name in metrics if name in LOOKS]
    if {*metrics} & {*ON_FEATURES, *PROBED}:
        wanted += [_extractor(name) for name in extractors]
    found = {observer.name: observer for observer in _available(wanted, observers)}
    return [thumbnails.observer(), *found.values()]


def _extractor(name: str) -> Loader:
    return lambda observers: observers.extractor(name)


def _available(wanted: Iterable[Loader], observers: Observers) -> Iterator[Observer]:
    """Those that can be had here; what asks for another will say why it cannot."""
    for load in wanted:
        with contextlib.suppress(MedsynthError):
            yield load(observers)


def evaluate(
    comparison: Comparison,
    metrics: Sequence[str] = DEFAULT,
    by: tuple[str, ...] = (),
    failed: int = 0,
    quick: bool = False,
) -> Record:
    """Compute metrics, over all images and over groups of them.

    Args:
        comparison: the images and what to compute with.
        metrics: names in `METRICS`.
        by: fields of `subgroups.FIELDS`, or ``finding``.
        failed: number of images and records that could not be read, for the counts.
        quick: whether the images are a part of those that were named.

    Returns:
        A record of kind ``score``, without gates; a metric that cannot be computed is null with a reason.
    """
    rows = _rows(comparison, metrics)
    groups = {
        name: _rows(part, [metric for metric in metrics if metric in (*ON_FEATURES, *JUDGED, "side")])
        for name, part in subgroups.split(comparison, by)
    }
    bundle, train = comparison.observers.bundle, comparison.train
    counts = {"synthetic": len(comparison.synthetic), "real": len(comparison.real), "failed": failed}
    return {
        "kind": "score",
        "bundle": {"name": bundle.name, "sha256": bundle.sha256},
        "real": comparison.real.name,
        "real_labels": _labels_from(comparison.real),
        "train": None if train is None else train.name,
        "seed": comparison.seed,
        "quick": quick,
        "counts": counts | ({} if train is None else {"train": len(train)}),
        "extractors": _extractors(comparison, rows),
        "versions": provenance.versions(),
        "metrics": rows,
        "groups": groups,
        "largest_gap": subgroups.largest_gap(groups),
        "coverage_map": coverage_map.of(comparison, recognise=bool({*metrics} & {*JUDGED})),
        "alarms": alarms.check(comparison, rows),
        "gates": [],
    }


def open_reference(bundle: Bundle, training: bool) -> ImageSet | None:
    """The first reference of a bundle that holds training images, or other ones; None if there is none."""
    for name in reference.names(bundle):
        if reference.is_training(bundle, name) == training:
            return reference.load(bundle, name)
    return None


def reference_looks(observers: Observers, training: bool) -> list[Observer]:
    """What a reference keeps: what observers say of training images, or of others, as they are and round-tripped."""
    wanted, again = REFERENCE[training]
    found = list(_available(again, observers))
    rest = [thumbnails.observer(), *_available(wanted, observers)]
    return [*rest, *found, *map(observers.round_trip, found)]


def show(score: Record, console: Console) -> None:
    """Print a score as a table, with what is to be said about single metrics below."""
    counts = score["counts"]
    kind = "quick look at a part: " if score["quick"] else ""
    title = f"{kind}{counts['synthetic']} synthetic images against {counts['real']} of {score['real']}"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("metric", no_wrap=True)
    for column in ("value", "95 %", *IN_TABLE.values()):
        table.add_column(column, justify="right", no_wrap=True)
    for name, result in score["metrics"].items():
        table.add_row(name, *_cells(result))
    console.print(table)
    if score.get("real_labels"):
        console.print(f"labels of the real images: {score['real_labels']}", markup=False, style="dim")
    remarks: dict[str, list[str]] = {}
    for name, result in score["metrics"].items():
        remark = result.get("reason") or result.get("note")
        if remark:
            remarks.setdefault(remark, []).append(name)
    for remark, names in remarks.items():
        console.print(f"{', '.join(names)}: {remark}", markup=False, style="dim")
    for line in protocol.lines(score["protocol"]) if score.get("protocol") else ():
        console.print(line, markup=False, style="dim", highlight=False)
    gap = score["largest_gap"]
    if gap:
        text = f"largest gap: {gap['metric']} differs by {gap['difference']:.3g} between {' and '.join(gap['groups'])}"
        console.print(f"{text} ({gap['standard_errors']:.1f} standard errors)", markup=False)
    for alarm in score["alarms"]:
        if alarm["raised"]:
            console.print(f"[red]alarm:[/red] {alarm['name']}:", end=" ")
            console.print(alarm["message"], markup=False)


def _labels_from(real: ImageSet) -> str | None:
    """Where the labels of real images come from, as far as their data set tells."""
    return "; ".join(sorted({source for source in real.field("labels_from") if source})) or None


def _rows(comparison: Comparison, metrics: Sequence[str]) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for name in metrics:
        rows |= pkgutil.resolve_name(METRICS[name])(comparison)
        devices.release_memory()
    return rows


def _extractors(comparison: Comparison, rows: dict[str, Row]) -> dict[str, Any]:
    """Number of dimensions, identity and image size of the extractors that rows were computed with."""
    used = {result.get("extractor") for result in rows.values()}
    size_px, found = modality.load(comparison.observers.bundle.modality).resolution_px, {}
    loaders = [LOOKS["auroc"], *map(_extractor, comparison.extractors)]
    for observer in _available(loaders, comparison.observers):
        if observer.name in used:
            dimension = comparison.synthetic.of(observer).shape[1]
            found[observer.name] = {"dimension": dimension, "sha256": observer.identity, "size_px": size_px}
    return found


def _cells(result: dict[str, Any]) -> tuple[str, ...]:
    bounds, floors = result.get("interval"), result.get("floors") or {}
    return (
        _short(result["value"]),
        f"{_short(bounds[0])}..{_short(bounds[1])}" if bounds else "",
        *(_short(floors[name]) if name in floors else "" for name in IN_TABLE),
    )


def _short(value: float | None) -> str:
    """A figure in three digits, so that a row fits a terminal of 80 columns; the JSON has them all."""
    if value is None:
        return "-"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"
