"""action.yml, the code and docs/inputs.md say the same about every input and output."""

import importlib
import re
import tomllib

import pytest
import yaml

from tests.house.tree import ROOT, mapping, named, sources

ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
PAGE = (ROOT / "docs/inputs.md").read_text()
REGISTRIES = {"SOURCES": "metrics", "DEPLOYERS": "deployers", "COMMANDS": "commands"}
"""Registries of the gate, and the page that explains each of their names."""

INPUTS = {
    *("config", "flag-server-url", "flag-server-key", "version", "environment", "github-token"),
    *("mode", "on-cancel", "fail-on-revert"),
}
OUTPUTS = {"decision", "reason", "result", "rollout-id", "percentage", "rollout-url"}


def rows(section: str) -> dict[str, list[str]]:
    """The table under a heading of docs/inputs.md: first cell to the others."""
    body = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in body.splitlines()
        if line.startswith("| `")
    ]
    return {first.strip("`"): rest for first, *rest in cells}


def test_the_contract_that_users_copy_is_whole() -> None:
    assert set(ACTION["inputs"]) == INPUTS
    assert set(ACTION["outputs"]) == OUTPUTS


def test_every_input_is_on_its_page_with_its_default_and_text() -> None:
    expected = {
        name: [
            f"`{spec['default']}`" if "default" in spec else "required" if spec.get("required") else "",
            spec["description"],
        ]
        for name, spec in ACTION["inputs"].items()
    }
    assert rows("Inputs") == expected


def test_every_output_is_on_its_page_with_its_text() -> None:
    assert rows("Outputs") == {name: [spec["description"]] for name, spec in ACTION["outputs"].items()}


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
                f"{name}: {registry} has {each}, {named(pages[0])} does not"
            )
