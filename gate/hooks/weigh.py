"""What hooks' answers make of a look's verdict. Pure: they hold a healthy verdict back or take it back, never more."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gate.config import HookConfig, Moment
from gate.foreign import cut
from gate.hooks.ask import Said
from rampgate.evidence import Look, VerdictReason, VerdictWord
from rampgate.machine.events import LONGEST_TEXT
from rampgate.machine.state import Phase
from rampgate.rollout import Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A hook that was asked at a look. ``said`` is ``None`` while its answer is still to come."""

    hook: HookConfig
    said: Said | None


def confirmation(rollout: Rollout, look: Look, now: float) -> Moment | None:
    """Which yes this look's verdict needs before it may widen; ``None`` where it cannot widen.

    A lock, a pause or a person's step that ends meanwhile makes the look stale, so that it cannot widen either.
    """
    state, plan = rollout.state, rollout.plan
    locked = state.is_locked(now)
    persons = state.phase is Phase.WAITING and (plan.step(state.step).confirm is not None or not state.baseline)
    if look.verdict.word is not VerdictWord.HEALTHY or state.phase is Phase.PAUSED or locked or persons:
        return None
    return Moment.CONFIRM_PROMOTION if state.step == plan.last else Moment.CONFIRM_TRAFFIC_INCREASE


def bakes(rollout: Rollout, now: float) -> bool:
    """Whether the step must last longer anyway, so that asking for a yes would be too early."""
    return now < rollout.state.entered_at + rollout.plan.step(rollout.state.step).bake


def at_look(rollout: Rollout, look: Look) -> tuple[Moment, ...]:
    """The moments that every look is, whatever its verdict. Nobody needs to be asked about what goes back anyway."""
    if look.verdict.word is VerdictWord.REGRESSED:
        return ()
    return (Moment.ROLLBACK, Moment.ROLLOUT) if rollout.state.step > 0 else (Moment.ROLLBACK,)


def weighed(look: Look, answers: Sequence[Answered], before: Sequence[Look]) -> Look:
    """The look with what the hooks made of its verdict. ``before`` are this attempt's earlier looks."""
    for one in answers:
        if one.hook.when is Moment.ROLLBACK and one.said is not None and one.said.yes:
            text = f"The hook {one.hook.name} asks to roll back: {one.said.text}."
            return _with(look, VerdictWord.REGRESSED, VerdictReason.ROLLBACK_ASKED, one.hook, text)
    failed = [one for one in answers if one.hook.when is Moment.ROLLOUT and one.said is not None and not one.said.yes]
    counted = [(one, 1 + failures(one.hook, before)) for one in failed]
    for one, times in counted:
        if times > one.hook.failure_limit:
            return _with(look, VerdictWord.REGRESSED, VerdictReason.HOOK_FAILED, one.hook, _failure(one, times))
    healthy = look.verdict.word is VerdictWord.HEALTHY
    for one, times in counted:
        word = VerdictWord.INCONCLUSIVE if healthy else look.verdict.word
        text = f"{_failure(one, times)} {look.verdict.text}"
        return _with(look, word, VerdictReason.HOOK_FAILED, one.hook, text)
    for one in answers if healthy else ():
        if one.said is None or (one.hook.when in _CONFIRM and not one.said.yes):
            answer = "has not answered yet" if one.said is None else f"does not say yes: {one.said.text}"
            text = f"Ready to go on, but the hook {one.hook.name} {answer}."
            return _with(look, VerdictWord.INCONCLUSIVE, VerdictReason.NOT_CONFIRMED, one.hook, text)
    return look


def too_early(look: Look, hook: HookConfig) -> Look:
    """A healthy look while the step still bakes: the hook is asked when that is over, so it must not widen yet."""
    text = f"Healthy so far; the hook {hook.name} is asked when the step has baked."
    return _with(look, VerdictWord.INCONCLUSIVE, VerdictReason.NOT_CONFIRMED, hook, text)


def failures(hook: HookConfig, looks: Sequence[Look]) -> int:
    """How often a rollout hook has failed, by the record."""
    verdicts = (look.verdict for look in looks)
    return sum(one.reason is VerdictReason.HOOK_FAILED and one.culprit == hook.name for one in verdicts)


_CONFIRM = frozenset({Moment.CONFIRM_TRAFFIC_INCREASE, Moment.CONFIRM_PROMOTION})


def _failure(one: Answered, times: int) -> str:
    said = one.said.text if one.said is not None else ""
    return f"The hook {one.hook.name} failed, {times} of at most {one.hook.failure_limit} times: {said}."


def _with(look: Look, word: VerdictWord, reason: VerdictReason, hook: HookConfig, text: str) -> Look:
    # Without a hook's yes no policy may widen either.
    verdict = replace(
        look.verdict, word=word, reason=reason, text=cut(text, LONGEST_TEXT), culprit=hook.name, no_harm=False
    )
    return replace(look, verdict=verdict)
