"""Which comments are commands, and which commands they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.commands.parse import COMMANDS, Command, CommandName, NotACommand, NotUnderstood, parse

ORDERS = st.builds("{} {}".format, st.sampled_from(CommandName), st.text(max_size=30))
HIDDEN = [
    *("> {}", "`{}`", "``{}``", "```\n{}\n```", "~~~\n{}\n~~~", "    {}", "\t{}", "- {}", "\n{}", "Thanks!\n\n{}"),
    *("<!-- {} -->", "<!--\n{}\n-->", "<details>\n{}\n</details>", "<details><summary>{}</summary></details>"),
]


def locked(reason: str, lasts: float | None = None) -> Command:
    return Command(name=CommandName.LOCK, reason=reason, lasts=lasts)


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
        ("/abort\u200b", Command(name=CommandName.ABORT)),
        ("/\u2060ab\u00adort\u200d errors\u200b", Command(name=CommandName.ABORT, reason="errors")),
        ("/abort\u00a0now", Command(name=CommandName.ABORT, reason="now")),
        ("/abort!", Command(name=CommandName.ABORT)),
        ("/abort.", Command(name=CommandName.ABORT)),
        ("/abort, errors are rising", Command(name=CommandName.ABORT, reason="errors are rising")),
        ("/Abort:production!!", Command(name=CommandName.ABORT, reason="production!!")),
        ("/abort\u2014it is broken", Command(name=CommandName.ABORT, reason="it is broken")),
        ("/pause lunch", Command(name=CommandName.PAUSE, reason="lunch")),
        ("/resume staging", Command(name=CommandName.RESUME, environment="staging")),
        ("/status", Command(name=CommandName.STATUS)),
        ("/help me please", Command(name=CommandName.HELP)),
        ("/lock", Command(name=CommandName.LOCK)),
        ("/lock for 30m", Command(name=CommandName.LOCK, lasts=1800.0)),
        ("/lock production card payments fail for 2h", locked("production card payments fail", 7200.0)),
        ("/lock waiting for 3 fixes FOR 1H30M", locked("waiting for 3 fixes", 5400.0)),
        ("/lock for the weekend", locked("for the weekend")),
        ("/lock for 2h\nfor 9h", Command(name=CommandName.LOCK, lasts=7200.0)),
        ("/unlock", Command(name=CommandName.UNLOCK)),
        ("/unlock staging", Command(name=CommandName.UNLOCK, environment="staging")),
        ("/retry", Command(name=CommandName.RETRY)),
        ("/retry production", Command(name=CommandName.RETRY, environment="production")),
        ("/override 0123456 it was the source", Command(name=CommandName.OVERRIDE, reason="0123456 it was the source")),
        ("/override", Command(name=CommandName.OVERRIDE)),
        ("/rollback", Command(name=CommandName.ROLLBACK)),
        ("/rollback production v1.2", Command(name=CommandName.ROLLBACK, reason="production v1.2")),
    ],
)
def test_a_first_line_is_a_command(body: str, command: Command) -> None:
    assert parse(body) == command


@pytest.mark.parametrize(
    "body",
    [
        *("", "/", "//promote", "/ promote", " /promote", "\n/promote", "    /abort", "\t/abort"),
        *("> /promote", "`/promote`", "```\n/promote\n```", "please /promote", "LGTM\n/promote", "<!-- -->/promote"),
        *("/lgtm", "/cc @ada", "/deploy production", "/staging promote", "/abort.sh", "/abort-mission"),
        *("/production abort", "/etc/passwd is not for you", "/promotexyz123"),
        *("/block", "/unblock", "/assign @ada", "/label lock", "/rerun-tests", "/lock-it", "/123", "/help.md"),
        *(
            "/\u200b",
            "\u200b/promote",
            "\ufeff/abort",
            "\uff0fabort",
            "/promote\u200bfulls\u200bway",
            "/abort/production",
        ),
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
        ("/unlok staging", "Did you mean /unlock?"),
        ("/rolback v1", "Did you mean /rollback?"),
        ("/overide 0123456 why", "Did you mean /override?"),
        ("/locks", "Did you mean /lock?"),
        ("/retry production again", "/retry [environment]"),
        ("/unlock it please", "/unlock [environment]"),
        ("/rollback production v1 now", "/rollback [environment] [version]"),
        ("/lock incident for 2 fortnights", "for 2 fortnights is no duration"),
        ("/lock incident for 90", "for 90 is no duration"),
        ("/lock for 1" + "1" * 60_000, "… is no duration. Write it as in"),
        ("/promote!", "Did you mean /promote?"),
        ("/pause:lunch", "Did you mean /pause?"),
        ("/abort?", "Did you mean /abort?"),
        ("/abort's word", "Did you mean /abort?"),
        ("/\u0430bort", "Did you mean /abort?"),
        ("/pr\u043emote\u200b", "Did you mean /promote?"),
    ],
)
def test_almost_a_command_is_answered_with_what_was_meant(body: str, said: str) -> None:
    answer = parse(body)
    assert isinstance(answer, NotUnderstood)
    assert said in answer.text


@pytest.mark.parametrize(
    ("body", "environment", "reason"),
    [
        ("/override production 0123456 it was the source", "production", "0123456 it was the source"),
        ("/override 0123456 production was slow", None, "0123456 production was slow"),
        ("/lock production", "production", ""),
        ("/lock productions are slow", None, "productions are slow"),
        ("/rollback production v1", "production", "v1"),
        ("/rollback v1", None, "v1"),
    ],
)
def test_an_environment_is_told_apart_from_what_follows_it(body: str, environment: str | None, reason: str) -> None:
    command = parse(body)
    assert isinstance(command, Command)
    within = command.within({"production", "staging"})
    assert (within.environment, within.reason) == (environment, reason)


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


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ("/rg lock incident for 2h", locked("incident", 7200.0)),
        ("/rg\tRollback v1", Command(name=CommandName.ROLLBACK, reason="v1")),
        *((body, NotACommand()) for body in ("/promote", "/rgpromote", "/rg-promote", "/RG promote", " /rg promote")),
        ("/rg", "Say what to do. See /rg help."),
        ("/rg abrot", "There is no command /rg abrot. Did you mean /rg abort?"),
        ("/rg deploy", "There is no command /rg deploy. See /rg help."),
        ("/rg unlock a b", "/rg unlock takes fewer words: /rg unlock [environment]"),
    ],
)
def test_after_a_prefix_that_is_a_word_every_word_is_for_us(body: str, answer: Command | NotACommand | str) -> None:
    assert parse(body, "/rg") == (NotUnderstood(text=answer) if isinstance(answer, str) else answer)


@given(st.text(max_size=200))
def test_an_abort_is_always_understood(reason: str) -> None:
    command = parse(f"/abort {reason}")
    assert isinstance(command, Command)
    assert command.name is CommandName.ABORT
    assert command.reason.isprintable()
    assert len(command.reason) <= 500


@given(order=ORDERS, rest=st.text(max_size=60), hidden=st.sampled_from(HIDDEN), prefix=st.sampled_from(["/", "/rg "]))
def test_only_a_first_line_in_the_open_is_ever_a_command(order: str, rest: str, hidden: str, prefix: str) -> None:
    line, begins = f"{prefix}{order}", prefix.strip()
    assert parse(f"{line}\n{rest}", begins) == parse(line, begins)
    assert not isinstance(parse(line, begins), NotACommand)
    assert parse(hidden.format(line), begins) == NotACommand()
    for body in (rest, prefix + rest):
        assert isinstance(parse(body, begins), Command | NotACommand | NotUnderstood)


def test_every_command_explains_itself() -> None:
    assert set(COMMANDS) == set(CommandName)
    for name, text in COMMANDS.items():
        assert text.usage.split()[0] == name
