"""The error boundary: every way to go wrong ends in one line and the right exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import medsynth_cli
from medsynth_cli import settings
from medsynth_cli.app import main


def failure(capsys: pytest.CaptureFixture[str]) -> str:
    """The error line of the last command; nothing else is on stderr, and nothing on stdout."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"medsynth {medsynth_cli.__version__}\n"


def test_help_names_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    from medsynth_cli.commands import COMMANDS

    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["info", "--colour"], "--colour"),
        (["inform"], "inform"),
        (["vocab", "draw"], "draw"),
        (["models", "verify"], "BUNDLE"),
        (["generate", "--seed", "one"], "--seed"),
        (["generate", "--seed", "-1"], "--seed"),
    ],
)
def test_wrong_usage_is_exit_2(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert named.lower() in failure(capsys).lower()


def test_missing_input_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "none.jsonl"
    assert main(["report", str(missing)]) == 2
    assert str(missing) in failure(capsys)


def test_debug_shows_the_traceback_and_is_forgotten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "verify", str(tmp_path), "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err
    assert main(["models", "verify", str(tmp_path)]) == 2
    assert "Traceback" not in failure(capsys)
    assert settings.debug is False


def test_config_sets_options_and_the_command_line_wins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("n: 3\nseed: 5\n")
    assert main(["vocab", "sample", "--config", str(config)]) == 0
    from_config = capsys.readouterr().out
    assert from_config.count("\n") == 3
    assert main(["vocab", "sample", "-n", "3", "--seed", "5"]) == 0
    assert capsys.readouterr().out == from_config
    assert main(["vocab", "sample", "--config", str(config), "-n", "2"]) == 0
    assert capsys.readouterr().out.count("\n") == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [("sead: 5\n", "unknown option sead"), ("- 1\n", "not a mapping"), ("a: [\n", "not YAML")],
)
def test_wrong_config_is_exit_2(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(text)
    assert main(["vocab", "sample", "--config", str(config)]) == 2
    message = failure(capsys)
    assert str(config) in message
    assert said in message


def test_missing_config_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vocab", "sample", "--config", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in failure(capsys)


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_signals_end_quietly(name: str, code: int) -> None:
    """The command waits for its second line of stdin; the signal comes after its first report is out."""
    number = getattr(signal, name)
    with start(["-m", "medsynth_cli", "report", "-"]) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(TERMS)
        process.stdin.flush()
        assert '"report"' in process.stdout.readline()
        process.send_signal(number)
        _, err = process.communicate()
    assert process.returncode == code
    assert "Traceback" not in err
    assert err.count("\n") <= 1
    assert ("--resume" in err) == (name == "SIGINT")


def test_closed_stdout_ends_quietly() -> None:
    with start(["-m", "medsynth_cli", "vocab", "sample", "-n", "20000"]) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 0
    assert err == ""


TERMS = '{"kind": "terms", "id": "t1", "findings": [{"term": "pleural_effusion", "present": true}]}\n'


def start(arguments: list[str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *arguments], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
