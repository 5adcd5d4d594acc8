"""The description at /openapi.json is true: Schemathesis asks what it says may be asked, and what it says may not."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.flagserver.process import FlagServer, bearer

EXAMPLES = 20
LAMP = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlagServer]:
    with FlagServer(tmp_path_factory.mktemp("flagserver")) as server:
        yield server


@pytest.mark.timeout(360)
def test_schemathesis_finds_nothing(process: FlagServer, tmp_path: Path) -> None:
    admin = bearer(process.admin_key)
    where = f"{process.url}/v1/production/flags/lamp"
    assert requests.put(where, json={"flag": LAMP}, headers=admin, timeout=10).status_code == 201
    # A stream has no end that could be waited for; those of tests/flagserver are read to where they must be.
    options = [
        "--generation-deterministic", "--phases", "examples,coverage,fuzzing",
        "--max-examples", str(EXAMPLES), "--exclude-path-regex", "/stream$", "--warnings", "off",
        "--request-timeout", "60", "--header", f"Authorization: {admin['Authorization']}",
    ]  # fmt: skip
    config = Path(__file__).with_name("schemathesis.toml")
    run = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", f"{process.url}/openapi.json",
         *options],
        cwd=tmp_path, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert "Tested: " in run.stdout
    assert "fault" not in process.log
