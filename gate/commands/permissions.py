"""Who may do what with a comment. Pure: it says whose standing must be known, and decides once that is known.

Everything that is not plainly allowed is refused, with a sentence that says why.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gate.config import Requirement, Right
from gate.github.port import Permission, PermissionUnknown, Thread


class Denial(StrEnum):
    """Why a comment is not obeyed."""

    BOT = "bot"
    EDITED = "edited"
    NOT_THE_AUTHOR = "not_the_author"
    PERMISSION_UNKNOWN = "permission_unknown"
    PERMISSION_TOO_LITTLE = "permission_too_little"
    NOT_NAMED = "not_named"
    SECOND_PERSON_NEEDED = "second_person_needed"
    RULES_UNREADABLE = "rules_unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """A comment on a pull request or on a commit, as the event and the runner describe it.

    Args:
        pull_request: its number; ``None`` where the comment is on ``commit``, which is that commit's SHA.
        created_at: seconds since the epoch, on GitHub's clock.
        author: `comment.user.login`; ``author_is_user`` is `comment.user.type == "User"`.
        sender: `sender.login`, who caused the event.
        edited: the event is anything but `created`, or the comment was changed since.
        actor: `GITHUB_ACTOR`. A re-run keeps the first run's.
        triggering_actor: `GITHUB_TRIGGERING_ACTOR`, who started this very run.
    """

    id: int
    repository: str
    pull_request: int | None
    created_at: float
    author: str
    author_is_user: bool
    sender: str
    edited: bool
    actor: str
    triggering_actor: str
    commit: str = ""

    @property
    def thread(self) -> Thread:
        """Where the answer goes."""
        return self.commit if self.pull_request is None else self.pull_request

    @property
    def is_by_bot(self) -> bool:
        return not self.author_is_user or self.author.endswith("[bot]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of somebody: what they may do in the repository, and which teams they are in."""

    permission: Permission | PermissionUnknown
    teams: Mapping[str, bool | PermissionUnknown] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """No, and why. A bot that nobody named is not answered, or two of them would talk for ever."""

    denial: Denial
    text: str

    @property
    def is_silent(self) -> bool:
        return self.denial is Denial.BOT


def whose(comment: Comment) -> tuple[str, ...]:
    """Whose standing decides: the author's, unless that is a bot, and on a re-run by somebody else theirs too."""
    authors = () if comment.is_by_bot else (comment.author,)
    return authors if _same(comment.author, comment.triggering_actor) else (*authors, comment.triggering_actor)


def denied_unseen(comment: Comment, requirement: Requirement) -> Denied | None:
    """What needs no standing to be refused: bots, edits, and comments that speak for somebody else."""
    if comment.is_by_bot and not _named(comment.author, requirement):
        return Denied(denial=Denial.BOT, text="Bots are not obeyed, unless the command names them.")
    if comment.edited:
        return Denied(denial=Denial.EDITED, text="Edited comments are not obeyed; write a new one.")
    if not _same(comment.author, comment.sender):
        text = f"The comment is by {comment.author}, but the event by {comment.sender}."
        return Denied(denial=Denial.NOT_THE_AUTHOR, text=text)
    if not _same(comment.author, comment.actor):
        text = f"The comment is by {comment.author}, but the run was caused by {comment.actor}."
        return Denied(denial=Denial.NOT_THE_AUTHOR, text=text)
    return None


def denied(comment: Comment, requirement: Requirement, known: Mapping[str, Standing]) -> Denied | None:
    """Whether the comment's command is refused, and why.

    Args:
        comment: the comment.
        requirement: what its command asks for.
        known: the standing of each login that ``whose`` names; one left out is unknown.

    Returns:
        The refusal, or ``None``: it may be obeyed.
    """
    if (unseen := denied_unseen(comment, requirement)) is not None:
        return unseen
    for login in whose(comment):
        no = _denied(login, requirement, known.get(login))
        if no is not None:
            return no
    return None


def _denied(login: str, requirement: Requirement, known: Standing | None) -> Denied | None:
    there = known.permission if known else PermissionUnknown(login=login, text="nobody asked")
    if isinstance(there, PermissionUnknown):
        return _unknown(login, there)
    if not _has(there, requirement.right):
        text = f"This needs {requirement.right} permission in the repository; {login} has the role {there.role_name}."
        return Denied(denial=Denial.PERMISSION_TOO_LITTLE, text=text)
    if not (requirement.users or requirement.teams) or _named(login, requirement):
        return None
    asked = [known.teams.get(team, _NOT_ASKED) if known else _NOT_ASKED for team in requirement.teams]
    if any(found is True for found in asked):
        return None
    for found in asked:
        if isinstance(found, PermissionUnknown):
            return _unknown(login, found)
    named = ", ".join((*requirement.teams, *requirement.users))
    return Denied(denial=Denial.NOT_NAMED, text=f"This is for {named} alone; {login} is not among them.")


_NOT_ASKED = PermissionUnknown(login="", text="nobody asked for the team")
_RISING = tuple(Right)
_BOOLEANS: Mapping[str, Right] = {
    "pull": Right.READ,
    "triage": Right.TRIAGE,
    "push": Right.WRITE,
    "maintain": Right.MAINTAIN,
    "admin": Right.ADMIN,
}


def _has(there: Permission, right: Right) -> bool:
    """By GitHub's booleans: that one, or one that includes it."""
    least = _RISING.index(right)
    return any(getattr(there, name) and _RISING.index(its) >= least for name, its in _BOOLEANS.items())


def _unknown(login: str, why: PermissionUnknown) -> Denied:
    text = f"What {login} may do in this repository could not be found out ({why.text.rstrip('.')})."
    return Denied(denial=Denial.PERMISSION_UNKNOWN, text=text)


def first_person(comment: Comment, others: Mapping[str, str | None]) -> Denied | None:
    """Whether the author needs a second person: they are one of ``others``, who are told by what they did."""
    for did, login in others.items():
        if login is not None and _same(comment.author, login.removeprefix("@")):
            text = f"This needs a second person: {comment.author} {did}."
            return Denied(denial=Denial.SECOND_PERSON_NEEDED, text=text)
    return None


def _named(login: str, requirement: Requirement) -> bool:
    return any(_same(login, one) for one in requirement.users)


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()
