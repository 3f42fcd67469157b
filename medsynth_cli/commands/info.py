"""``medsynth info``: versions, devices, bundles."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from medsynth_cli import settings


def info(
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object; does not import torch, and looks for GPUs without it.")
    ] = False,
    debug: settings.Debug = False,
) -> None:
    """Show versions, devices, and the embedded bundles with their hashes and sizes."""
    from medsynth_cli.runtime import bundles, devices, provenance

    report = {
        "versions": provenance.versions(),
        "devices": devices.probe() if as_json else devices.available(),
        "devices_found_by": "probe" if as_json else "torch",
        "bundles": [bundles.describe(name) for name in bundles.embedded()],
    }
    if as_json:
        typer.echo(json.dumps(report, indent=1))
    else:
        _print(report)


def _print(report: dict[str, Any]) -> None:
    for name, version in report["versions"].items():
        typer.echo(f"{name:<14} {version or 'not installed'}")
    typer.echo(f"{'devices':<14} {', '.join(report['devices'])}")
    for bundle in report["bundles"]:
        typer.echo(f"{'bundle':<14} {bundle['name']} {bundle['sha256']} ({bundle['bytes'] / 1e6:.1f} MB)")
        for name, part in bundle["parts"].items():
            typer.echo(f"  {name:<12} {part['bytes'] / 1e6:8.2f} MB  {part['sha256']}")
    if not report["bundles"]:
        typer.echo(f"{'bundle':<14} none embedded")
