"""A comment's command, carried to the right rollouts, and answered. Decides nothing about a rollout itself.

The flag server decides, once per comment and rollout: a run that is repeated, or an event delivered twice, gets the
first answer again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from gate.commands import wording
from gate.commands.parse import COMMANDS, Command, CommandName, NotUnderstood
from gate.commands.permissions import Comment, Denied, Need, denied, denied_unseen, whose
from gate.errors import GitHubError, RampgateError
from gate.github.port import GitHub, Reaction
from gate.report import replies
from gate.report.prose import plain
from rampgate.machine.events import Told
from rampgate.machine.state import Order, Phase
from rampgate.rollout import Answer, Rollout

GRACE = 60.0
"""Seconds. How much later than the comment a rollout may have begun and still be aborted or paused by it: the two
moments are read off two clocks. What widens has no such grace."""

_CALMING = frozenset({Order.REVERT, Order.PAUSE})
_WIDENING = frozenset({Order.ADVANCE, Order.COMPLETE})
_UNDONE = frozenset({Phase.REVERTING, Phase.REVERTED, Phase.FAILED})


NEEDS: Mapping[CommandName, Need] = {
    CommandName.PROMOTE: Need.WRITE,
    CommandName.ABORT: Need.WRITE,
    CommandName.PAUSE: Need.WRITE,
    CommandName.RESUME: Need.WRITE,
    CommandName.STATUS: Need.READ,
    CommandName.HELP: Need.READ,
}
"""What each command asks of its author; every command has a row."""

_ORDERS = {
    CommandName.PROMOTE: Order.ADVANCE,
    CommandName.ABORT: Order.REVERT,
    CommandName.PAUSE: Order.PAUSE,
    CommandName.RESUME: Order.RESUME,
}


class FlagServer(Protocol):
    """What answering needs of the flag server. Raises `RampgateError` where there is no answer."""

    def find(
        self,
        *,
        repository: str | None = None,
        pull_request: int | None = None,
        sha: str | None = None,
        active: bool | None = None,
    ) -> tuple[Rollout, ...]:
        """Rollouts that fit, newest first."""

    def post(self, rollout_id: str, event: Told, event_id: str) -> Answer:
        """Tell the server; the same ``event_id`` again repeats the first answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one rollout made of the order: ``obeyed``, or not, with the line that says so."""

    rollout: Rollout
    obeyed: bool
    text: str
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the comment was answered.

    ``needs_driver`` names rollouts whose deployment must be undone and nobody holds the lease: whoever runs this
    takes it and does so. ``sent`` is false where GitHub did not take the reply; what was done is done all the same.
    """

    text: str
    reaction: Reaction | None
    results: tuple[Result, ...] = ()
    needs_driver: tuple[str, ...] = ()
    denied: Denied | None = None
    sent: bool = True


def obey(command: Command, comment: Comment, github: GitHub, flagserver: FlagServer) -> Reply:
    """Obey a command, or refuse it, and answer on the pull request.

    Args:
        command: what was said.
        comment: who said it, where and when.
        github: where permissions are asked for and the answer goes.
        flagserver: where the order goes.

    Returns:
        What was answered. Nothing is raised: without GitHub or the flag server, the reply says what was not done.
    """
    return _answered(NEEDS[command.name], comment, github, lambda: _replied(command, comment, github, flagserver))


def puzzled(words: NotUnderstood, comment: Comment, github: GitHub) -> Reply:
    """Answer a command that was not understood, to people who may see the repository."""
    text = plain(words.text)
    return _answered(Need.READ, comment, github, lambda: Reply(text=text, reaction=Reaction.CONFUSED))


def _answered(need: Need, comment: Comment, github: GitHub, reply_to: Callable[[], Reply]) -> Reply:
    no = denied_unseen(comment)
    if no is not None and no.is_silent:
        return Reply(text=no.text, reaction=None, denied=no, sent=False)
    github.react(comment.id, Reaction.SEEN)
    if no is None:
        no = denied(comment, need, {login: github.permission(login) for login in whose(comment)})
    if no is not None:
        reply = Reply(text=f"Not done. {plain(no.text)}", reaction=Reaction.REFUSED, denied=no)
    else:
        try:
            reply = reply_to()
        except RampgateError as error:
            text = f"Nothing was changed: {plain(str(error))}"
            reply = Reply(text=text, reaction=Reaction.CONFUSED)
    try:
        github.reply(comment.pull_request, reply.text, comment.id)
    except GitHubError:
        reply = replace(reply, sent=False)
    if reply.reaction is not None:
        github.react(comment.id, reply.reaction)
    return reply


