"""The demo as a newcomer starts it: it ends well, and says what happened in figures."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(240)
def test_the_demo_takes_a_broken_release_back_and_says_what_it_cost(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.demo", "broken", str(tmp_path / "demo")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "v3: reverted (regressed)" in done.stdout
    assert "All as it should be." in done.stdout
    served = re.search(r"bad responses served\D*(\d+) of (\d+)", done.stdout)
    assert served is not None, done.stdout
    assert 0 < int(served[1]) < int(served[2])
    assert re.search(r"switching failures\D*\b0\b", done.stdout), done.stdout
    comment = (tmp_path / "demo/pull-request-7.md").read_text()
    assert "v3" in comment
    assert (tmp_path / "demo/run-1.1/summary.md").read_text().strip()
