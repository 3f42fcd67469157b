"""``medsynth align``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medsynth_cli import settings
from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import records

if TYPE_CHECKING:
    from medsynth_cli.alignment.heatmaps import HeatmapWriter
    from medsynth_cli.alignment.retrieval import Retriever
    from medsynth_cli.runtime.bundles import Bundle


def align(
    source: Annotated[str, typer.Argument(metavar="REPORTS", help="Report or image records; - is stdin.")] = "-",
    out: settings.Out = "-",
    k2: Annotated[int | None, typer.Option("--k2", min=0, help="Key patches a report; 0 fetches none.")] = None,
    seed: settings.Seed = 0,
    bundle: settings.Bundle = settings.DEFAULT_BUNDLE,
    codebook: settings.Codebook = None,
    modality: Annotated[str | None, typer.Option("--modality", help="Vocabulary; default: the bundle's.")] = None,
    heatmaps: Annotated[
        Path | None,
        typer.Option("--heatmaps", help="Folder for pictures of where each word is found, of records with an image."),
    ] = None,
    arrays: Annotated[bool, typer.Option("--arrays", help="Also write the heatmaps as <id>.npz.")] = False,
    aligner: Annotated[
        str | None,
        typer.Option("--aligner", help="Draws the heatmaps: a bundle, or a CLIP or SigLIP model (hub id or folder)."),
    ] = None,
    device: settings.Device = "auto",
    errors: settings.Errors = None,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> int:
    """Find the keywords of reports and fetch their key patches from the visual codebook.

    Reads records with a report and writes aligned records. Words that a report denies or doubts fetch nothing.
    With --heatmaps, records that name an image show where the words that are not denied are found in it.
    """
    from medsynth_cli.alignment import retrieval
    from medsynth_cli.runtime import bundles

    if heatmaps is None and (arrays or aligner):
        raise MedsynthError("--arrays and --aligner are about heatmaps", "name a folder for them: --heatmaps DIR")
    failures = records.Failures(errors)
    opened = bundles.load(bundle)
    retriever = retrieval.load(opened, codebook, modality)
    writer = None if heatmaps is None else _heatmaps(heatmaps, retriever, opened, aligner, device, arrays)
    with records.Writer(out) as output:
        for record in records.read(source, ("report", "aligned", "image"), failures):
            try:
                aligned = retriever.align(record, k2, seed)
                if writer and "image" in record:
                    writer.write(aligned, records.folder_of(source) / record["image"])
            except MedsynthError as error:
                failures.add(error.message, source, id=str(record["id"]))
                continue
            output.write(records.moved(aligned, source, out))
    return failures.exit_code(output.count)


def _heatmaps(
    folder: Path, retriever: Retriever, bundle: Bundle, aligner: str | None, device: str, arrays: bool
) -> HeatmapWriter:
    from medsynth_cli import modality
    from medsynth_cli.alignment import aligners
    from medsynth_cli.alignment.heatmaps import HeatmapWriter
    from medsynth_cli.runtime import devices

    opened = aligners.load(bundle, aligner, devices.resolve(device))
    size_px = modality.load(bundle.modality).resolution_px
    return HeatmapWriter(opened, retriever.vocabulary, folder, size_px, arrays)