def _replied(command: Command, comment: Comment, github: GitHub, flagserver: FlagServer) -> Reply:
    if command.name is CommandName.HELP:
        return Reply(text=replies.commands({one.usage: one.text for one in COMMANDS.values()}), reaction=Reaction.DONE)
    active, finished = _known(comment, github, flagserver)
    command = command.within({name for one in (*active, *finished) for name in _names(one)})
    if (place := command.environment) is not None:
        all_names = tuple(dict.fromkeys(one.plan.environment for one in active or finished))
        active, finished = (tuple(one for one in some if place in _names(one)) for some in (active, finished))
        if not active and not finished:
            return Reply(text=wording.nothing_called(place, all_names), reaction=Reaction.CONFUSED)
    there = active or finished
    if not there:
        return Reply(text=replies.no_rollout(None), reaction=Reaction.REFUSED)
    order = Order.COMPLETE if command.full else _ORDERS.get(command.name)
    if order is None:
        return Reply(text=replies.status(there), reaction=Reaction.DONE)
    notes: list[str] = []
    if len(active) > 1:
        if order is not Order.REVERT:
            word = f"{command.name}{' full' if command.full else ''}"
            return Reply(text=replies.which(word, _told_apart(active)), reaction=Reaction.CONFUSED)
        notes.append(wording.all_aborted(len(active)))
    if command.environment is None and command.reason and " " not in command.reason:
        # It may be a misspelt environment. A revert is never blocked, not by that either; but it is said.
        notes.append(wording.taken_as_reason(command.reason))
    results = tuple(_tell(order, command.reason, one, comment, github, flagserver) for one in there)
    return _summed_up(order, results, notes)


def _known(comment: Comment, github: GitHub, flagserver: FlagServer) -> tuple[tuple[Rollout, ...], tuple[Rollout, ...]]:
    """The pull request's rollouts: those under way, and else the newest finished one of each flag and environment.

    A finished one is asked too, for it answers as it answered before. Where the flag server knows none by the pull
    request, they are found by its merge commit or its head.
    """
    found = flagserver.find(repository=comment.repository, pull_request=comment.pull_request)
    if not found:
        pull = github.pull_request(comment.pull_request)
        for sha in dict.fromkeys(sha for sha in (pull.merge_sha, pull.head_sha) if sha):
            found = found or flagserver.find(repository=comment.repository, sha=sha)
    newest: dict[tuple[str, str], Rollout] = {}
    for one in sorted(found, key=lambda one: one.created_at):
        newest[one.plan.environment, one.plan.flag] = one
    active = tuple(one for one in found if not one.state.phase.is_final)
    return active, tuple(one for one in newest.values() if one.state.phase.is_final)


def _tell(
    order: Order, text: str, rollout: Rollout, comment: Comment, github: GitHub, flagserver: FlagServer
) -> Result:
    if comment.created_at + (GRACE if order in _CALMING else 1.0) < rollout.created_at:
        return Result(rollout=rollout, obeyed=False, text=wording.not_told(rollout, wording.BEGAN_LATER))
    try:
        revision = _revision(order, rollout, comment, github)
    except _NotSeenError as error:
        return Result(rollout=rollout, obeyed=False, text=wording.not_told(rollout, str(error)))
    told = Told(order=order, by=f"@{comment.author}", text=text, revision=revision)
    try:
        answer = flagserver.post(rollout.id, told, f"comment-{comment.id}-{rollout.id}")
    except RampgateError as error:
        return Result(rollout=rollout, obeyed=False, text=wording.failed(rollout, str(error)), failed=True)
    line = replies.obeyed(answer)
    if _waits_undone(answer.rollout):
        line = f"{line} {wording.WAITS_FOR_HANDS}"
    return Result(rollout=answer.rollout, obeyed=answer.refusal is None, text=line)


class _NotSeenError(Exception):
    """Nobody can tell that the author saw the rollout as it is."""


def _revision(order: Order, rollout: Rollout, comment: Comment, github: GitHub) -> int | None:
    """The revision that the author saw; ``None`` binds the order to none."""
    if order is Order.REVERT:
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


def _names(rollout: Rollout) -> tuple[str, str, str]:
    """What a comment may call a rollout."""
    return rollout.plan.environment, rollout.plan.flag, rollout.id


def _told_apart(rollouts: tuple[Rollout, ...]) -> tuple[str, ...]:
    """The shortest kind of name that tells these rollouts apart."""
    for kind in zip(*(_names(one) for one in rollouts), strict=True):
        if len(set(kind)) == len(kind):
            return kind
    return tuple(one.id for one in rollouts)


def _list(lines: Iterable[str]) -> str:
    lines = list(lines)
    return lines[0] if len(lines) == 1 else "\n".join(f"- {line}" for line in lines)
