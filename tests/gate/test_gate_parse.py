"""Which comments are commands, and which commands they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.commands.parse import COMMANDS, Command, CommandName, NotACommand, NotUnderstood, parse


@pytest.mark.parametrize(
    ("body", "command"),
    [
        ("/promote", Command(name=CommandName.PROMOTE)),
        ("/promote full", Command(name=CommandName.PROMOTE, full=True)),
        ("/promote production", Command(name=CommandName.PROMOTE, environment="production")),
        ("/promote full production", Command(name=CommandName.PROMOTE, full=True, environment="production")),
        ("/promote production full  ", Command(name=CommandName.PROMOTE, full=True, environment="production")),
        ("/Promote\tFull\r\nthanks!", Command(name=CommandName.PROMOTE, full=True)),
        ("/abort", Command(name=CommandName.ABORT)),
        ("/abort errors are  rising\n/promote", Command(name=CommandName.ABORT, reason="errors are rising")),
        ("/abort \u202eevil\x07", Command(name=CommandName.ABORT, reason="evil")),
        ("/pause lunch", Command(name=CommandName.PAUSE, reason="lunch")),
        ("/resume staging", Command(name=CommandName.RESUME, environment="staging")),
        ("/status", Command(name=CommandName.STATUS)),
        ("/help me please", Command(name=CommandName.HELP)),
    ],
)
def test_a_first_line_is_a_command(body: str, command: Command) -> None:
    assert parse(body) == command


@pytest.mark.parametrize(
    "body",
    [
        *("", "/", "//promote", "/ promote", " /promote", "\n/promote", "    /abort", "\t/abort"),
        *("> /promote", "`/promote`", "```\n/promote\n```", "please /promote", "LGTM\n/promote", "<!-- -->/promote"),
        *("/lgtm", "/cc @ada", "/deploy production", "/etc/passwd is not for you", "/promotexyz123"),
    ],
)
def test_what_people_say_to_each_other_is_no_command(body: str) -> None:
    assert parse(body) == NotACommand()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("/promot", "Did you mean /promote?"),
        ("/abrot production", "Did you mean /abort?"),
        ("/promote full production please", "/promote [full] [environment]"),
        ("/promote to production", "/promote [full] [environment]"),
        ("/resume it now", "/resume [environment]"),
        ("/promote full full", "/promote [full] [environment]"),
    ],
)
def test_almost_a_command_is_answered_with_what_was_meant(body: str, said: str) -> None:
    answer = parse(body)
    assert isinstance(answer, NotUnderstood)
    assert said in answer.text


def test_the_first_word_of_a_reason_is_an_environment_only_where_there_is_one() -> None:
    command = parse("/abort production errors are rising")
    assert isinstance(command, Command)
    assert command.within({"production"}) == Command(
        name=CommandName.ABORT, environment="production", reason="errors are rising"
    )
    assert command.within({"staging"}) == command


def test_another_prefix_is_another_language() -> None:
    assert parse(".abort", prefix=".") == Command(name=CommandName.ABORT)
    assert parse("/abort", prefix=".") == NotACommand()


@given(st.text(max_size=200))
def test_an_abort_is_always_understood(reason: str) -> None:
    command = parse(f"/abort {reason}")
    assert isinstance(command, Command)
    assert command.name is CommandName.ABORT
    assert command.reason.isprintable()
    assert len(command.reason) <= 500


@given(st.text(max_size=60))
def test_any_text_is_read_without_a_crash(body: str) -> None:
    assert isinstance(parse(body), Command | NotACommand | NotUnderstood)


def test_every_command_explains_itself() -> None:
    assert set(COMMANDS) == set(CommandName)
    for name, text in COMMANDS.items():
        assert text.usage.split()[0] == name
