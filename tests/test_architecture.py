"""The rules of the layers, checked on the syntax tree of every module."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "medsynth_cli"
MODULES = sorted(PACKAGE.rglob("*.py"))

# From the top down: a module imports from its own layer and from those below it.
LAYERS = [
    "__main__", "app", "commands", "settings", "training", "metrics", "image", "alignment", "recognition",
    "tokens", "text", "runtime", "files", "modality", "errors", "__init__",
]  # fmt: skip
COMMAND_LINES = 80


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def layer(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Dotted names that a module imports, wherever in the file: ``a.b`` and, for ``from a import b``, also ``a.b``."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield dotted(node.func), node


def test_every_module_belongs_to_a_layer() -> None:
    assert {layer(path) for path in MODULES} <= set(LAYERS)


def test_imports_go_down_only() -> None:
    wrong = []
    for path in MODULES:
        own = LAYERS.index(layer(path))
        for name, line in imported(path):
            parts = name.split(".")
            if parts[0] != "medsynth_cli" or len(parts) < 2 or parts[1] not in LAYERS:
                continue
            if LAYERS.index(parts[1]) < own:
                wrong.append(f"{path.relative_to(PACKAGE)}:{line} imports {name}")
    assert not wrong


def test_only_the_command_line_imports_typer_and_nothing_imports_click() -> None:
    users = {layer(path) for path in MODULES for name, _ in imported(path) if name.split(".")[0] == "typer"}
    assert users == {"app", "commands", "settings"}
    assert not [path for path in MODULES for name, _ in imported(path) if name.split(".")[0] == "click"]


def test_pixels_are_read_in_files_only() -> None:
    readers = ("Image.open", "dcmread", "imread", "read_image", "decode_image")
    found = {layer(path) for path in MODULES for name, _ in calls(path) if name.endswith(readers)}
    assert found == {"files"}


def test_pickles_are_read_as_plain_weights_only() -> None:
    loads = [(path, call) for path in MODULES for name, call in calls(path) if name == "torch.load"]
    assert loads
    for path, call in loads:
        safe = [k for k in call.keywords if k.arg == "weights_only" and getattr(k.value, "value", None) is True]
        assert safe, f"{path}:{call.lineno}: torch.load without weights_only=True"
    assert not [path for path in MODULES for name, _ in calls(path) if name in ("pickle.load", "pickle.loads")]


@pytest.mark.parametrize("path", sorted((PACKAGE / "commands").glob("*.py")), ids=lambda path: path.stem)
def test_commands_are_thin(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef):
            lines = (node.end_lineno or 0) - node.body[0].lineno + 1
            assert lines <= COMMAND_LINES, f"{path.name}: {node.name} has {lines} lines"


@pytest.mark.parametrize("arguments", [["--help"], ["info", "--json"], ["generate", "--help"]], ids=" ".join)
def test_help_and_info_do_not_import_torch(arguments: list[str]) -> None:
    script = (
        "import json, sys; from medsynth_cli.app import main; code = main(sys.argv[1:]);"
        "heavy = [m for m in ('torch', 'transformers', 'diffusers', 'timm', 'scipy', 'spacy') if m in sys.modules];"
        "print(json.dumps([code, heavy]))"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [0, []]


def test_documentation_pages_are_up_to_date() -> None:
    root = PACKAGE.parent
    script = "import json, runpy, sys; pages = runpy.run_path(sys.argv[1])['pages']; print(json.dumps(pages()))"
    command = [sys.executable, "-c", script, str(root / "docs" / "generate.py")]
    pages = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    committed = {path.name: path.read_text("utf-8") for path in (root / "docs" / "commands").glob("*.md")}
    assert committed == pages, "run: make docs"
    assert not any("\x1b" in text for text in pages.values())
