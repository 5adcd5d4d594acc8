"""`/override`, `/retry` and `/rollback`: versions that are tried again, and those that are gone back to."""

import re

from gate.commands import wording
from gate.commands.aim import Aim, Spot, spot, which
from gate.commands.desk import Back, Desk, Reply, asked_back, done, refused
from gate.commands.parse import COMMANDS
from gate.commands.permissions import Comment, Denial, Denied, first_person
from gate.config import CommandName
from gate.config.rules import WITH_SECOND_PERSON
from gate.earlier import Past, is_meant, named, past
from gate.errors import GitHubError
from gate.github.port import Reaction
from rampgate.machine.state import Phase
from rampgate.rollout import ROLLBACK, Rollout

_RUN = re.compile(r"/(?P<repository>[^/]+/[^/]+)/actions/runs/(?P<id>\d{1,18})(?:/|$)")
_RESUMED = frozenset({Phase.REVERTED, Phase.FAILED, Phase.REVERTING})
"""Phases that a rollout is resumed from; out of a revert only where nobody is at work on it."""
_SLACK = 1.0
"""Seconds. GitHub tells moments in whole ones."""


def first_of_two(name: CommandName, comment: Comment, rollout: Rollout, desk: Desk) -> Denied | None:
    """Whether the command needs a second person: its author wrote the change, or started the rollout."""
    if not desk.rules.second_person or name not in WITH_SECOND_PERSON:
        return None
    others: dict[str, str | None] = {"started the rollout": rollout.by}
    for number in sorted({comment.pull_request, rollout.pull_request} - {None}, key=str):
        try:
            others[f"wrote pull request {number}"] = desk.github.pull_request(int(number or 0)).author
        except GitHubError as error:
            text = f"Whether {comment.author} wrote the change could not be found out ({error.what.rstrip('.')})."
            return Denied(denial=Denial.PERMISSION_UNKNOWN, text=text)
    return first_person(comment, others)


def override(meant: Aim, comment: Comment, desk: Desk) -> Reply:
    """Let a version that regressed or was aborted be tried again."""
    version, _, reason = meant.command.reason.partition(" ")
    if not reason.strip():
        usage = desk.rules.word(COMMANDS[CommandName.OVERRIDE].usage)
        return asked_back(f"Say which version, and why: `{usage}`.")
    where = spot(meant, CommandName.OVERRIDE, desk)
    if isinstance(where, Reply):
        return where
    known = desk.flagserver.refused_versions(where.environment, where.flag)
    fits = [one for one in known if is_meant(version, (one.version, one.sha))]
    if not fits:
        return refused(wording.not_refused(where.environment, version, known))
    if len(fits) > 1:
        return asked_back(wording.several_versions(version, [one.version for one in fits]))
    found = fits[0]
    if found.at > comment.created_at + _SLACK:
        return refused(wording.REFUSED_LATER)
    no = first_of_two(CommandName.OVERRIDE, comment, desk.flagserver.rollout(found.rollout), desk)
    if no is not None:
        return refused(f"Not done. {no.text}", no)
    by = f"@{comment.author}"
    desk.flagserver.allow(where.environment, where.flag, found.version, by=by, reason=reason.strip())
    retry = desk.rules.word(f"{CommandName.RETRY} {where.environment}")
    return done(wording.allowed(where.environment, found.version, retry))


def retry(meant: Aim, comment: Comment, desk: Desk) -> Reply:
    """Run the workflow of a release again that has ended: the run resumes the rollout (SEMANTICS 7)."""
    if not meant.there:
        return refused(wording.NOTHING_RAN)
    if len(meant.there) > 1:
        return which(CommandName.RETRY, meant.there, desk)
    rollout = meant.there[0]
    if comment.created_at + _SLACK < rollout.created_at:
        return refused(wording.not_told(rollout, wording.BEGAN_LATER))
    if rollout.state.phase is Phase.REVERTING and rollout.state.lease is not None:
        return refused(wording.still_undone(rollout))
    if rollout.state.phase not in _RESUMED:
        return refused(wording.nothing_to_retry(rollout))
    if (no := _still_refused(rollout.plan.environment, rollout.plan.flag, rollout.version, desk)) is not None:
        return no
    run_id = _run_of(rollout, comment.repository)
    if run_id is None:
        return refused(wording.no_run(rollout))
    run = desk.github.run(run_id)
    if not run.is_over:
        return refused(wording.run_goes_on(rollout, run.url))
    try:
        desk.github.run_again(run)
    except GitHubError as error:
        return asked_back(wording.press(rollout, run.url, error.what))
    return done(wording.runs_again(rollout, run.url), Reaction.BEGUN)


def _still_refused(environment: str, flag: str, version: str, desk: Desk) -> Reply | None:
    """What is answered where the flag server would refuse the version."""
    for one in desk.flagserver.refused_versions(environment, flag):
        if one.version == version:
            override = desk.rules.word(f"{CommandName.OVERRIDE} {environment} {version}")
            return refused(wording.still_refused(one, override))
    return None


def _run_of(rollout: Rollout, repository: str) -> int | None:
    found = _RUN.search(rollout.run_url or "")
    if found is None or found["repository"].casefold() != repository.casefold():
        return None
    return int(found["id"])


def rollback(meant: Aim, comment: Comment, desk: Desk) -> Reply:
    """Start a rollout back to an earlier version. Whoever runs this starts and drives it: `Reply.back`."""
    where = spot(meant, CommandName.ROLLBACK, desk)
    if isinstance(where, Reply):
        return where
    if " " in meant.command.reason:
        usage = desk.rules.word(COMMANDS[CommandName.ROLLBACK].usage)
        return asked_back(f"One version at most, after an environment that is there: `{usage}`.")
    found = past(desk.flagserver, where.environment, where.flag)
    if (one := found.under_way) is not None:
        own = one.id in {each.id for each in meant.active}
        abort = desk.rules.word(f"{CommandName.ABORT} {where.environment}") if own else f"rampgate abort {one.id}"
        return refused(wording.under_way(one, abort))
    back = _back(where, meant.command.reason, comment, found)
    if isinstance(back, Reply):
        return back
    if (no := _still_refused(where.environment, where.flag, back.version, desk)) is not None:
        return no
    text = wording.goes_back(where.environment, back.version)
    return Reply(text=text, reaction=Reaction.BEGUN, back=back, settled=True)


def _back(where: Spot, wanted: str, comment: Comment, found: Past) -> Back | Reply:
    promoted = found.earlier
    fits = named(wanted, promoted) if wanted else promoted
    if not fits:
        return refused(wording.nothing_earlier(where.environment, wanted, [one.version for one in promoted[:5]]))
    if wanted and len(fits) > 1:
        return asked_back(wording.several_versions(wanted, [one.version for one in fits]))
    return Back(
        environment=where.environment,
        flag=where.flag,
        version=fits[0].version,
        sha=fits[0].sha,
        key=f"{ROLLBACK}{comment.repository}:comment-{comment.id}:{fits[0].version}"[:300],
        by=f"@{comment.author}",
    )
