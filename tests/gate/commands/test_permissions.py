"""Who may do what: the whole matrix, and everything that is refused before anybody is asked."""

from dataclasses import replace

import pytest

from gate.commands.answer import NEEDS
from gate.commands.parse import CommandName
from gate.commands.permissions import Comment, Denial, Need, denied, denied_unseen, whose
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


def may(*words: str, login: str = "Ann") -> Permission:
    return Permission(login=login, role_name="a role", **dict.fromkeys(words, True))  # type: ignore[arg-type]


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
    for need, allowed in ((Need.READ, reads), (Need.WRITE, writes)):
        no = denied(GOOD, need, {"Ann": may(*words)})
        assert (no is None) == allowed
        assert no is None or no.denial is Denial.PERMISSION_TOO_LITTLE


@pytest.mark.parametrize("need", Need)
def test_what_is_unknown_is_refused(need: Need) -> None:
    for known in ({}, {"Ann": PermissionUnknown(login="Ann", text="GitHub answered 503.")}, {"eve": may("admin")}):
        no = denied(GOOD, need, known)
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
    for no in (denied_unseen(comment), denied(comment, Need.READ, everybody)):
        assert no is not None
        assert no.denial is denial
        assert no.is_silent == (denial is Denial.BOT)


def test_a_re_run_by_somebody_else_needs_both_permissions() -> None:
    comment = replace(GOOD, triggering_actor="bob")
    assert whose(comment) == ("Ann", "bob")
    both = {"Ann": may("push"), "bob": may("push", login="bob")}
    assert denied(comment, Need.WRITE, both) is None
    for login in both:
        no = denied(comment, Need.WRITE, both | {login: may("pull", login=login)})
        assert no is not None
        assert login in no.text
        assert denied(comment, Need.WRITE, {k: v for k, v in both.items() if k != login}) is not None


def test_logins_are_compared_without_case() -> None:
    assert whose(replace(GOOD, author="ANN", triggering_actor="ann")) == ("ANN",)


def test_every_command_says_what_it_needs() -> None:
    assert set(NEEDS) == set(CommandName)
    assert {name for name, need in NEEDS.items() if need is Need.READ} == {CommandName.STATUS, CommandName.HELP}
