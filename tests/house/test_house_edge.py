"""The compose file of examples/edge starts the recipes as they lie there: mounts, keys, addresses."""

import re

import pytest
import yaml

from tests.house.tree import ROOT

EDGE = ROOT / "examples" / "edge"
COMPOSE = yaml.safe_load((EDGE / "compose.yml").read_text())
PROXIES = sorted(path.name for path in EDGE.iterdir() if path.is_dir())


def test_every_recipe_is_started_by_its_own_name() -> None:
    assert sorted(one for service in COMPOSE["services"].values() for one in service.get("profiles", ())) == PROXIES


@pytest.mark.parametrize("proxy", PROXIES)
def test_the_recipe_is_mounted_and_has_what_is_read_and_written_there(proxy: str) -> None:
    service = COMPOSE["services"][proxy]
    assert f"./{proxy}:/recipe:ro" in service["volumes"]
    (script,) = service["command"]
    for name in re.findall(r"/recipe/([\w./]+)", script):
        assert (EDGE / proxy / name).exists()
    text = "".join(path.read_text() for path in (EDGE / proxy).rglob("*") if path.is_file() and path.suffix != ".md")
    assert ("rg_client_…" in text) is ("rg_client_…" in script)
    for part, port in (("blue", 8000), ("green", 8000), ("flagserver", 8080)):
        assert f"{COMPOSE['services'][part]['networks']['shop']['ipv4_address']}:{port}" in text
