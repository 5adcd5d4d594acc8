"""What the Action runs: read the event and the inputs, choose what to do, do it, and say how it ended.

Two entry points: ``main`` for the step, ``post`` for its post run, which finishes what a cancelled step left.
"""

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, assert_never

from gate.activity import NO_COMMAND, Notice, NoticeReason, ObeyComment, RunRollout, Sweep, Validate, choose, event_of
from gate.before import looked_ahead, tell_pull_request, validated
from gate.cancelled import HURRY, Farewell, said_farewell
from gate.commands import wording
from gate.commands.answer import obey, puzzled
from gate.commands.desk import Back, Desk, Reply
from gate.commands.parse import NotACommand, NotUnderstood, parse
from gate.commands.permissions import Comment
from gate.config import CommandRules, Config, command_rules
from gate.errors import EventError, Exit, RampgateError
from gate.github.port import GitHub, Reaction
from gate.inputs import Runner
from gate.interrupted import Interrupted, catch_up, heard, listen
from gate.parting import JobEnd
from gate.release import Gate, Release, fitting, is_left_alone, left_behind, release
from gate.report import page, result
from gate.report.result import Decision
from gate.report.short import waited
from gate.runner_files import Level, RunnerFiles, annotation
from gate.step import Step, say
from gate.telling import Telling
from gate.world import RealClock
from rampgate import figures
from rampgate.machine.state import Phase, Reason
from rampgate.rollout import Entry, Rollout

_DETACHED = "detached"
"""The state by which the post run knows that the rollout is a follower's."""


def main() -> NoReturn:
    """The step. Exit codes: docs/exit-codes.md."""
    listen()
    sys.exit(_guarded(run))


def post() -> NoReturn:
    """The step's post run: nothing to do after an orderly end; after a cancelled one, finish what it left."""
    sys.exit(_guarded(finish))


def _guarded(what: "Callable[[Step], Exit]") -> int:
    """Run, and turn whatever ends it into an exit code, the outputs and one annotation."""
    step: Step | None = None
    try:
        step = Step.begin(os.environ)
        catch_up()
        return int(what(step))
    except Interrupted as cancelled:
        heard()
        if step is not None and not step.handed_on:
            text = "The job was cancelled before it had anything to tell."
            _hand_on(step, result.outputs_without(Decision.NOTHING, Reason.CANCELLED.value, text))
        return int(cancelled.exit)
    except RampgateError as error:
        say(annotation(Level.ERROR, str(error), title="Rampgate"))
        _failed(step, error)
        return int(error.exit)
    except Exception as error:
        text = "".join(traceback.format_exception_only(error)).strip()
        say(annotation(Level.ERROR, f"A fault in Rampgate itself: {text}", title="Rampgate"))
        say(traceback.format_exc())
        _failed(step, RampgateError(text))
        return int(Exit.FAULT)


def _failed(step: Step | None, error: RampgateError) -> None:
    path = os.environ.get("GITHUB_OUTPUT")
    files = step.files if step else RunnerFiles(output_path=Path(path) if path else None)
    for name, value in result.outputs_of_error(error).items():
        files.output(name, value)


