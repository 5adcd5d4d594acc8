"""Who may do what: the whole matrix, and everything that is refused before anybody is asked."""

from dataclasses import replace

import pytest

from gate.commands.permissions import Comment, Denial, Standing, denied, denied_unseen, first_person, whose
from gate.config import CommandName, CommandRules, Requirement, Right
from gate.github.port import Permission, PermissionUnknown

GOOD = Comment(
    id=1,
    repository="acme/shop",
    pull_request=7,
    created_at=0.0,
    author="Ann",
    author_is_user=True,
    sender="ann",
    edited=False,
    actor="ann",
    triggering_actor="ann",
)


READ, WRITE = Requirement(right=Right.READ), Requirement(right=Right.WRITE)
ALL = tuple(Right)
WORDS = ("pull", "triage", "push", "maintain", "admin")


def may(*words: str, login: str = "Ann", **teams: bool | PermissionUnknown) -> Standing:
    permission = Permission(login=login, role_name="a role", **dict.fromkeys(words, True))  # type: ignore[arg-type]
    return Standing(permission=permission, teams={f"acme/{name}": found for name, found in teams.items()})


def nobody_knows(text: str) -> Standing:
    return Standing(permission=PermissionUnknown(login="Ann", text=text))


@pytest.mark.parametrize(
    ("words", "reads", "writes"),
    [
        ((), False, False),
        (("pull",), True, False),
        (("pull", "triage"), True, False),
        (("pull", "triage", "push"), True, True),
        (("pull", "triage", "push", "maintain"), True, True),
        (("pull", "triage", "push", "maintain", "admin"), True, True),
        (("admin",), True, True),
        (("triage",), True, False),
    ],
)
def test_the_booleans_decide(words: tuple[str, ...], reads: bool, writes: bool) -> None:
    for need, allowed in ((READ, reads), (WRITE, writes)):
        no = denied(GOOD, need, {"Ann": may(*words)})
        assert (no is None) == allowed
        assert no is None or no.denial is Denial.PERMISSION_TOO_LITTLE


@pytest.mark.parametrize("right", ALL)
@pytest.mark.parametrize("has", range(len(WORDS)))
def test_each_right_includes_those_before_it(right: Right, has: int) -> None:
    no = denied(GOOD, Requirement(right=right), {"Ann": may(*WORDS[: has + 1])})
    assert (no is None) == (has >= ALL.index(right))


@pytest.mark.parametrize("right", ALL)
def test_what_is_unknown_is_refused(right: Right) -> None:
    for known in ({}, {"Ann": nobody_knows("GitHub answered 503.")}, {"eve": may("admin")}):
        no = denied(GOOD, Requirement(right=right), known)
        assert no is not None
        assert no.denial is Denial.PERMISSION_UNKNOWN


@pytest.mark.parametrize(
    ("changes", "denial"),
    [
        ({"author_is_user": False}, Denial.BOT),
        ({"author": "rampgate[bot]", "sender": "rampgate[bot]", "actor": "rampgate[bot]"}, Denial.BOT),
        ({"edited": True}, Denial.EDITED),
        ({"sender": "eve"}, Denial.NOT_THE_AUTHOR),
        ({"actor": "eve"}, Denial.NOT_THE_AUTHOR),
    ],
)
def test_what_is_refused_even_of_an_administrator(changes: dict[str, object], denial: Denial) -> None:
    comment = replace(GOOD, **changes)  # type: ignore[arg-type]
    everybody = {login: may("admin", login=login) for login in ("Ann", "ann", "eve", "rampgate[bot]")}
    for no in (denied_unseen(comment, READ), denied(comment, READ, everybody)):
        assert no is not None
        assert no.denial is denial
        assert no.is_silent == (denial is Denial.BOT)


def test_a_re_run_by_somebody_else_needs_both_permissions() -> None:
    comment = replace(GOOD, triggering_actor="bob")
    assert whose(comment) == ("Ann", "bob")
    both = {"Ann": may("push"), "bob": may("push", login="bob")}
    assert denied(comment, WRITE, both) is None
    for login in both:
        no = denied(comment, WRITE, both | {login: may("pull", login=login)})
        assert no is not None
        assert login in no.text
        assert denied(comment, WRITE, {k: v for k, v in both.items() if k != login}) is not None


def test_logins_are_compared_without_case() -> None:
    assert whose(replace(GOOD, author="ANN", triggering_actor="ann")) == ("ANN",)


def test_every_command_says_what_it_needs() -> None:
    asked = {name: one.right for name, one in CommandRules().requirements.items()}
    assert set(asked) == set(CommandName)
    assert {name for name in asked if asked[name] is Right.READ} == {CommandName.STATUS, CommandName.HELP}
    assert asked[CommandName.OVERRIDE] is Right.MAINTAIN


SRE = Requirement(right=Right.WRITE, teams=("acme/sre", "acme/ops"), users=("zoe",))


@pytest.mark.parametrize(
    ("standing", "denial"),
    [
        (may("push", sre=True), None),
        (may("push", sre=False, ops=True), None),
        (may("pull", sre=True), Denial.PERMISSION_TOO_LITTLE),
        (may("admin", sre=False, ops=False), Denial.NOT_NAMED),
        (may("admin"), Denial.PERMISSION_UNKNOWN),
        (may("push", sre=False, ops=PermissionUnknown(login="Ann", text="403")), Denial.PERMISSION_UNKNOWN),
    ],
)
def test_who_is_named_needs_the_permission_and_who_has_it_needs_to_be_named(
    standing: Standing, denial: Denial | None
) -> None:
    no = denied(GOOD, SRE, {"Ann": standing})
    assert (no and no.denial) == denial


def test_a_named_user_needs_no_team() -> None:
    comment = replace(GOOD, author="Zoe", sender="zoe", actor="zoe", triggering_actor="zoe")
    assert denied(comment, SRE, {"Zoe": may("push", login="Zoe")}) is None


def test_a_bot_is_obeyed_where_it_is_named_and_nowhere_else() -> None:
    bot = replace(
        GOOD, author="ops[bot]", author_is_user=False, sender="ops[bot]", actor="ops[bot]", triggering_actor="ops[bot]"
    )
    named = Requirement(right=Right.ADMIN, users=("ops[bot]",))
    assert whose(bot) == ()
    assert denied(bot, named, {}) is None
    for other in (READ, SRE):
        no = denied(bot, other, {"ops[bot]": may("admin", login="ops[bot]")})
        assert no is not None
        assert no.is_silent


def test_whoever_re_runs_a_bots_command_needs_what_it_asks() -> None:
    bot = replace(GOOD, author="ops[bot]", sender="ops[bot]", actor="ops[bot]", triggering_actor="rob")
    named = Requirement(right=Right.WRITE, users=("ops[bot]", "rob"))
    assert whose(bot) == ("rob",)
    assert denied(bot, named, {"rob": may("push", login="rob")}) is None
    assert denied(bot, named, {"rob": may("pull", login="rob")}) is not None


@pytest.mark.parametrize("other", ["@ann", "ANN", "@Ann"])
def test_a_second_person_is_not_the_first_by_another_spelling(other: str) -> None:
    no = first_person(GOOD, {"wrote it": None, "started it": other})
    assert no is not None
    assert "started it" in no.text
    assert first_person(GOOD, {"wrote it": "annabel", "started it": "@bob"}) is None
