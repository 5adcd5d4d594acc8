"""A comment's command, carried to the right rollouts, and answered. Decides nothing about a rollout itself.

The flag server decides, once per comment and rollout: a run that is repeated, or an event delivered twice, gets the
first answer again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from gate.commands import again, locking, wording
from gate.commands.aim import Aim, aim, which
from gate.commands.desk import Desk, Reply, Result
from gate.commands.parse import COMMANDS, Command, NotUnderstood
from gate.commands.permissions import Comment, Denial, Denied, Standing, denied, denied_unseen, whose
from gate.config import CommandName, Requirement, Right
from gate.errors import GitHubError, RampgateError
from gate.github.port import GitHub, Reaction
from gate.report import replies
from gate.report.prose import plain
from rampgate.figures import looks_of
from rampgate.machine.events import Told
from rampgate.machine.state import Order, Phase
from rampgate.rollout import Rollout

GRACE = 60.0
"""Seconds. How much later than the comment a rollout may have begun and still be aborted or paused by it: the two
moments are read off two clocks. What widens has no such grace."""

_CALMING = frozenset({Order.REVERT, Order.PAUSE})
_WIDENING = frozenset({Order.ADVANCE, Order.COMPLETE})
_UNDONE = frozenset({Phase.REVERTING, Phase.REVERTED, Phase.FAILED})

_ORDERS = {
    CommandName.PROMOTE: Order.ADVANCE,
    CommandName.ABORT: Order.REVERT,
    CommandName.PAUSE: Order.PAUSE,
    CommandName.RESUME: Order.RESUME,
}

_DESKS: Mapping[CommandName, Callable[[Aim, Comment, Desk], Reply]] = {
    CommandName.LOCK: locking.lock,
    CommandName.UNLOCK: locking.unlock,
    CommandName.OVERRIDE: again.override,
    CommandName.RETRY: again.retry,
    CommandName.ROLLBACK: again.rollback,
}
"""Commands that are about more than a rollout under way. The flag server keeps no answer to these by the comment's id,
so the answer on GitHub is what keeps them from being obeyed twice."""


def obey(command: Command, comment: Comment, desk: Desk) -> Reply:
    """Obey a command, or refuse it, and answer where it was given.

    Args:
        command: what was said.
        comment: who said it, where and when.
        desk: where permissions are asked for, where the order and the answer go, and the rules.

    Returns:
        What was answered. Nothing is raised: without GitHub or the flag server, the reply says what was not done.
    """
    requirement = desk.rules.requirements[command.name]
    if desk.rules.may_be_obeyed(command.name):
        return _answered(requirement, comment, desk.github, lambda: _once(command, comment, desk))
    text = f"The rules for commands on the default branch could not be read. {desk.rules.unreadable}"
    no = Denied(denial=Denial.RULES_UNREADABLE, text=text)
    return _answered(requirement, comment, desk.github, lambda: _refused(no))


def puzzled(words: NotUnderstood, comment: Comment, github: GitHub) -> Reply:
    """Answer a command that was not understood, to people who may see the repository."""
    text = plain(words.text)
    reading = Requirement(right=Right.READ)
    return _answered(reading, comment, github, lambda: Reply(text=text, reaction=Reaction.CONFUSED))


def _answered(requirement: Requirement, comment: Comment, github: GitHub, reply_to: Callable[[], Reply]) -> Reply:
    no = denied_unseen(comment, requirement)
    if no is not None and no.is_silent:
        return Reply(text=no.text, reaction=None, denied=no)
    on_commit = comment.pull_request is None
    github.react(comment.id, Reaction.SEEN, on_commit=on_commit)
    if no is None:
        no = denied(comment, requirement, {login: _standing(login, requirement, github) for login in whose(comment)})
    if no is not None:
        reply = _refused(no)
    else:
        try:
            reply = reply_to()
        except RampgateError as error:
            text = f"Nothing was changed: {plain(str(error))}"
            reply = Reply(text=text, reaction=Reaction.CONFUSED)
    try:
        github.reply(comment.thread, reply.text, comment.id, stands=reply.settled)
    except GitHubError as error:
        reply = replace(reply, unsent=str(error))
    if reply.reaction is not None:
        github.react(comment.id, reply.reaction, on_commit=on_commit)
    return reply


def _refused(no: Denied) -> Reply:
    return Reply(text=f"Not done. {plain(no.text)}", reaction=Reaction.REFUSED, denied=no)


def _standing(login: str, requirement: Requirement, github: GitHub) -> Standing:
    """Teams are asked for only where no name decides, and the first that has them is enough."""
    teams = {}
    if login.casefold() not in (one.casefold() for one in requirement.users):
        for team in requirement.teams:
            teams[team] = github.in_team(team, login)
            if teams[team] is True:
                break
    return Standing(permission=github.permission(login), teams=teams)


def _once(command: Command, comment: Comment, desk: Desk) -> Reply:
    """What was settled is not done again: the first answer is given again."""
    if command.name in _DESKS:
        try:
            earlier = desk.github.answered(comment.thread, comment.id)
        except GitHubError:
            # A lock makes things safer, and its key makes it once.
            if command.name is not CommandName.LOCK:
                raise
            earlier = None
        if earlier is not None:
            return Reply(text=earlier, reaction=None, settled=True)
    return _replied(command, comment, desk)


def _replied(command: Command, comment: Comment, desk: Desk) -> Reply:
    if command.name is CommandName.HELP:
        usages = {desk.rules.word(one.usage): one.text for one in COMMANDS.values()}
        return Reply(text=replies.commands(usages), reaction=Reaction.DONE)
    meant = aim(command, comment, desk)
    if isinstance(meant, Reply):
        return meant
    if command.name in _DESKS:
        return _DESKS[command.name](meant, comment, desk)
    if not meant.there:
        return Reply(text=replies.no_rollout(meant.command.environment), reaction=Reaction.REFUSED)
    order = Order.COMPLETE if command.full else _ORDERS.get(command.name)
    if order is None:
        known = [(one, looks_of(one, desk.flagserver.entries(one.id))) for one in meant.there]
        return Reply(text=replies.status(known), reaction=Reaction.DONE)
    return _ordered(order, meant, comment, desk)


def _ordered(order: Order, meant: Aim, comment: Comment, desk: Desk) -> Reply:
    command, notes = meant.command, []
    if len(meant.active) > 1:
        if order is not Order.REVERT:
            return which(f"{command.name}{' full' if command.full else ''}", meant.active, desk)
        notes.append(wording.all_aborted(len(meant.active)))
    if command.environment is None and command.reason and " " not in command.reason:
        # It may be a misspelt environment. A revert is never blocked, not by that either; but it is said.
        notes.append(wording.taken_as_reason(command.reason))
    if order in _WIDENING:
        for one in meant.there:
            no = again.first_of_two(command.name, comment, one, desk)
            if no is not None:
                return _refused(no)
    results = tuple(_tell(order, command.reason, one, comment, desk) for one in meant.there)
    return _summed_up(order, results, notes)


def _tell(order: Order, text: str, rollout: Rollout, comment: Comment, desk: Desk) -> Result:
    if comment.created_at + (GRACE if order in _CALMING else 1.0) < rollout.created_at:
        return Result(rollout=rollout, obeyed=False, text=wording.not_told(rollout, wording.BEGAN_LATER))
    try:
        revision = _revision(order, rollout, comment, desk.github)
    except _NotSeenError as error:
        return Result(rollout=rollout, obeyed=False, text=wording.not_told(rollout, str(error)))
    told = Told(order=order, by=f"@{comment.author}", text=text, revision=revision)
    try:
        answer = desk.flagserver.post(rollout.id, told, f"comment-{comment.id}-{rollout.id}")
    except RampgateError as error:
        return Result(rollout=rollout, obeyed=False, text=wording.failed(rollout, str(error)), failed=True)
    line = replies.obeyed(answer)
    if _waits_undone(answer.rollout):
        line = f"{line} {wording.waits_for_hands(answer.rollout)}"
    return Result(rollout=answer.rollout, obeyed=answer.refusal is None, text=line)


class _NotSeenError(Exception):
    """Nobody can tell that the author saw the rollout as it is."""


def _revision(order: Order, rollout: Rollout, comment: Comment, github: GitHub) -> int | None:
    """The revision that the author saw; ``None`` binds the order to none."""
    if order is Order.REVERT or comment.pull_request is None:
        return None
    try:
        seen = github.seen(comment.pull_request, rollout.plan.environment, comment.created_at)
    except GitHubError as error:
        if order in _WIDENING:
            raise _NotSeenError(wording.not_seen(str(error))) from error
        return None
    if seen is None:
        return None
    if seen.rollout is not None and seen.rollout != rollout.id:
        raise _NotSeenError(wording.SAW_ANOTHER)
    return seen.revision


def _summed_up(order: Order, results: tuple[Result, ...], notes: Iterable[str]) -> Reply:
    if any(one.failed for one in results):
        reaction = Reaction.CONFUSED
    else:
        reaction = Reaction.DONE if all(one.obeyed for one in results) else Reaction.REFUSED
    waiting = (one.rollout.id for one in results if _waits_undone(one.rollout))
    return Reply(
        text="\n\n".join([*notes, _list(one.text for one in results)]),
        reaction=reaction,
        results=results,
        needs_driver=tuple(waiting) if order is Order.REVERT else (),
    )


def _waits_undone(rollout: Rollout) -> bool:
    """Users are back on stable, and nobody takes the new version's deployment away."""
    return rollout.state.needs_hands and rollout.state.phase in _UNDONE


def _list(lines: Iterable[str]) -> str:
    lines = list(lines)
    return lines[0] if len(lines) == 1 else "\n".join(f"- {line}" for line in lines)
