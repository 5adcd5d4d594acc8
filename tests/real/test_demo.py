"""The demo as a newcomer starts it: it ends well, and says what happened in figures."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def demo(scenario: str, folder: Path) -> str:
    """What the demo said, once it has ended well."""
    command = [sys.executable, "-m", "examples.demo", scenario, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All as it should be." in done.stdout
    assert re.search(r"switching failures\D*\b0\b", done.stdout), done.stdout
    return done.stdout


@pytest.mark.timeout(240)
def test_the_demo_takes_a_broken_release_back_and_says_what_it_cost(tmp_path: Path) -> None:
    said = demo("broken", tmp_path / "demo")
    assert "v3: reverted (regressed)" in said
    served = re.search(r"bad responses served\D*(\d+) of (\d+)", said)
    assert served is not None, said
    assert 0 < int(served[1]) < int(served[2])
    comment = (tmp_path / "demo/pull-request-7.md").read_text()
    assert "v3" in comment
    assert (tmp_path / "demo/run-1.1/summary.md").read_text().strip()


@pytest.mark.timeout(240)
def test_in_blue_green_everybody_switches_and_is_switched_back(tmp_path: Path) -> None:
    said = demo("blue-green", tmp_path / "demo")
    assert "v2: promoted (promoted)" in said
    assert "v3: reverted (regressed)" in said
