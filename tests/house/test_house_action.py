"""action.yml, the code and docs/inputs.md say the same about every input and output."""

import importlib
import re
import tomllib

import pytest
import yaml

from tests.house.tree import ROOT, mapping, named, sources

ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
PAGE = (ROOT / "docs/inputs.md").read_text()
REGISTRIES = {"SOURCES": "sources", "DEPLOYERS": "deployers", "COMMANDS": "commands"}
"""Registries of the gate, and the page that explains each of their names."""

INPUTS = {
    *("config", "flag-server-url", "flag-server-key", "version", "environment", "github-token"),
    *("mode", "on-cancel", "detach", "job-timeout-minutes", "fail-on-revert"),
}
OUTPUTS = {"decision", "reason", "result", "rollout-id", "percentage", "rollout-url"}


def row(name: str) -> str:
    """The line of a table in docs/inputs.md that begins with this name."""
    found = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
    assert len(found) == 1, f"docs/inputs.md has {len(found)} rows for {name}"
    return found[0]


def test_the_contract_that_users_copy_is_whole() -> None:
    assert set(ACTION["inputs"]) == INPUTS
    assert set(ACTION["outputs"]) == OUTPUTS


@pytest.mark.parametrize("name", sorted(INPUTS))
def test_every_input_is_on_its_page_with_its_default_and_text(name: str) -> None:
    spec = ACTION["inputs"][name]
    assert spec["description"] in row(name)
    assert f"`{spec['default']}`" in row(name) if spec.get("default") else True
    assert ("required" in row(name)) == spec.get("required", False)


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_every_output_is_on_its_page_with_its_text(name: str) -> None:
    assert ACTION["outputs"][name]["description"] in row(name)


def test_the_action_runs_programs_that_the_distribution_brings() -> None:
    runs = ACTION["runs"]
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert runs["using"] == "docker"
    assert {path.rpartition("/")[2] for path in (runs["entrypoint"], runs["post-entrypoint"])} <= set(scripts)
    assert "args" not in runs, "values on a command line can be read by every process of the machine"
    entrypoint = f'ENTRYPOINT ["{runs["entrypoint"]}"]'
    assert (ROOT / "Dockerfile").read_text().rstrip().endswith(entrypoint)


def test_the_inputs_in_the_code_are_those_of_the_action() -> None:
    if "gate/inputs.py" not in {name for name, _ in sources("gate")}:
        return
    code = importlib.import_module("gate.inputs")
    written = {
        name: (spec.get("default", ""), spec.get("required", False), spec["description"])
        for name, spec in ACTION["inputs"].items()
    }
    assert {name: (each.default, each.required, each.text) for name, each in code.INPUTS.items()} == written
    assert dict(code.OUTPUTS) == {name: spec["description"] for name, spec in ACTION["outputs"].items()}


@pytest.mark.parametrize("registry", REGISTRIES)
def test_every_name_in_a_registry_is_explained(registry: str) -> None:
    for name, module in sources("gate"):
        registered = mapping(module, registry)
        for each in registered or {}:
            pages = [
                ROOT / f"docs/{REGISTRIES[registry]}.md",
                ROOT / f"docs/{REGISTRIES[registry]}/{each}.md",
            ]
            text = "\n".join(page.read_text() for page in pages if page.exists())
            assert re.search(rf"`/?{re.escape(each)}`", text), (
                f"{name}: {registry} has {each}; name it in {' or '.join(map(named, pages))}"
            )
