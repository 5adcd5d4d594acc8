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


def test_a_job_that_is_cancelled_while_the_gate_is_loading_begins_nothing(tmp_path: Path) -> None:
    event, output = tmp_path / "event.json", tmp_path / "output"
    event.write_text("{}")
    told = {
        "GITHUB_EVENT_NAME": "push", "GITHUB_EVENT_PATH": str(event), "GITHUB_REPOSITORY": "acme/shop",
        "GITHUB_REPOSITORY_ID": "1", "GITHUB_SHA": "a" * 40, "GITHUB_RUN_ID": "1", "GITHUB_ACTOR": "ann",
        "GITHUB_OUTPUT": str(output), "INPUT_FLAG-SERVER-URL": "http://127.0.0.1:9",
    }  # fmt: skip
    # The first thing that is loaded after the command's own beginning sends the signal.
    cancels = "import os, signal, sys\nclass Finder:\n def find_spec(self, name, *_):\n"
    cancels += "  if name == 'gate.app': sys.meta_path.remove(self); os.kill(os.getpid(), signal.SIGTERM)\n"
    begins = f"{cancels}sys.meta_path.insert(0, Finder())\nfrom gate.early import step\nstep()"
    run = subprocess.run(
        [sys.executable, "-c", begins], cwd=ROOT, env=os.environ | told, capture_output=True, text=True, check=False
    )
    assert run.returncode == 143, run.stderr
    assert "Traceback" not in run.stderr
    assert '"reason": "cancelled"' in output.read_text()
