"""Two distributions from one tree: an app gets the client and mmh3, and nothing else."""

import ast
import json
import subprocess
import sys
import tomllib
import venv
import zipfile
from email.parser import Parser
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.house.tree import PACKAGES, ROOT, sources

OPTIONAL = {
    "openfeature": "rampgate/client/openfeature",
    "flask": "rampgate/client/flask",
    "pytest": "rampgate/client/pytest_plugin",
}
"""Imports that need an extra, and the one place where they may stand."""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    built = tmp_path_factory.mktemp("wheels")
    for folder in (ROOT / "sdk", ROOT):
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return {path.name.split("-")[0]: path for path in built.glob("*.whl")}


def metadata(wheel: Path) -> dict[str, list[str]]:
    with zipfile.ZipFile(wheel) as opened:
        name = next(each for each in opened.namelist() if each.endswith(".dist-info/METADATA"))
        message = Parser().parsestr(opened.read(name).decode())
    return {key: message.get_all(key, []) for key in ("Version", "Requires-Dist", "License-File")}


def top(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as opened:
        return {name.split("/")[0] for name in opened.namelist() if ".dist-info/" not in name}


def packed(name: str, folder: Path) -> None:
    """A wheel of an installed package, made from its own record: so that this test asks no registry."""
    installed = distribution(name)
    tag = (installed.read_text("WHEEL") or "").split("Tag: ")[1].splitlines()[0]
    with zipfile.ZipFile(folder / f"{name}-{installed.version}-{tag}.whl", "w") as wheel:
        for file in installed.files or []:
            if (
                ".." not in file.parts
                and "__pycache__" not in file.parts
                and file.name not in {"INSTALLER", "REQUESTED"}
            ):
                wheel.write(str(file.locate()), str(file))


def test_the_client_holds_its_package_alone_and_is_typed(wheels: dict[str, Path]) -> None:
    assert top(wheels["rampgate"]) == {"rampgate"}
    with zipfile.ZipFile(wheels["rampgate"]) as opened:
        assert "rampgate/py.typed" in opened.namelist()
        assert any(name.endswith("licenses/LICENSE") for name in opened.namelist())


def test_the_tools_hold_the_gate_and_the_flag_server_and_want_the_client_of_their_version(
    wheels: dict[str, Path],
) -> None:
    assert top(wheels["rampgate_tools"]) == {"gate", "flagserver"}
    version = metadata(wheels["rampgate"])["Version"][0]
    assert metadata(wheels["rampgate_tools"])["Version"] == [version]
    assert f"rampgate=={version}" in metadata(wheels["rampgate_tools"])["Requires-Dist"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_data_file_of_the_packages_is_shipped(wheels: dict[str, Path]) -> None:
    shipped: set[str] = set()
    for wheel in wheels.values():
        with zipfile.ZipFile(wheel) as opened:
            shipped |= set(opened.namelist())
    command = ["git", "ls-files", *PACKAGES]
    tracked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert {name for name in tracked if (ROOT / name).is_file()} <= shipped


@pytest.fixture(scope="module")
def app(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment into which an app has installed the client, and nothing else."""
    folder = tmp_path_factory.mktemp("app")
    packed("mmh3", wheels["rampgate"].parent)
    venv.create(folder, symlinks=True)
    source = ["--no-index", "--find" + "-links", str(wheels["rampgate"].parent)]
    subprocess.run([*pip(folder / "bin/python"), "install", "-q", *source, "rampgate"], check=True, cwd=folder)
    return folder / "bin/python"


def pip(python: Path) -> list[str]:
    return [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]


def test_an_empty_environment_gains_the_client_and_mmh3_and_no_more(app: Path) -> None:
    listed = subprocess.run([*pip(app), "list", "--format=json"], check=True, capture_output=True, text=True).stdout
    assert {each["name"] for each in json.loads(listed)} == {"rampgate", "mmh3"}
    subprocess.run([app, "-I", "-c", "import rampgate"], check=True, cwd=app.parent)


CALLER = """
from collections.abc import Mapping
from typing import Any, assert_type
from rampgate import FlagClient
from rampgate.client import Assignment, Details, Reason

def serve(client: FlagClient, user: Mapping[str, Any]) -> None:
    assert_type(client.boolean("new", False, "ada"), bool)
    assert_type(client.string("shop", "blue", user), str)
    assert_type(client.number("limit", 10, user), float)
    assert_type(client.object("theme", {}, user), Mapping[str, Any])
    found = client.details("shop", "blue", user)
    assert_type(found, Details[str])
    assert_type(found.reason, Reason)
    with client.observe("shop", user) as assignment:
        assert_type(assignment, Assignment)
    client.track("shop", user, ok=True, ms=12.5, variant=found.variant)
    assert_type(client.ready(1.0), bool)
    client.on_change("shop", lambda flag: print(flag.upper()))()

with FlagClient("https://flags.example.com", "key", cache="/tmp/flags", overrides={"new": True}) as client:
    serve(client, {"targetingKey": "ada", "age": 36})
with FlagClient.from_env() as client:
    client.boolean("new", "no", "ada")  # type: ignore[arg-type]
    client.string("shop", "blue", 7)  # type: ignore[arg-type]
"""


def test_a_strict_app_checks_its_calls_against_the_installed_client(app: Path, tmp_path: Path) -> None:
    (tmp_path / "caller.py").write_text(CALLER)
    strict = ["--strict", "--config-file=", "--cache-dir", str(tmp_path), "--python-executable", str(app)]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *strict, "caller.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert checked.stdout == "Success: no issues found in 1 source file\n", checked.stdout + checked.stderr


def test_the_client_imports_nothing_but_the_standard_library_and_mmh3() -> None:
    for name, module in sources("rampgate"):
        for node in ast.walk(module):
            if isinstance(node, ast.ImportFrom):
                imported = [node.module or ""] if node.level == 0 else []
            else:
                imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for each in imported:
                first = each.split(".")[0]
                allowed = first in sys.stdlib_module_names or first in {"rampgate", "mmh3"}
                assert allowed or name.startswith(OPTIONAL.get(first, "nowhere")), (
                    f"{name}:{node.lineno} imports {each}"
                )


def test_the_programs_use_the_client_as_an_app_does() -> None:
    for name, module in sources("gate", "flagserver"):
        for node in ast.walk(module):
            imported = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            inside = imported.startswith("rampgate.client.") and imported != "rampgate.client.testing"
            assert not inside, f"{name}:{node.lineno} reaches into {imported}"


def test_the_declared_dependency_of_the_client_is_mmh3_alone() -> None:
    project = tomllib.loads((ROOT / "sdk/pyproject.toml").read_text())["project"]
    assert [each.split(">")[0] for each in project["dependencies"]] == ["mmh3"]
