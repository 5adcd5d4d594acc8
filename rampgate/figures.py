"""What a rollout's looks and history add up to, as values: the one place where
the comment, the job's summary and the dashboard count."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from rampgate.evidence import Look, Sample
from rampgate.machine.events import HookProgressed, Judged
from rampgate.machine.state import ActionKind, Phase, Reason, Refused, State, Verb
from rampgate.plan import WHOLE, RolloutPlan, Strategy, percent
from rampgate.rollout import Entry, Rollout, Slot
from rampgate.wording import reach, step_name

NONE = Sample(requests=0, errors=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Both arms' requests and errors over some looks. ``dropped`` counts the intervals that compared nothing."""

    stable: Sample = NONE
    canary: Sample = NONE
    dropped: int = 0


def figures(looks: Sequence[Look]) -> Figures:
    """The sum of what was compared."""
    both = [(look.stable, look.canary) for look in looks if look.stable is not None and look.canary is not None]
    return Figures(
        stable=_sum([stable for stable, _ in both if stable]),
        canary=_sum([canary for _, canary in both if canary]),
        dropped=len(looks) - len(both),
    )


def _sum(samples: Sequence[Sample]) -> Sample:
    return Sample(
        requests=sum(sample.requests for sample in samples),
        errors=sum(sample.errors for sample in samples),
        active_users=_users([sample.active_users for sample in samples]),
        affected_users=_users([sample.affected_users for sample in samples]),
    )


def _users(counts: Sequence[int | None]) -> int | None:
    known = [one for one in counts if one is not None]
    return sum(known) if known and len(known) == len(counts) else None


def looks_of(rollout: Rollout, entries: Sequence[Entry]) -> tuple[Look, ...]:
    """The looks that counted in the rollout's last attempt."""
    judged = (one for one in entries if one.refusal is None and one.attempt == rollout.state.attempt)
    return tuple(one.event.look for one in judged if isinstance(one.event, Judged))


def of_this_step(looks: Sequence[Look]) -> tuple[Look, ...]:
    """The last looks of one step: those of the step that was judged last."""
    step = looks[-1].step if looks else 0
    kept: list[Look] = []
    for look in reversed(looks):
        if look.step != step:
            break
        kept.append(look)
    return tuple(reversed(kept))


def harm(look: Look) -> float | None:
    """The evidence of harm as a share of what reverts, from 0; ``None`` where nothing was weighed."""
    verdict = look.verdict
    return max(0.0, verdict.log_e / verdict.threshold) if verdict.threshold > 0 else None


def entered(rollout: Rollout, entries: Sequence[Entry]) -> Mapping[int, float]:
    """When each step of this attempt began: step 0 when the version was up, the others when they first widened."""
    found: dict[int, float] = {}
    for entry in entries:
        if entry.attempt != rollout.state.attempt:
            continue
        if entry.phase in _FOR_EVERYBODY:
            found.setdefault(rollout.plan.last, entry.at)
        elif entry.phase in ON_THE_RAMP:
            found.setdefault(entry.step, entry.at)
    return found


def taken_back(rollout: Rollout, entries: Sequence[Entry]) -> float | None:
    """When this attempt was taken back; ``None``: it was not."""
    mine = (entry for entry in entries if entry.attempt == rollout.state.attempt)
    return next((entry.at for entry in mine if entry.phase in _BACK), None)


ON_THE_RAMP = frozenset({Phase.DARK, Phase.PROGRESSING, Phase.WAITING, Phase.PAUSED})
_BACK = frozenset({Phase.REVERTING, Phase.REVERTED, Phase.SUPERSEDED, Phase.FAILED})
_FOR_EVERYBODY = frozenset({Phase.COMPLETING, Phase.PROMOTED})


