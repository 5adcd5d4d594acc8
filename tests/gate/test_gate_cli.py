"""The command line says what is wrong and ends with the code that the documentation gives."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import TypeAdapter

from gate.cli import main
from gate.errors import InputError
from gate.terminal import flag_server
from rampgate.rollout import Rollout
from tests.gate.metrics.scripted import Asked, Reply, scripted
from tests.gate.report.story import STORIES

NOTHING = dict.fromkeys(("RAMPGATE_URL", "RAMPGATE_KEY", "RAMPGATE_PLAIN_HTTP"))

SOUND = "flag: shop\nenvironment: production\ndeploy: {none: true}\nmetrics: [{errors: flagserver}]\n"


def test_a_sound_configuration_is_told_in_a_few_lines(tmp_path: Path) -> None:
    (tmp_path / "gate.yml").write_text(SOUND)
    ran = CliRunner().invoke(main, ["validate", str(tmp_path / "gate.yml"), "--environment", "staging"])
    assert ran.exit_code == 0
    assert "canary of shop in staging: dark → 10 % → 50 % → 100 %, 5 % held back" in ran.output
    assert "an order of this rollout's own: its salt is its id" in ran.output
    (tmp_path / "gate.yml").write_text(SOUND + "salt: spring-2027\n")
    ran = CliRunner().invoke(main, ["validate", str(tmp_path / "gate.yml")])
    assert "the order of the salt spring-2027, with every flag that names it" in ran.output


def test_problems_end_it_with_2_and_nothing_on_standard_output(tmp_path: Path) -> None:
    (tmp_path / "gate.yml").write_text(SOUND + "steps: [50, 10]\npoll: 3\n")
    ran = CliRunner().invoke(main, ["validate", str(tmp_path / "gate.yml")])
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "steps[1]: 10 % is not allowed" in ran.stderr
    assert "Did you mean 3s?" in ran.stderr


def test_a_missing_file_and_an_unknown_command_end_it_with_2(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["validate", str(tmp_path / "none.yml")]).exit_code == 2
    assert CliRunner().invoke(main, ["vaildate"]).exit_code == 2


def test_the_schema_is_printed() -> None:
    ran = CliRunner().invoke(main, ["config-schema"])
    assert ran.exit_code == 0
    assert '"title": ".github/rampgate.yml"' in ran.output


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, ["RAMPGATE_URL: nothing", "RAMPGATE_KEY: nothing"]),
        (
            {"RAMPGATE_URL": "http://flags.example.com", "RAMPGATE_KEY": "rg_k"},
            ["RAMPGATE_URL: http://flags.example.com"],
        ),
        (
            {"RAMPGATE_URL": "https://u:secret@h", "RAMPGATE_KEY": "se cret"},
            ["RAMPGATE_URL: https://h", "RAMPGATE_KEY:"],
        ),
        (
            {"RAMPGATE_URL": "http://flagserver:8080", "RAMPGATE_KEY": "k", "RAMPGATE_PLAIN_HTTP": "flagserver:80"},
            ["RAMPGATE_URL: http://flagserver"],
        ),
        (
            {"RAMPGATE_URL": "http://flagserver:8080", "RAMPGATE_KEY": "k", "RAMPGATE_PLAIN_HTTP": "true"},
            ["RAMPGATE_URL: http://flagserver", "RAMPGATE_PLAIN_HTTP: 'true'"],
        ),
    ],
)
def test_a_key_is_only_sent_where_nobody_can_read_it_on_the_way(environ: dict[str, str], told: list[str]) -> None:
    ran = CliRunner().invoke(main, ["status"], env={**NOTHING, **environ})
    assert (ran.exit_code, ran.stdout) == (2, "")
    for line in told:
        assert line in ran.stderr
    assert "secret" not in ran.stderr.replace("{{ secrets", "")
    assert "se cret" not in ran.stderr


def test_the_one_host_that_may_be_asked_without_tls_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAMPGATE_URL", "http://flagserver:8080")
    monkeypatch.setenv("RAMPGATE_KEY", "rg_k")
    monkeypatch.setenv("RAMPGATE_PLAIN_HTTP", "flagserver:8080")
    flag_server()
    monkeypatch.setenv("RAMPGATE_URL", "http://flagserver:8080@elsewhere")
    with pytest.raises(InputError, match="RAMPGATE_URL: http://elsewhere"):
        flag_server()


def test_status_says_what_waits_for_hands_though_it_has_ended() -> None:
    story = STORIES["gate-lost"]()
    left = TypeAdapter(Rollout).dump_python(story.rollout(), mode="json")

    def answered(asked: Asked) -> Reply:
        if asked.path.endswith("/events"):
            return Reply(body=b'{"entries": []}')
        return Reply(body=json.dumps({"rollouts": [left] if asked.query["active"] == "false" else []}).encode())

    with scripted() as server:
        server.script = answered
        environ = {**NOTHING, "RAMPGATE_URL": server.url, "RAMPGATE_KEY": "rg_operator_x_y"}
        ran = CliRunner().invoke(main, ["status"], env=environ)
        assert {one.query.get("needs_hands") for one in server.asked if one.path == "/v1/rollouts"} == {None, "true"}
    assert "everybody is back on `v1`" in ran.output
    assert "**Left to do:** probe `blue`, undo `green`. Users are not affected" in ran.output


def test_status_names_the_live_colour_where_nothing_is_active() -> None:
    slots = {"stable": {"name": "green", "version": "v2"}, "idle": {"name": "blue", "version": None}}
    with scripted() as server:
        server.script = lambda asked: Reply(
            body=json.dumps({"rollouts": []} if "rollouts" in asked.path else {"slots": slots}).encode()
        )
        environ = {**NOTHING, "RAMPGATE_URL": server.url, "RAMPGATE_KEY": "rg_operator_x_y"}
        ran = CliRunner().invoke(main, ["status", "--flag", "shop", "--environment", "production"], env=environ)
        everything = CliRunner().invoke(main, ["status"], env=environ)
    assert ran.exit_code == 0, ran.output
    assert ran.output.splitlines() == [
        "No rollout is active here.", "**shop:** green `v2` live · blue – idle",
    ]  # fmt: skip
    assert everything.output == "No rollout is active here.\n"
