"""What a step makes of its event before anybody is asked: whose sources may be asked, whose rules hold."""

from pathlib import Path
from typing import Any

import pytest

from gate import app
from gate.activity import Validate
from gate.config import CommandName
from gate.errors import Exit, GitHubError
from gate.outlook import Outlook
from gate.step import Step

FACTS = ("EVENT_NAME", "EVENT_PATH", "REPOSITORY", "REPOSITORY_ID", "SHA", "RUN_ID", "ACTOR")


def step(workspace: Path, **inputs: str) -> Step:
    given = {"FLAG-SERVER-URL": "https://flags.example.com", "FLAG-SERVER-KEY": "k", "CONFIG": "plan.yml", **inputs}
    return Step.begin(
        {
            "GITHUB_WORKSPACE": str(workspace),
            **{f"GITHUB_{name}": "1" for name in FACTS},
            **{f"INPUT_{name}": value for name, value in given.items()},
        }
    )


class DefaultBranch:
    """A repository of which nothing is read but one file."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def file(self, path: str) -> str | None:
        if self.text == "away":
            raise GitHubError("GitHub is away.")
        return self.text if path == "plan.yml" else None


def rules(there: Step, text: str | None) -> Any:
    github: Any = DefaultBranch(text)
    return app.rules_for(there, github)


def test_sources_of_a_foreign_pull_request_are_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.yml").write_text(
        "{flag: shop, environment: production, deploy: {none: true}, steps: [100], metrics: [{errors: flagserver}]}"
    )
    asked: list[object] = []
    nothing = Outlook(traffic=None, lines=(), brief=())
    monkeypatch.setattr(app, "validated", lambda *given: asked.append(given[2]) or nothing)
    for foreign in (False, True):
        assert app.validate(step(tmp_path), Validate(pull_request=7, foreign=foreign)) is Exit.DONE
    assert [one is None for one in asked] == [False, True]
    assert "in order" in capsys.readouterr().out


def test_commands_are_about_the_environment_of_the_input_where_the_file_names_none(tmp_path: Path) -> None:
    file = "flag: shop\nenvironment: staging\n"
    assert rules(step(tmp_path), file).environment == "staging"
    assert rules(step(tmp_path, ENVIRONMENT="production"), file).environment == "production"
    assert rules(step(tmp_path, ENVIRONMENT="production"), "flag: shop\n").environment == "production"
    assert rules(step(tmp_path, ENVIRONMENT="production"), None).environment == "production"


def test_rules_that_cannot_be_read_let_nothing_widen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("away", "commands: {prefix: 7}", "commands: ["):
        found = rules(step(tmp_path), text)
        assert found.may_be_obeyed(CommandName.ABORT)
        assert not found.may_be_obeyed(CommandName.PROMOTE)
    assert capsys.readouterr().out.count("::warning") == 3


def test_a_fault_is_told_whole_and_what_it_quotes_is_no_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def broken(_: object) -> Step:
        raise RuntimeError("the server said\n::stop-commands::x\n::error::boom")

    monkeypatch.setattr(Step, "begin", broken)
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == Exit.FAULT
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.strip().startswith("::")] == [out.splitlines()[0]]
    assert out.startswith("::error title=Rampgate::A fault in Rampgate itself: RuntimeError: the server said%0A")
    assert "Traceback" in out
    assert "fault" in (tmp_path / "output").read_text()
