"""`medsynth evaluate`: score synthetic images against real ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medsynth_cli import modality as modalities
from medsynth_cli import settings
from medsynth_cli.errors import Exit, MedsynthError
from medsynth_cli.files import atomic, records
from medsynth_cli.files.records import Failures
from medsynth_cli.runtime import bundles, devices, progress

if TYPE_CHECKING:
    import torch

    from medsynth_cli.metrics.reference import Reference
    from medsynth_cli.runtime.bundles import Bundle


def evaluate(
    source: Annotated[
        str, typer.Argument(metavar="SYNTH", help="Folder, records file, tar shard, or - for records on stdin.")
    ],
    real: Annotated[
        list[str] | None,
        typer.Option("--real", metavar="DATA|BUNDLE:NAME", help="Real images, or a bundled reference (default)."),
    ] = None,
    metrics: Annotated[
        str, typer.Option("--metrics", help="Comma-separated: fd, kid, prdc, auroc, niqe, ms-ssim; or all.")
    ] = "fd,kid,prdc,auroc,niqe",
    gate: Annotated[
        Path | None, typer.Option("--gate", help="YAML file of bounds; exit code 4 if one is broken.")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write a copy of the result there.")] = None,
    errors: settings.Errors = None,
    bundle: settings.Bundle = settings.DEFAULT_BUNDLE,
    device: settings.Device = "auto",
    seed: settings.Seed = 0,
    config: settings.Config = None,
    quiet: settings.Quiet = False,
    debug: settings.Debug = False,
) -> int:
    """Score synthetic images against real ones: one JSON object on stdout, a table on stderr."""
    from medsynth_cli.metrics import evaluation, gates, samples
    from medsynth_cli.metrics.comparison import Comparison

    wanted = evaluation.chosen(metrics)
    bounds = gates.load(gate) if gate else []
    opened = bundles.load(bundle)
    where, failures = devices.resolve(device), Failures(errors)
    size_px = modalities.load(str(opened.manifest["modality"])).resolution_px
    images, kept = samples.read([source], size_px, failures)
    compared = _real(real, opened, where, size_px, failures)
    comparison = Comparison(images, kept, compared, opened, where, seed)
    score = evaluation.evaluate(comparison, wanted, bounds, len(failures))

    evaluation.show(score, progress.console())
    line = records.dumps(score)
    if json is not None:
        atomic.write_text(json, line + "\n")
    typer.echo(line)
    broken = [entry for entry in score["gates"] if not entry["held"]]
    if broken:
        hint = "the score on stdout has the figures"
        raise MedsynthError("; ".join(gates.describe(entry) for entry in broken), hint, Exit.GATE_FAILED)
    return failures.exit_code(len(images))


def _real(names: list[str] | None, bundle: Bundle, device: torch.device, size_px: int, failures: Failures) -> Reference:
    """Real images named by path, a reference named ``bundle:name``, or the first reference of the bundle."""
    from medsynth_cli.metrics import reference, samples

    if not names:
        known = reference.names(bundle)
        if not known:
            raise MedsynthError(f"bundle {bundle.name} has no reference", "name real images with --real")
        return reference.load(bundle, known[0])
    if len(names) == 1 and not Path(names[0]).exists() and ":" in names[0]:
        owner, _, name = names[0].rpartition(":")
        return reference.load(bundle if owner in (bundle.name, str(bundle.folder)) else bundles.load(owner), name)
    images, kept = samples.read(names, size_px, failures)
    labels = modalities.load(str(bundle.manifest["modality"])).labels
    return reference.measure(images, kept, bundle, ", ".join(names), device, labels)
