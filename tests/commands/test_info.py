"""``medsynth info``."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata

import pytest

import medsynth_cli
from medsynth_cli.app import main
from medsynth_cli.runtime import bundles


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["medsynth"] == medsynth_cli.__version__
    assert found["versions"]["torch"] == metadata.version("torch")
    assert "ruff" not in found["versions"]
    assert "cpu" in found["devices"]
    assert [bundle["name"] for bundle in found["bundles"]] == bundles.embedded()
    for bundle in found["bundles"]:
        for part in bundle["parts"].values():
            file = bundles.assets() / bundle["name"] / part["file"]
            assert hashlib.sha256(file.read_bytes()).hexdigest() == part["sha256"]
            assert file.stat().st_size == part["bytes"]


def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert metadata.version("torch") in out
    assert "\x1b" not in out
    for name in bundles.embedded():
        bundle = bundles.load(name)
        assert bundle.sha256 in out
        assert all(bundle.part_sha256(part) in out for part in bundle.parts())
