"""The rules of `tests/conftest.py`, seen from outside: a run that would skip ends red, and chance has no say in CI."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
BODIES = {
    "call": "import pytest\ndef test_it():\n    pytest.skip('no database')\n",
    "mark": "import pytest\n@pytest.mark.skip('no database')\ndef test_it():\n    assert True\n",
    "xfail": "import pytest\n@pytest.mark.xfail(reason='no database')\ndef test_it():\n    assert False\n",
    "fixture": "import pytest\n@pytest.fixture\ndef db():\n    pytest.skip('no database')\ndef test_it(db): db\n",
    "module": "import pytest\npytest.skip('no database', allow_module_level=True)\n",
    "import": "import pytest\npytest.importorskip('no_database', reason='no database')\n",
}
CHANCE = "from hypothesis import settings\ndef test_it():\n    print(f'derandomize: {settings.default.derandomize}')\n"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a run in CI says of a folder with all these tests in it."""
    folder = tmp_path_factory.mktemp("skips")
    (folder / "conftest.py").write_text(CONFTEST.read_text())
    (folder / "pytest.ini").write_text("[pytest]\n")
    for name, body in {**BODIES, "chance": CHANCE}.items():
        (folder / f"test_{name}.py").write_text(body)
    command = [sys.executable, "-m", "pytest", "-s", "-rA", "-p", "no:cacheprovider", str(folder)]
    command.append("--continue-on-collection-errors")
    run = subprocess.run(
        command, cwd=folder, env={**os.environ, "CI": "true"}, capture_output=True, text=True, check=False
    )
    assert run.returncode != 0, run.stdout
    return run.stdout


@pytest.mark.parametrize("name", BODIES)
def test_a_skip_fails_the_run_and_says_why(told: str, name: str) -> None:
    ended = [line for line in told.splitlines() if line.startswith(("FAILED ", "ERROR ")) and f"test_{name}.py" in line]
    assert len(ended) == 1, told
    assert "no database" in ended[0] or "no_database" in ended[0]


def test_no_skip_is_left(told: str) -> None:
    assert "skipped" not in told.splitlines()[-1]
    assert "xfailed" not in told.splitlines()[-1]


def test_in_ci_the_examples_of_a_property_are_the_same_in_every_run(told: str) -> None:
    assert "derandomize: True" in told


def test_the_files_that_are_begun_first_exist() -> None:
    named = set(re.findall(r'"(test_\w+\.py)"', CONFTEST.read_text()))
    assert named
    assert named <= {path.name for path in CONFTEST.parent.rglob("test_*.py")}
