"""`/lock` and `/unlock`: nobody widens a flag in an environment, or somebody may again. A revert is never stopped."""

from gate.commands import wording
from gate.commands.aim import Aim, spot
from gate.commands.desk import Desk, Reply, done
from gate.commands.permissions import Comment
from gate.config import CommandName
from rampgate.locks import NewLock

DAY = 86_400.0
"""Seconds that a lock holds where the comment does not say: forgotten locks are worse than short ones."""

_SLACK = 1.0
"""Seconds. GitHub tells moments in whole ones."""


def lock(meant: Aim, comment: Comment, desk: Desk) -> Reply:
    """Lock the flag that is meant, from now until what was said, by GitHub's clock, from the comment on."""
    where = spot(meant, CommandName.LOCK, desk)
    if isinstance(where, Reply):
        return where
    new = NewLock(
        reason=meant.command.reason or "no reason given",
        by=f"@{comment.author}",
        environment=where.environment,
        flag=where.flag,
        until=comment.created_at + (meant.command.lasts or DAY),
        key=f"comment-{comment.repository}-{comment.id}"[:200],
    )
    held = desk.flagserver.lock(new)
    lift = desk.rules.word(f"{CommandName.UNLOCK} {where.environment}")
    text = wording.locked(held, where.environment, comment.created_at, lift)
    reason = meant.command.reason
    if meant.command.environment is None and reason and " " not in reason:
        text = f"{wording.taken_as_reason(reason)}\n\n{text}"
    return done(text)


def unlock(meant: Aim, comment: Comment, desk: Desk) -> Reply:
    """Lift the locks of the flag that is meant that were there when it was said; wider ones are named, and stay."""
    where = spot(meant, CommandName.UNLOCK, desk)
    if isinstance(where, Reply):
        return where
    held = desk.flagserver.locks(where.environment, where.flag)
    lifted = tuple(
        one
        for one in held
        if (one.environment, one.flag) == (where.environment, where.flag)
        and one.created_at <= comment.created_at + _SLACK
    )
    for one in lifted:
        desk.flagserver.unlock(one.id, by=f"@{comment.author}", reason=f"in comment {comment.id}")
    left = tuple(one for one in held if one not in lifted)
    return done(wording.unlocked(where.environment, lifted, left))
