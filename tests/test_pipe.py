"""The README's pipe, as a shell runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

PIPE = (
    "medsynth vocab sample -n 6 --seed 1 | medsynth report | medsynth align"
    " | medsynth generate -o out - | medsynth evaluate -"
)


def test_the_pipe_of_the_readme_runs(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    assert PIPE in readme
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", PIPE],
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    score = json.loads(done.stdout)
    assert score["kind"] == "score"
    assert score["metrics"]["FD-EffNet"]["value"] > 0
    assert len(list((tmp_path / "out").glob("terms-*.png"))) == 6
