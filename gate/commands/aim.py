"""Which rollout, flag and environment a comment means."""

from dataclasses import dataclass
from difflib import get_close_matches

from gate.commands import wording
from gate.commands.desk import Desk, Reply, asked_back
from gate.commands.parse import Command
from gate.commands.permissions import Comment
from gate.report import replies
from rampgate.rollout import Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What a command is about: its rollouts under way, and else the newest finished one of each flag and environment.

    ``command`` has its environment told apart from the reason. A finished one is asked too, for it answers as it
    answered before.
    """

    command: Command
    active: tuple[Rollout, ...]
    finished: tuple[Rollout, ...]

    @property
    def there(self) -> tuple[Rollout, ...]:
        return self.active or self.finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """One flag in one environment, and the newest rollout there that the comment is about, if any."""

    environment: str
    flag: str
    rollout: Rollout | None = None


def aim(command: Command, comment: Comment, desk: Desk) -> Aim | Reply:
    """The rollouts that a comment means, or what to answer where it names none that is there.

    Raises:
        RampgateError: nobody could say.
    """
    active, finished = _known(comment, desk)
    own = {desk.rules.environment} if desk.rules.environment else set()
    command = command.within({name for one in (*active, *finished) for name in _names(one)} | own)
    if (place := command.environment) is not None:
        known = tuple(dict.fromkeys(one.plan.environment for one in active or finished))
        active, finished = (tuple(one for one in some if place in _names(one)) for some in (active, finished))
        if not active and not finished and place not in own:
            near = get_close_matches(place, known, n=1)
            return asked_back(wording.nothing_called(place, known, near[0] if near else None))
    return Aim(command=command, active=active, finished=finished)


def spot(meant: Aim, words: str, desk: Desk) -> Spot | Reply:
    """The one flag and environment that a command is about; without rollouts, the configuration's own."""
    there = {(one.plan.environment, one.plan.flag): one for one in reversed(meant.there)}
    if len(there) > 1:
        return which(words, tuple(there.values()), desk)
    for one in there.values():
        return Spot(environment=one.plan.environment, flag=one.plan.flag, rollout=one)
    environment, flag = meant.command.environment or desk.rules.environment, desk.rules.flag
    if environment is None or flag is None:
        return asked_back(wording.NOTHING_MEANT)
    return Spot(environment=environment, flag=flag)


def which(words: str, rollouts: tuple[Rollout, ...], desk: Desk) -> Reply:
    """Several fit and none is named."""
    return asked_back(replies.which(desk.rules.word(words), _told_apart(rollouts)))


def _known(comment: Comment, desk: Desk) -> tuple[tuple[Rollout, ...], tuple[Rollout, ...]]:
    """The rollouts of the pull request, by its number, by its merge commit or by its head; or those of the commit."""
    found: tuple[Rollout, ...] = ()
    if comment.pull_request is None:
        found = desk.flagserver.find(repository=comment.repository, sha=comment.commit)
    else:
        found = desk.flagserver.find(repository=comment.repository, pull_request=comment.pull_request)
        if not found:
            pull = desk.github.pull_request(comment.pull_request)
            # A fork's head was never released; it may only name a commit that another change brought.
            head = None if pull.from_fork else pull.head_sha
            for sha in dict.fromkeys(sha for sha in (pull.merge_sha, head) if sha):
                found = found or desk.flagserver.find(repository=comment.repository, sha=sha)
    newest: dict[tuple[str, str], Rollout] = {}
    for one in sorted(found, key=lambda one: one.created_at):
        newest[one.plan.environment, one.plan.flag] = one
    active = tuple(one for one in found if not one.state.phase.is_final)
    return active, tuple(one for one in newest.values() if one.state.phase.is_final)


def _names(rollout: Rollout) -> tuple[str, str, str]:
    """What a comment may call a rollout."""
    return rollout.plan.environment, rollout.plan.flag, rollout.id


def _told_apart(rollouts: tuple[Rollout, ...]) -> tuple[str, ...]:
    """The shortest kind of name that tells these rollouts apart."""
    for kind in zip(*(_names(one) for one in rollouts), strict=True):
        if len(set(kind)) == len(kind):
            return kind
    return tuple(one.id for one in rollouts)
