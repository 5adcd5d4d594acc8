"""The Python of docs/sdks.md, as it stands there, against a real server."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.sdks.page import ROOT, Release, example, release

TAIL = """
for user in {users}:
    found = client.get_string_details("shop", "blue", EvaluationContext(user))
    print(found.value, found.variant, found.reason, found.error_code)
unknown = client.get_boolean_details("missing", True, EvaluationContext("ada"))
print(unknown.value, unknown.error_code)
nobody = client.get_string_details("shop", "mine")
print(nobody.value, nobody.error_code)
api.shutdown()
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    with release(tmp_path_factory.mktemp("sdks")) as made:
        yield made


def said(code: str, shop: Release) -> list[str]:
    program = code + TAIL.format(users=(shop.green, shop.blue))
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env={**os.environ, **shop.environ}, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_our_provider_serves_what_the_server_says_and_reports_the_outcome(shop: Release) -> None:
    green, blue, unknown, nobody = said(example("openfeature_rampgate.py"), shop)
    assert green == "green green TARGETING_MATCH None"
    assert blue == "blue blue TARGETING_MATCH None"
    assert unknown == "True FLAG_NOT_FOUND"
    assert nobody.split()[0] in ("blue", "mine")
    counted = shop.counted()
    assert sum(arm["requests"] for arm in (counted["stable"], counted["canary"])) == 1


def test_openfeatures_own_provider_serves_what_the_server_says(shop: Release) -> None:
    green, blue, unknown, nobody = said(example("openfeature_ofrep.py"), shop)
    assert green == "green green TARGETING_MATCH None"
    assert blue == "blue blue TARGETING_MATCH None"
    assert unknown == "True FLAG_NOT_FOUND"
    assert nobody == "mine TARGETING_KEY_MISSING"