def notable(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The history without what repeats: a look that only says again what the one before it said, or came too late."""
    kept: list[Entry] = []
    said: tuple[Phase, int, Reason | None] | None = None
    for entry in entries:
        saying = (entry.phase, entry.step, entry.because[-1].reason if entry.because else None)
        quiet = isinstance(entry.event, HookProgressed) and entry.refusal is None
        again = isinstance(entry.event, Judged) and entry.verb is Verb.HOLD and saying == said
        late = isinstance(entry.event, Judged) and entry.refusal is not None and entry.refusal.refused is Refused.STALE
        if not quiet and not again and not late:
            kept.append(entry)
            said = saying
    return tuple(kept)


def people_read(rollout: Rollout, now: float, clock_of_bake: str) -> str:
    """The canary's share as people read it: ``100 % (5 % held back until 14:20)`` at the last step; or its targets."""
    held = rollout.plan.hold_back
    on_the_last = rollout.state.step == rollout.plan.last and rollout.state.phase in ON_THE_RAMP
    if not (on_the_last and held and rollout.share == WHOLE - held):
        return reached(rollout)
    until = f" until {clock_of_bake}" if bake_ends(rollout) > now else ""
    return f"100 % ({percent(held)} held back{until})"


def reached(rollout: Rollout) -> str:
    """How far the new version reaches now; while targets are being put back, how far it may."""
    undo = next((one for one in rollout.state.actions if one.kind is ActionKind.UNDO), None)
    if undo is None or not rollout.plan.in_place:
        return reach(rollout.plan, rollout.share)
    return f"at most {reach(rollout.plan, undo.share or 0)}"


def bake_ends(rollout: Rollout) -> float:
    """When the step has baked."""
    return rollout.state.entered_at + rollout.plan.step(rollout.state.step).bake


def judged_at(plan: RolloutPlan, look: Look) -> str:
    """Where a look was, as the head of its figures: ``dark``, ``at 10 %``, ``after the switch``."""
    if look.step == 0:
        return step_name(plan, 0)
    return "after the switch" if plan.switches else f"at {reach(plan, look.share)}"


def left_to_do(rollout: Rollout, shown: Callable[[str], str] = str) -> str:
    """What waits for hands, and what that means for users; ``shown`` renders names."""
    if rollout.plan.in_place and rollout.state.pending(ActionKind.UNDO):
        return f"put targets back on {shown(rollout.stable.version or 'stable')}. Users of these are on the new version"
    parts = (f"{action.kind} {shown(rollout.slot(action.arm).name)}" for action in rollout.state.actions)
    down = f"Users are back on {shown(rollout.stable.name)}, which was not seen up"
    return f"{', '.join(parts)}. {down if not_restored(rollout) else 'Users are not affected'}"


def not_restored(rollout: Rollout) -> bool:
    """Whether what users are back on was looked at and not seen up."""
    return any(one.kind is ActionKind.PROBE and one.failed is not None for one in rollout.state.actions)


def colours(rollout: Rollout) -> tuple[tuple[Slot, str], ...]:
    """A blue-green rollout's slots, with what each runs and is now: live, dark, warm. Nothing for other strategies."""
    if rollout.plan.strategy is not Strategy.BLUE_GREEN:
        return ()
    words = _old(rollout.state, rollout.share), _new(rollout.state, rollout.share)
    versions = rollout.stable.version, rollout.version
    found = zip((rollout.stable, rollout.canary), versions, words, strict=True)
    return tuple((replace(slot, version=None if word == IDLE else runs), word) for slot, runs, word in found)


IDLE = "idle"


def _old(state: State, share: int) -> str:
    if not state.baseline:
        return "empty"
    if state.phase is Phase.PROMOTED:
        return "still to be retired" if state.pending(ActionKind.RETIRE) else IDLE
    if state.retirement_begun:
        return "being retired"
    return "warm" if share == WHOLE else "live"


def _new(state: State, share: int) -> str:
    match state.phase:
        case Phase.DEPLOYING:
            return "being deployed"
        case Phase.VERIFYING:
            return "being verified, dark"
        case Phase.REVERTING:
            return "being undone"
        case Phase.REVERTED | Phase.FAILED:
            return "still to be undone" if state.pending(ActionKind.UNDO) else IDLE
        case Phase.SUPERSEDED:
            return "the newer rollout's"
        case _:
            return "live" if share else "dark"
