"""The gate starts from nothing: an interpreter of its own, nothing imported, and whatever the runner forgot to give."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_command_starts_and_says_what_it_was_not_given() -> None:
    left = ("GITHUB_", "INPUT_", "RUNNER_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(left)}
    run = subprocess.run(
        [sys.executable, "-m", "gate.app"], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert run.returncode == 2, run.stderr
    assert "GITHUB_REPOSITORY" in run.stdout + run.stderr
