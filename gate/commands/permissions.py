"""Who may do what with a comment. Pure: it says whose permission must be known, and decides once that is known.

Everything that is not plainly allowed is refused, with a sentence that says why.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gate.github.port import Permission, PermissionUnknown


class Need(StrEnum):
    """What a command asks of its author: to see the repository, or to push to it."""

    READ = "read"
    WRITE = "write"


class Denial(StrEnum):
    """Why a comment is not obeyed."""

    BOT = "bot"
    EDITED = "edited"
    NOT_THE_AUTHOR = "not_the_author"
    PERMISSION_UNKNOWN = "permission_unknown"
    PERMISSION_TOO_LITTLE = "permission_too_little"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """A comment on a pull request, as the event and the runner describe it.

    Args:
        created_at: seconds since the epoch, on GitHub's clock.
        author: `comment.user.login`; ``author_is_user`` is `comment.user.type == "User"`.
        sender: `sender.login`, who caused the event.
        edited: the event is anything but `created`, or the comment was changed since.
        actor: `GITHUB_ACTOR`. A re-run keeps the first run's.
        triggering_actor: `GITHUB_TRIGGERING_ACTOR`, who started this very run.
    """

    id: int
    repository: str
    pull_request: int
    created_at: float
    author: str
    author_is_user: bool
    sender: str
    edited: bool
    actor: str
    triggering_actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """No, and why. A bot is not answered, or two of them would talk for ever."""

    denial: Denial
    text: str

    @property
    def is_silent(self) -> bool:
        return self.denial is Denial.BOT


def whose(comment: Comment) -> tuple[str, ...]:
    """Whose permission decides: the author's and, on a re-run by somebody else, that person's too."""
    if _same(comment.author, comment.triggering_actor):
        return (comment.author,)
    return (comment.author, comment.triggering_actor)


def denied_unseen(comment: Comment) -> Denied | None:
    """What needs no permission to be refused: bots, edits, and comments that speak for somebody else."""
    if not comment.author_is_user or comment.author.endswith("[bot]"):
        return Denied(denial=Denial.BOT, text="Bots are not obeyed.")
    if comment.edited:
        return Denied(denial=Denial.EDITED, text="Edited comments are not obeyed; write a new one.")
    if not _same(comment.author, comment.sender):
        text = f"The comment is by {comment.author}, but the event by {comment.sender}."
        return Denied(denial=Denial.NOT_THE_AUTHOR, text=text)
    if not _same(comment.author, comment.actor):
        text = f"The comment is by {comment.author}, but the run was caused by {comment.actor}."
        return Denied(denial=Denial.NOT_THE_AUTHOR, text=text)
    return None


def denied(comment: Comment, need: Need, permissions: Mapping[str, Permission | PermissionUnknown]) -> Denied | None:
    """Whether the comment's command is refused, and why.

    Args:
        comment: the comment.
        need: what its command asks for.
        permissions: what is known of each login that ``whose`` names; one left out is unknown.

    Returns:
        The refusal, or ``None``: it may be obeyed.
    """
    if (unseen := denied_unseen(comment)) is not None:
        return unseen
    for login in whose(comment):
        there = permissions.get(login) or PermissionUnknown(login=login, text="nobody asked")
        if isinstance(there, PermissionUnknown):
            text = f"What {login} may do in this repository could not be found out ({there.text.rstrip('.')})."
            return Denied(denial=Denial.PERMISSION_UNKNOWN, text=text)
        if not (there.writes if need is Need.WRITE else there.reads):
            text = f"This needs {need} permission in the repository; {login} has the role {there.role_name}."
            return Denied(denial=Denial.PERMISSION_TOO_LITTLE, text=text)
    return None


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()
