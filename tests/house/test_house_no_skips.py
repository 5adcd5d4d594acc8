"""The rule of `tests/conftest.py`, seen from outside: a run that would skip ends red."""

import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"


@pytest.mark.parametrize(
    "body",
    [
        "import pytest\ndef test_it():\n    pytest.skip('no database')\n",
        "import pytest\n@pytest.mark.skip('no database')\ndef test_it():\n    assert True\n",
        "import pytest\n@pytest.mark.xfail(reason='no database')\ndef test_it():\n    assert False\n",
        "import pytest\n@pytest.fixture\ndef db():\n    pytest.skip('no database')\ndef test_it(db): db\n",
        "import pytest\npytest.skip('no database', allow_module_level=True)\n",
        "import pytest\npytest.importorskip('no_database', reason='no database')\n",
    ],
    ids=["call", "mark", "xfail", "fixture", "module", "import"],
)
def test_a_skip_fails_the_run_and_says_why(tmp_path: Path, body: str) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST.read_text())
    (tmp_path / "test_body.py").write_text(body)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0, run.stdout
    assert "no database" in run.stdout
    assert "skipped" not in run.stdout.splitlines()[-1]
