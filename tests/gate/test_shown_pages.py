"""Whatever a page shows to be copied is sound: plans, workflows, command lines."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from flagserver.cli import cli as flagserver
from gate.cli import main as rampgate
from gate.config import load
from gate.config.models import File
from gate.inputs import INPUTS
from tests.house.tree import files, named

KEYS = {field.alias or name for name, field in File.model_fields.items()}
SHORT: Mapping[str, Any] = {
    "flag": "shop",
    "environment": "production",
    "deploy": {"none": True},
    "metrics": [{"errors": "flagserver"}],
}
PROGRAMS: Mapping[str, click.Group] = {"rampgate": rampgate, "flagserver": flagserver}
PAGES = {named(path): path.read_text() for path in files("*.md")}


def fences(*languages: str) -> Iterator[tuple[str, str]]:
    """Every fenced block in one of these languages, with its page's name and its number there."""
    for page, text in PAGES.items():
        for number, (language, body) in enumerate(re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)):
            if language in languages:
                yield f"{page} block {number + 1}", body


YAML = dict(fences("yaml", "yml"))
SHOWN = {where: yaml.safe_load(text) for where, text in YAML.items()}


def test_every_plan_that_a_page_shows_is_sound() -> None:
    plans = [where for where, found in SHOWN.items() if isinstance(found, dict) and set(found) <= KEYS]
    assert len(plans) > 25
    for where in plans:
        missing = {key: value for key, value in SHORT.items() if key not in SHOWN[where]}
        load(f"{yaml.safe_dump(missing)}\n{YAML[where]}" if missing else YAML[where], where=where)


def test_a_job_with_a_limit_of_its_own_tells_the_step_of_it() -> None:
    jobs = [job for found in SHOWN.values() if isinstance(found, dict) for job in found.get("jobs", {}).values()]
    steps = [
        (job, step) for job in jobs for step in job.get("steps", ()) if "rampgate/rampgate@" in step.get("uses", "")
    ]
    assert sum("timeout-minutes" in job for job, _ in steps) >= 2
    for job, step in steps:
        told = step.get("with", {}).get("job-timeout-minutes", INPUTS["job-timeout-minutes"].default)
        assert told == str(job.get("timeout-minutes", told)), step


@pytest.fixture
def workflows(tmp_path: Path) -> Path:
    """The workflows that pages show, as a repository has them."""
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    texts = [text for text in YAML.values() if re.search(r"^jobs:", text, re.MULTILINE)]
    assert len(texts) >= 6
    for number, text in enumerate(texts):
        (folder / f"{number}.yml").write_text(text)
    return folder


def lint(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_every_workflow_that_a_page_shows_is_clean_under_the_linter(workflows: Path) -> None:
    ran = lint("actionlint", *map(str, sorted(workflows.iterdir())))
    assert ran.returncode == 0, ran.stdout


def test_a_workflow_that_is_copied_is_as_safe_as_ours(workflows: Path) -> None:
    ran = lint("zizmor", "--offline", "--no-progress", "--format", "json", str(workflows.parents[1]))
    found = {one["ident"] for one in json.loads(ran.stdout)}
    # Ours is shown by its major tag: which commit that is, only the release knows.
    assert found <= {"unpinned-uses"}, ran.stdout


def steps(found: Any) -> Iterator[dict[str, Any]]:
    """The steps in a workflow, or in a piece of one."""
    if isinstance(found, dict):
        yield from (found,) if "uses" in found else ()
        found = list(found.values())
    if isinstance(found, list):
        for one in found:
            yield from steps(one)


def test_every_step_of_ours_that_a_page_shows_has_inputs_that_exist() -> None:
    ours = [
        (where, step)
        for where, found in SHOWN.items()
        for step in steps(found)
        if step["uses"].startswith("rampgate/rampgate@")
    ]
    assert len(ours) >= 6
    for where, step in ours:
        assert set(step["with"]) <= set(INPUTS), where
        assert "flag-server-url" in step["with"], where


CALL = re.compile(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*(?:docker compose exec \S+ )?(?:/\S+/)?((?:rampgate|flagserver) .*)$")


def typed() -> Iterator[tuple[str, list[str]]]:
    """Every call of our programs in a shell block: where, and its words up to a pipe or a redirection."""
    for where, text in fences("sh", "console"):
        for line in re.sub(r"\\\n *", "", text).splitlines():
            if called := CALL.match(line):
                yield where, shlex.split(re.split(r" [|>&]", called[1])[0], comments=True)


def named_by(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that words begin with, and what follows its name.

    Raises:
        click.UsageError: there is none.
    """
    command: click.Command = PROGRAMS[words[0]]
    rest = words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.commands.get(rest[0])
        if found is None:
            raise click.UsageError(f"{rest[0]} is no command.")
        command, rest = found, rest[1:]
    return command, rest


def test_every_command_line_in_a_block_is_one_that_the_program_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flags.json").touch()
    monkeypatch.chdir(tmp_path)
    calls = list(typed())
    assert len(calls) >= 15
    for where, words in calls:
        try:
            command, rest = named_by(words)
            with command.make_context(command.name, rest):
                pass
        except click.UsageError as error:
            raise AssertionError(f"{where}: {' '.join(words)}: {error.message}") from error


INLINE = re.compile(r"(?<!`)`((?:rampgate|flagserver) [a-z][^`]*)`(?!`)")


def test_every_command_in_a_sentence_exists_with_its_options() -> None:
    calls = [(page, call) for page, text in PAGES.items() for call in INLINE.findall(" ".join(text.split()))]
    assert len(calls) >= 25
    for page, call in calls:
        command, words = named_by(call.replace("[", " ").replace("]", " ").split())
        options = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
        asked = {word.split("=")[0] for word in words if word.startswith("-")} - {"--help", "--version"}
        assert asked <= options, f"{page}: {call}"