def _read_event(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EventError(
            f"The event file {path} cannot be read: {error}.", do="Set GITHUB_EVENT_PATH to it."
        ) from error


def run(step: Step) -> Exit:
    """Choose and do."""
    event = event_of(_read_event(step.runner.event_path))
    activity = choose(step.runner, step.inputs, event)
    match activity:
        case RunRollout():
            return run_rollout(step, activity)
        case ObeyComment():
            return obey_comment(step, activity)
        case Sweep():
            return sweep(step)
        case Validate():
            return validate(step, activity)
        case Notice():
            return _noticed(step, activity)
        case _:
            assert_never(activity)


def _noticed(step: Step, notice: Notice) -> Exit:
    say(annotation(Level.NOTICE, notice.text, title="Rampgate"))
    _hand_on(step, result.outputs_without(Decision.NOTHING, notice.reason, notice.text))
    return Exit.DONE


def validate(step: Step, activity: Validate) -> Exit:
    """Look at the configuration, and where the flag server is given, at what the sources answer and what is seen."""
    config = step.config()
    asked = step.server if step.may_ask and not activity.foreign else None
    found = validated(config, str(step.inputs.config), asked, step.means, say)
    if activity.pull_request is not None and found.lines:
        tell_pull_request(step.github(), activity.pull_request, config, found, say)
    return _noticed(step, Notice(reason=NoticeReason.VALIDATED, text=f"{step.inputs.config} is in order."))


def run_rollout(step: Step, activity: RunRollout) -> Exit:
    """Release a version: from dark to promoted, or back."""
    config, runner = step.config(), step.runner
    found = looked_ahead(config, str(step.inputs.config), step.server, step.means(), say)
    wanted = Release(
        key=f"{runner.repository}:{runner.run_id}:{activity.sha}",
        version=activity.version,
        by=f"@{runner.actor}",
        sha=activity.sha,
        repository=runner.repository,
        pull_request=activity.pull_request or _pull_request_of(step, activity.sha),
        run_url=runner.run_url,
        ref=runner.ref or None,
        repository_id=runner.repository_id,
    )
    return _released(step, config, wanted, found.brief)


def _released(step: Step, config: Config, wanted: Release, outlook: tuple[str, ...] = ()) -> Exit:
    ends = step.job_end()
    ends.foretell(config.plan)
    return _ended(step, *_driven(step, config, lambda gate, begun: release(gate, config, wanted, begun), ends, outlook))


def _driven(
    step: Step,
    config: Config,
    drive: Callable[[Gate, Callable[[Rollout], None]], Rollout],
    ends: JobEnd,
    outlook: tuple[str, ...] = (),
) -> tuple[Rollout, tuple[Entry, ...]]:
    """Drive as ``drive`` does, tell people of it, and leave in good order when the job is cancelled.

    Returns the rollout as it ended, and its history as far as it could be read.
    """
    telling = step.telling(config, outlook)
    begun: list[Rollout] = []

    def begin(rollout: Rollout) -> None:
        begun.append(rollout)
        step.files.state("rollout", rollout.id)

    try:
        gate = step.gate(config, telling, ends)
        ended = drive(gate, begin)
        telling.close()
        return ended, _history(step, telling, ended)
    except Interrupted:
        heard()
        if begun:
            _left(step, gate, telling.newest[0] if telling.newest else begun[-1], telling)
        else:
            telling.close(HURRY)
        raise
    except BaseException:
        telling.close()
        raise


def _history(step: Step, telling: Telling, ended: Rollout) -> tuple[Entry, ...]:
    try:
        return step.server.entries(ended.id)
    except RampgateError:
        # How it ended is known all the same.
        return telling.entries


def _left(step: Step, gate: Gate, rollout: Rollout, telling: Telling) -> None:
    """The last words of a cancelled job: to the flag server, to the workflow, and to people, in five seconds."""
    farewell, rollout = said_farewell(gate, rollout, step.inputs.on_cancel, say)
    if farewell is Farewell.DETACHED:
        step.files.state(_DETACHED, "true")
    reason = Reason.DETACHED if farewell is Farewell.DETACHED else Reason.CANCELLED
    goes_on = result.decision_of(rollout) is Decision.UNFINISHED
    outputs = result.outputs(
        rollout, telling.looks, telling.entries, server=step.server.url, reason=reason if goes_on else None
    )
    if not step.handed_on:
        _hand_on(step, outputs)
    telling.hurry(rollout, HURRY)


def _ended(step: Step, rollout: Rollout, entries: tuple[Entry, ...]) -> Exit:
    looks = figures.looks_of(rollout, entries)
    decision = result.decision_of(rollout)
    handed_over = decision is Decision.UNFINISHED
    reason = Reason.DETACHED if handed_over else None
    _hand_on(step, result.outputs(rollout, looks, entries, server=step.server.url, reason=reason))
    say(page.headline(rollout, rollout.now))
    if handed_over:
        step.files.state(_DETACHED, "true")
        text = f"A follower goes on with rollout {rollout.id}; it is not promoted yet."
        say(annotation(Level.NOTICE, text, title="Rampgate"))
        return Exit.DONE
    return result.exit_of(decision, fail_on_revert=step.inputs.fail_on_revert)


def _hand_on(step: Step, outputs: Mapping[str, str]) -> None:
    step.handed_on = True
    for name, value in outputs.items():
        step.files.output(name, value)


def _pull_request_of(step: Step, sha: str) -> int | None:
    try:
        return step.github().pull_request_of(sha)
    except RampgateError as error:
        say(f"The commit's pull request is not known, so none is told: {error}")
        return None


def obey_comment(step: Step, activity: ObeyComment) -> Exit:
    """Obey a command in a comment, and where nobody drives, do what it leads to."""
    github = step.github()
    rules = rules_for(step, github)
    words = parse(activity.body, rules.prefix)
    if isinstance(words, NotACommand):
        return _noticed(step, NO_COMMAND)
    comment = _comment(step.runner, activity)
    if isinstance(words, NotUnderstood):
        reply = puzzled(words, comment, github)
    else:
        reply = obey(words, comment, Desk(github=github, flagserver=step.server, rules=rules))
    say(reply.text)
    if reply.unsent:
        text = f"GitHub did not take the answer, which stands above. {reply.unsent}"
        say(annotation(Level.WARNING, text, title="Rampgate"))
    refused = reply.reaction in (Reaction.REFUSED, Reaction.CONFUSED) or any(not one.obeyed for one in reply.results)
    refused = refused or reply.denied is not None
    reason = reply.denied.denial.value if reply.denied else "refused" if refused else "obeyed"
    if reply.back is None:
        _hand_on(step, result.outputs_without(Decision.REFUSED if refused else Decision.OBEYED, reason, reply.text))
    _do_what_is_left(step, reply)
    return Exit.DONE if reply.back is None else _go_back(step, reply.back, comment, github)


def rules_for(step: Step, github: GitHub) -> CommandRules:
    """The rules as the default branch has them: no pull request's head can change who may do what.

    The environment is the input's, where it is given: a file need not name one.
    """
    path = str(step.inputs.config)
    try:
        text = github.file(path)
        rules = command_rules(text, where=path) if text is not None else CommandRules()
        return replace(rules, environment=step.inputs.environment or rules.environment)
    except RampgateError as error:
        say(annotation(Level.WARNING, f"Only orders that make things safer are obeyed. {error}", title="Rampgate"))
        return CommandRules(unreadable=str(error))


def _go_back(step: Step, back: Back, comment: Comment, github: GitHub) -> Exit:
    """Start the rollout that `/rollback` asks for, with the hooks of this checkout, and drive it to its end."""
    wanted = Release(
        key=back.key,
        version=back.version,
        by=back.by,
        sha=back.sha,
        repository=comment.repository,
        pull_request=comment.pull_request,
        run_url=step.runner.run_url,
        repository_id=step.runner.repository_id,
    )
    try:
        return _released(step, step.config(back.environment), wanted)
    except RampgateError as error:
        with suppress(RampgateError):
            github.reply(comment.thread, wording.did_not_begin(str(error)), comment.id)
        raise


def _comment(runner: Runner, activity: ObeyComment) -> Comment:
    return Comment(
        id=activity.comment_id,
        repository=runner.repository,
        pull_request=activity.pull_request,
        commit=activity.commit,
        created_at=activity.created_at,
        author=activity.author,
        author_is_user=activity.author_is_user,
        sender=activity.sender,
        edited=activity.edited,
        actor=runner.actor,
        triggering_actor=runner.triggering_actor,
    )


def _do_what_is_left(step: Step, reply: Reply) -> None:
    undone = {one.rollout.id for one in reply.results if one.rollout.state.phase is Phase.REVERTING}
    for rollout_id in dict.fromkeys((*reply.needs_driver, *sorted(undone))):
        if is_left_alone(step.server, rollout_id, RealClock()):
            _finish(step, rollout_id)


def sweep(step: Step) -> Exit:
    """Finish what other runs have left: rollouts that wait for hands."""
    config = step.config()
    left = left_behind(step.server, config.plan.environment, config.plan.flag)
    unfinished = 0
    for one in left:
        try:
            _finish(step, one.id)
        except RampgateError as error:
            unfinished += 1
            say(annotation(Level.ERROR, f"Rollout {one.id} still waits for hands. {error}", title="Rampgate"))
    text = waited(len(left))
    say(text)
    decision, reason = (
        (Decision.UNFINISHED, Reason.NEEDS_HANDS) if unfinished else (Decision.NOTHING, NoticeReason.SWEPT)
    )
    _hand_on(step, result.outputs_without(decision, reason.value, text))
    return result.exit_of(decision)


def finish(step: Step) -> Exit:
    """The post run: take up the rollout that this step began, where nobody drives it and something is left."""
    rollout_id = step.environ.get("STATE_rollout", "")
    if rollout_id and not step.environ.get(f"STATE_{_DETACHED}"):
        _finish(step, rollout_id)
    return Exit.DONE


def _finish(step: Step, rollout_id: str) -> None:
    rollout = step.server.rollout(rollout_id)
    if not rollout.state.needs_hands and not _is_mine(step, rollout):
        return
    config = fitting(step.config(rollout.plan.environment), rollout)

    def drive(gate: Gate, begun: Callable[[Rollout], None]) -> Rollout:
        begun(rollout)
        return gate.drive(rollout)

    ended, _ = _driven(step, config, drive, step.job_end())
    say(page.headline(ended, ended.now))


def _is_mine(step: Step, rollout: Rollout) -> bool:
    """Whether this very run still holds the lease of a rollout that goes nowhere but back."""
    lease = rollout.state.lease
    mine = lease is not None and lease.holder == step.holder
    return mine and bool(rollout.state.actions) and rollout.share == 0


if __name__ == "__main__":
    if sys.argv[1:] == ["post"]:
        post()
    main()
