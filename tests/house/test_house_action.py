"""action.yml, the code and docs/inputs.md say the same about every input and output."""

import re
import tomllib
from collections.abc import Iterable

import pytest
import yaml

from gate import inputs as code
from gate.activity import mode_of
from gate.inputs import Mode, OnCancel
from gate.report import Decision
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


def rows(heading: str) -> list[list[str]]:
    """The cells of a table in docs/inputs.md, without its head."""
    part = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def listed(text: str) -> set[str]:
    """The words of a list such as `run, comment or validate`."""
    return set(re.findall(r"[a-z]+", re.sub(r"\([^)]*\)", "", text)))


def test_the_contract_that_users_copy_is_whole() -> None:
    assert set(ACTION["inputs"]) == INPUTS
    assert set(ACTION["outputs"]) == OUTPUTS


def test_the_page_lists_the_inputs_with_their_defaults_and_texts_and_no_other() -> None:
    def default(spec: dict[str, str]) -> str:
        return f"`{spec['default']}`" if "default" in spec else "required" if spec.get("required") else ""

    written = [[f"`{name}`", default(spec), spec["description"]] for name, spec in ACTION["inputs"].items()]
    assert rows("Inputs") == written


def test_the_page_lists_the_outputs_with_their_texts_and_no_other() -> None:
    assert rows("Outputs") == [[f"`{name}`", spec["description"]] for name, spec in ACTION["outputs"].items()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ACTION["inputs"]["mode"]["description"].removeprefix("What to do:"), Mode),
        (ACTION["outputs"]["decision"]["description"].removeprefix("How it ended:"), Decision),
    ],
    ids=["mode", "decision"],
)
def test_a_description_that_lists_words_lists_those_of_the_code(text: str, words: Iterable[str]) -> None:
    assert listed(text) - {"or"} == set(words)


def test_what_a_cancelled_job_can_do_is_described() -> None:
    assert set(OnCancel) <= listed(ACTION["inputs"]["on-cancel"]["description"])


def test_an_input_left_out_is_read_as_its_default() -> None:
    defaults = {name: spec.get("default", "") for name, spec in ACTION["inputs"].items()}
    given = {f"INPUT_{name.upper()}": text for name, text in defaults.items() if not text.startswith("${{")}
    assert code.Inputs.from_environ(given) == code.Inputs.from_environ({})


def test_every_event_has_the_mode_that_the_page_says() -> None:
    said = {
        event: mode.strip("`")
        for events, mode, _ in rows("What an event does")
        for event in re.findall(r"`([a-z_]+)`", events)
    }
    assert {event: mode_of(event).value for event in said} == said
    assert set(said.values()) == set(Mode) - {Mode.AUTO}
    assert mode_of("deployment") is Mode.AUTO


def test_the_action_runs_programs_that_the_distribution_brings() -> None:
    runs = ACTION["runs"]
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert runs["using"] == "docker"
    assert {path.rpartition("/")[2] for path in (runs["entrypoint"], runs["post-entrypoint"])} <= set(scripts)
    assert "args" not in runs, "values on a command line can be read by every process of the machine"
    entrypoint = f'ENTRYPOINT ["{runs["entrypoint"]}"]'
    assert (ROOT / "Dockerfile").read_text().rstrip().endswith(entrypoint)


def test_the_inputs_in_the_code_are_those_of_the_action() -> None:
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
