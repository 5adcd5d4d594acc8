"""The lock: every package pinned and hashed, and nothing that the project declares left out."""

import re
import tomllib

import pytest

from tests.house.tree import ROOT

LOCKS = {"requirements-gate.txt": ("gate", "cloudwatch"), "requirements-server.txt": ("server", "postgres")}
"""What each image installs: its lock, and the extras that it stands for."""

BESIDES = ("requirements-dev.txt", "requirements-build.txt", "bench/requirements.txt")


def pins(lock: str) -> dict[str, str]:
    """Package to everything that the lock says about it, hashes included."""
    text = (ROOT / lock).read_text()
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)
    return {entry.split("==")[0].split("[")[0]: entry for entry in entries if entry.strip()}


def normal(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


@pytest.mark.parametrize("lock", [*LOCKS, *BESIDES])
def test_every_package_is_pinned_and_hashed(lock: str) -> None:
    entries = pins(lock)
    assert entries
    for name, entry in entries.items():
        assert re.match(r"[\w.\[\],-]+==[\w.+!]+", entry), name
        assert "--hash=sha256:" in entry, name


@pytest.mark.parametrize("lock", [*LOCKS, "requirements-build.txt"])
def test_development_uses_the_very_versions_that_are_shipped(lock: str) -> None:
    version = {name: entry.split()[0] for name, entry in pins("requirements-dev.txt").items()}
    assert {name: entry.split()[0] for name, entry in pins(lock).items()}.items() <= version.items()


def test_all_that_is_declared_is_locked() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    client = tomllib.loads((ROOT / "sdk/pyproject.toml").read_text())["project"]
    extras = tools["optional-dependencies"]
    shipped = [*tools["dependencies"], *client["dependencies"]]
    for lock, names in LOCKS.items():
        wanted = [*shipped, *(each for name in names for each in extras[name])]
        assert {normal(each) for each in wanted} - {"rampgate"} <= pins(lock).keys(), lock
    everything = [*shipped, *(each for extra in extras.values() for each in extra)]
    assert {normal(each) for each in everything} - {"rampgate"} <= pins("requirements-dev.txt").keys()


def test_no_image_carries_what_only_the_other_program_needs() -> None:
    assert not {"flask", "sqlalchemy", "uvicorn", "psycopg"} & pins("requirements-gate.txt").keys()
    assert not {"pygithub", "requests", "pyyaml"} & pins("requirements-server.txt").keys()
