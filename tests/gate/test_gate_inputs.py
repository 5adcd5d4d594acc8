"""Inputs arrive as the runner passes them; each is checked, and all that is wrong is said at once."""

from pathlib import Path

import pytest

from gate.errors import Exit, InputError
from gate.inputs import INPUTS, FlagServerAccess, Inputs, Mode, OnCancel, Runner, Secret

RUNNER = {
    "GITHUB_EVENT_NAME": "push",
    "GITHUB_EVENT_PATH": "/github/workflow/event.json",
    "GITHUB_REPOSITORY": "octo/shop",
    "GITHUB_REPOSITORY_ID": "99",
    "GITHUB_SHA": "a" * 40,
    "GITHUB_RUN_ID": "123",
    "GITHUB_ACTOR": "ada",
}


def test_left_out_inputs_have_their_defaults() -> None:
    empty = {f"INPUT_{name.upper()}": "" for name in INPUTS}
    for environ in ({}, empty):
        inputs = Inputs.from_environ(environ)
        assert inputs.config == Path(".github/rampgate.yml")
        assert (inputs.mode, inputs.on_cancel, inputs.fail_on_revert) == (Mode.AUTO, OnCancel.REVERT, True)
        assert (inputs.version, inputs.environment, inputs.flag_server_url) == (None, None, None)
        assert not inputs.github_token


def test_given_inputs_are_read_by_their_upper_case_names_with_dashes() -> None:
    inputs = Inputs.from_environ(
        {
            "INPUT_CONFIG": "ops/gate.yml",
            "INPUT_FLAG-SERVER-URL": " https://flags.example.com/base/ ",
            "INPUT_FLAG-SERVER-KEY": "rg_operator_abc_def",
            "INPUT_VERSION": "v1.2.3+build/7",
            "INPUT_ENVIRONMENT": "production",
            "INPUT_GITHUB-TOKEN": "ghs_x",
            "INPUT_MODE": "run",
            "INPUT_ON-CANCEL": "hold",
            "INPUT_FAIL-ON-REVERT": "False",
        }
    )
    assert inputs.flag_server() == FlagServerAccess(
        url="https://flags.example.com/base", key=Secret("rg_operator_abc_def")
    )
    assert (inputs.config, inputs.version, inputs.environment) == (Path("ops/gate.yml"), "v1.2.3+build/7", "production")
    assert (inputs.mode, inputs.on_cancel, inputs.fail_on_revert) == (Mode.RUN, OnCancel.HOLD, False)
    assert inputs.github_token.reveal() == "ghs_x"


def test_secrets_are_never_shown() -> None:
    inputs = Inputs.from_environ({"INPUT_FLAG-SERVER-KEY": "rg_secret", "INPUT_GITHUB-TOKEN": "ghs_secret"})
    assert "secret" not in f"{inputs!r} {inputs.github_token} {inputs.github_token!s:>9} {inputs.flag_server_key!r}"
    with pytest.raises(InputError) as caught:
        Inputs.from_environ({"INPUT_FLAG-SERVER-KEY": "two words", "INPUT_FLAG-SERVER-URL": "https://u:pass@host"})
    assert "two words" not in str(caught.value)
    assert "pass" not in str(caught.value)


def test_all_problems_are_said_at_once_with_the_nearest_word() -> None:
    with pytest.raises(InputError) as caught:
        Inputs.from_environ(
            {
                "INPUT_CONFIG": "../secrets.yml",
                "INPUT_FLAG-SERVER-URL": "http://flags.example.com",
                "INPUT_VERSION": "-rf",
                "INPUT_ENVIRONMENT": "pro duction",
                "INPUT_MODE": "vaildate",
                "INPUT_ON-CANCEL": "stop",
                "INPUT_FAIL-ON-REVERT": "yes",
            }
        )
    assert {problem.path for problem in caught.value.problems} == {
        *("config", "flag-server-url", "version", "environment", "mode", "on-cancel", "fail-on-revert"),
    }
    assert "Did you mean validate?" in str(caught.value)
    assert caught.value.exit is Exit.MISUSE


@pytest.mark.parametrize(
    "url",
    [
        "https://h",
        "https://h:8443/x",
        "http://localhost:8080",
        "http://127.0.0.1:1",
        "http://[::1]:9",
        "http://127.9.9.9",
    ],
)
def test_addresses_that_keep_a_key_private(url: str) -> None:
    assert Inputs.from_environ({"INPUT_FLAG-SERVER-URL": url}).flag_server_url == url


@pytest.mark.parametrize(
    "url",
    [
        *("http://flags.example.com", "ftp://h", "flags.example.com", "https://", "https://h/?a=1", "https://h/#a"),
        *(
            "https://u@h",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "https://h:99999",
            "https://[x",
        ),
        *("https://h/a b", "http://169.254.169.254"),
    ],
)
def test_addresses_that_do_not(url: str) -> None:
    with pytest.raises(InputError, match="flag-server-url"):
        Inputs.from_environ({"INPUT_FLAG-SERVER-URL": url})


def test_what_needs_the_flag_server_says_what_is_missing() -> None:
    with pytest.raises(InputError) as caught:
        Inputs.from_environ({}).flag_server()
    assert [problem.path for problem in caught.value.problems] == ["flag-server-url"]


def test_the_runner_is_read_from_its_variables() -> None:
    runner = Runner.from_environ({**RUNNER, "GITHUB_RUN_ATTEMPT": "2", "GITHUB_OUTPUT": "/out", "GITHUB_STATE": ""})
    assert (runner.event_name, runner.run_id, runner.run_attempt) == ("push", 123, 2)
    assert (runner.actor, runner.triggering_actor) == ("ada", "ada")
    assert (runner.output_path, runner.state_path, runner.summary_path) == (Path("/out"), None, None)
    assert runner.api_url == "https://api.github.com"
    assert runner.run_url == "https://github.com/octo/shop/actions/runs/123/attempts/2"


def test_a_runner_that_says_too_little_is_refused_with_every_name() -> None:
    with pytest.raises(InputError) as caught:
        Runner.from_environ({"GITHUB_RUN_ID": "12x"})
    assert {problem.path for problem in caught.value.problems} == {*RUNNER}
