"""A request for images, and its fulfilment in a run folder."""

from __future__ import annotations

import dataclasses
import re
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsynth_cli import modality as modalities
from medsynth_cli.alignment import retrieval
from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import dicom, pixels, records, sheets
from medsynth_cli.image import pipeline, synthesis
from medsynth_cli.runtime import bundles, devices
from medsynth_cli.runtime.outputs import RunFolder
from medsynth_cli.runtime.progress import Progress
from medsynth_cli.text import termsets
from medsynth_cli.text import vocabulary as vocabularies
from medsynth_cli.tokens.decoding import Sampling

if TYPE_CHECKING:
    from medsynth_cli.files.records import Failures, Record
    from medsynth_cli.image.synthesis import Synthesizer, Synthetic
    from medsynth_cli.modality import Modality

SHEET = "contact-sheet.png"
SHEET_TILES = 64
"""Images on the contact sheet: the first ones of the run."""


@dataclass(frozen=True)
class Request:
    """Everything that shapes the images; see ``medsynth generate --help``."""

    seed: int
    count: int
    view: str | None
    sex: str | None
    age: int | None
    k2: int | None
    temperature: float
    top_k: int
    cfg: float
    format: str
    bundle: str
    codebook: Path | None

    def term_set(self, findings: str) -> Record:
        """The term set of ``--findings``.

        Raises:
            MedsynthError: a finding or the view is not known; the message names the nearest ones.
        """
        modality = self._modality()
        if self.view is not None and self.view not in modality.views:
            raise MedsynthError(f"no view {self.view!r}", f"known: {', '.join(modality.views)}")
        found = termsets.parse(findings, vocabularies.load(modality.folder))
        name = next((f["term"] for f in found if f["present"]), "normal")
        record = {"kind": "terms", "id": f"{name}-{self.seed}", "modality": modality.name, "findings": found}
        return record | {"view": self.view or modality.views[0], "sex": self.sex, "age": self.age}

    def wanted(self, source: Iterable[Record]) -> Iterator[Record]:
        """The records to draw: those of ``source``, ``count`` times, with view, sex and age as asked for."""
        asked = {"view": self.view, "sex": self.sex, "age": self.age}
        overrides = {name: value for name, value in asked.items() if value is not None}
        for record in source:
            for copy in records.copies(record, self.count):
                yield copy | overrides

    def _modality(self) -> Modality:
        return modalities.load(bundles.load(self.bundle).modality)


def folder_name(record: Record | None, seed: int) -> str:
    """Name of the default output folder: first finding and seed."""
    present = [f["term"] for f in (record or {}).get("findings", []) if f["present"]]
    return f"{re.sub('[^A-Za-z0-9_-]', '-', present[0]) if present else 'normal'}-{seed}"


def fulfil(
    request: Request,
    source: Iterable[Record],
    out: Path,
    device: str,
    batch_size: int,
    resume: bool,
    overwrite: bool,
    failures: Failures,
) -> int:
    """Make the images of a request.

    Args:
        request: what shapes the images.
        source: term, report or aligned records.
        out: the run folder.
        device: name of the device.
        batch_size: images between two writes.
        resume: keep what an earlier run finished.
        overwrite: replace what an earlier run wrote.
        failures: told of records that cannot be drawn.

    Returns:
        Number of images in the folder.

    Raises:
        MedsynthError: the folder, the device or the bundle cannot be used.
    """
    folder = RunFolder(out, resume, overwrite)
    opened = bundles.load(request.bundle)
    retriever = retrieval.load(opened, request.codebook)
    synthesizer = synthesis.load(opened, devices.resolve(device))
    wanted = list(request.wanted(source))
    folder.start(
        "generate",
        _settings(request),
        {"seed": request.seed},
        {"records": [record["id"] for record in wanted]},
        {"bundle": opened.sha256, "codebook": retriever.codebook.sha256},
    )
    ready, began = folder.done_ids(), time.monotonic()
    waiting = (record for record in wanted if record["id"] not in ready)
    todo = pipeline.aligned(waiting, retriever, request.k2, request.seed, failures)
    with Progress("generating", len(wanted), len(ready)) as progress:
        _draw(request, synthesizer, todo, batch_size, folder, failures, progress)
    done, seconds = folder.records(), time.monotonic() - began
    if done:
        folder.write_file(SHEET, _sheet(folder.path, done[:SHEET_TILES]))
    folder.finish(
        {"wanted": len(wanted), "images": len(done), "failed": len(failures)},
        {"device": str(synthesizer.device), "images_per_second": round((len(done) - len(ready)) / seconds, 3)},
    )
    if sys.stdout.isatty():
        print(f"{len(done)} images in {folder.path}, overview in {folder.path / SHEET}")
    return len(done)


def _draw(
    request: Request,
    synthesizer: Synthesizer,
    todo: Iterator[Record],
    batch_size: int,
    folder: RunFolder,
    failures: Failures,
    progress: Progress,
) -> None:
    """Write every image as it is made; its record also goes to stdout, unless that is a terminal."""
    sampling = Sampling(request.temperature, request.top_k, request.cfg)
    bundle, piped = synthesizer.bundle, not sys.stdout.isatty()
    modality = modalities.load(bundle.modality)
    for record in folder.records() if piped else []:
        records.emit(folder.from_here(record))
    for image in synthesizer.images(todo, request.seed, sampling, batch_size):
        record = _image_record(image, request, bundle.name, bundle.sha256)
        reason = records.complaint(record, ("image",))
        if reason:
            failures.add(reason, id=str(record["id"]))
            continue
        folder.add(record, _encode(image, record, request, modality, bundle.sha256))
        if piped:
            records.emit(folder.from_here(record))
        progress.advance()


def _settings(request: Request) -> dict[str, Any]:
    values = dataclasses.asdict(request)
    del values["seed"]
    return values | {"codebook": str(request.codebook) if request.codebook else None}


def _image_record(image: Synthetic, request: Request, name: str, sha256: str) -> Record:
    source = image.record
    suffix = "dcm" if request.format == "dicom" else "png"
    return source | {
        "kind": "image",
        "source_id": source.get("source_id") or source["id"],
        "image": f"{source['id']}.{suffix}",
        "seed": request.seed,
        "bundle": {"name": name, "sha256": sha256},
        "codes_sha256": image.codes_sha256,
        "selected_from": 1,
    }


def _encode(image: Synthetic, record: Record, request: Request, modality: Modality, sha256: str) -> bytes:
    if request.format == "png":
        return pixels.encode_png(image.pixels)
    return dicom.secondary_capture(
        image.pixels,
        uid_seed=f"{sha256}/{request.seed}/{record['id']}/{record['codes_sha256']}",
        series_seed=f"{sha256}/{request.seed}/{record['source_id']}/{record['id']}",
        modality=modality.dicom_modality,
        body_part=modality.body_part,
        title=modality.title,
        view=record.get("view"),
        sex=record.get("sex"),
        age=record.get("age"),
        bundle=str(record["bundle"]["name"]),
    )


def _sheet(folder: Path, shown: list[Record]) -> bytes:
    tiles = [pixels.read(folder / record["image"]) for record in shown]
    return pixels.encode_png(sheets.contact_sheet(tiles, [record["id"] for record in shown]))
