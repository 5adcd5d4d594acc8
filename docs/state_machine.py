"""Writes docs/state-machine.md from the machine itself: `decide` is tried with every event in every state it reaches.

States are told apart by what decides about them, not by times and numbers. Run it with `make docs`; a test fails when
the page is not current.
"""

from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rampgate.evidence import Counters, Look, Reading, Verdict, VerdictReason, VerdictWord
from rampgate.machine import State, begin, decide, share
from rampgate.machine.events import (
    Attached,
    Cancelled,
    CarriedOut,
    Created,
    DeadlinePassed,
    Deployed,
    Detached,
    Event,
    HookFailed,
    HookProgressed,
    Judged,
    Locked,
    Resumed,
    RetirementBegun,
    Superseded,
    Told,
    Unlocked,
    Verified,
)
from rampgate.machine.state import NOT_RESUMABLE, ActionKind, Deadline, Lock, Order, Phase, Reason, Refused, running
from rampgate.plan import (
    WHOLE,
    Budget,
    Confirm,
    FlagKind,
    OnGateLost,
    Policy,
    RolloutPlan,
    Step,
    Strategy,
    UsersFollow,
)

PAGE = Path(__file__).with_name("state-machine.md")

RULES = """\
## Rules in words

1. **Silence means stable.** Whatever stops speaking, a deadline passes, and users are on the stable version.
2. **The work renews the lease.** Where a step is judged, only an accepted look does; where a hook runs, its progress
   does, up to the hook's own deadline. Attaching gives a lease once; attaching again and again keeps none.
3. **Due deadlines come first**, oldest first, before any event. A late verdict never revives a lapsed lease, and where
   a lapse and a widening policy have both passed, nothing widens.
4. **Three things widen**: a healthy verdict on this step, revision and attempt; a named person; a policy that the plan
   names, recorded as such. A silent source, missing traffic, a lost gate, a pause and a hold never do.
5. **A lock stops all three**, and stops no revert. While it holds, the clocks of going on stand still, since nobody
   could obey them: those of the step, of a confirmation and of too little data. Those of silence run on: the lease,
   missing traffic, a silent source, a pause, a hold. Judging goes on, and a new rollout waits dark.
6. **A revert is accepted in every phase before the retirement begins**, with a stale revision, a lock or a dead gate.
   The users' share changes in the same transaction; hooks come after.
7. **The canary stays up for `staleAfter` after a revert**, since clients that are cut off follow within that time,
   and for `drainTimeout` more, since what they asked for takes its time. In a
   rolling rollout users follow the machines, so those are put back at once, newest first.
8. **Until the retirement begins the old version is warm**; from then on everything completes forward, and the way
   back is a new rollout.
9. **A step ends by its own time-out**, however often it was held and resumed. Only a person's pause and a lock add
   to it.
10. **A person's pause needs a person**; a hold by policy ends when evidence is back, unless an answer was what was
    missing; a hold for a lost gate ends when a gate attaches.
11. **Numbers keep hands apart.** Every lease has a higher fence than all before it; reports with an older one are
    refused. Actions are numbered, and each is confirmed by its number.
12. **Actions that nobody did wait.** The rollout ends all the same, says so (`needs_hands`), and any gate may attach
    later.
13. **A rollout that ended for want of something is resumed**: first step, new evidence, and no second deployment where
    nobody has touched the first. After a regression or an abort the version is refused.
14. **A successor takes the slot over**: the older rollout lets go of its lease and its actions, and its users are on
    stable.
15. **A first deploy** has nothing to be compared with: it goes to everybody, or asks first if the plan says so.
"""

_ORDERS = {
    Order.ADVANCE: "/promote",
    Order.COMPLETE: "/promote full",
    Order.REVERT: "/abort",
    Order.PAUSE: "/pause",
    Order.RESUME: "/resume",
}
_DONE = {
    ActionKind.DEPLOY: "deployed",
    ActionKind.VERIFY: "verified",
    ActionKind.ROLL: "batch replaced",
    ActionKind.RETIRE: "retired",
    ActionKind.UNDO: "undone",
    ActionKind.PROBE: "probed",
}


def plans() -> Iterator[tuple[RolloutPlan, bool]]:
    """Plans that between them use every policy, strategy and kind, each with whether a stable version is up."""
    steps = (Step(share=10_000, bake=0.0), Step(share=WHOLE, bake=0.0))
    plain = RolloutPlan(flag="shop", environment="production", steps=steps)
    yield plain, True
    for policy in (Policy.HOLD, Policy.REVERT, Policy.ASK, Policy.PROMOTE_IF_NO_EVIDENCE):
        narrow = Policy.HOLD if policy is Policy.PROMOTE_IF_NO_EVIDENCE else policy
        then = Policy.PROMOTE if policy is Policy.PROMOTE_IF_NO_EVIDENCE else Policy.REVERT
        budgets = {word: Budget(seconds=60.0, then=narrow) for word in plain.budgets}
        budgets[VerdictWord.INCONCLUSIVE] = Budget(seconds=60.0, then=policy)
        asking = tuple(replace(step, confirm=Confirm(then=Policy.HOLD if narrow is policy else then)) for step in steps)
        yield replace(plain, budgets=budgets, on_gate_lost=OnGateLost.HOLD), True
        yield replace(plain, budgets=budgets, steps=asking), True
    yield replace(plain, steps=tuple(replace(step, confirm=Confirm()) for step in steps)), True
    yield replace(plain, strategy=Strategy.BLUE_GREEN, steps=steps[1:], hold_back=0), True
    yield replace(plain, strategy=Strategy.ROLLING, users_follow=UsersFollow.DEPLOYMENT), True
    yield replace(plain, kind=FlagKind.RELEASE), True
    yield plain, False
    yield replace(plain, first_deploy=Policy.ASK), False


@dataclass(slots=True)
class Found:
    """What was seen on the way: which event leads where, what each deadline does, what is refused, what widens."""

    states: int = 0
    moves: dict[tuple[Phase, Phase], set[str]] = field(default_factory=lambda: defaultdict(set))
    deadlines: dict[tuple[Deadline, Policy, Phase], set[Phase]] = field(default_factory=lambda: defaultdict(set))
    refusals: dict[tuple[Refused, str], set[Phase]] = field(default_factory=lambda: defaultdict(set))
    widens: dict[tuple[str, str], set[tuple[Phase, Phase]]] = field(default_factory=lambda: defaultdict(set))


def explore() -> Found:
    """Breadth first through everything that the plans can reach."""
    found = Found()
    for plan, baseline in plans():
        now = 1_000_000.0
        first = begin(plan, Created(baseline=baseline, by="@ann"), now).state
        seen, waiting = {_known_by(first)}, deque([(first, now)])
        while waiting:
            state, now = waiting.popleft()
            for label, event, at in events(plan, state, now):
                after = _follow(found, plan, state, (label, event), at)
                if after is not None and (key := _known_by(after)) not in seen:
                    seen.add(key)
                    waiting.append((after, at))
        found.states += len(seen)
    return found


def _follow(found: Found, plan: RolloutPlan, state: State, said: tuple[str, Event], at: float) -> State | None:
    label, event = said
    lease = state.deadlines.get(Deadline.LEASE)
    if lease is not None and event != DeadlinePassed(what=Deadline.LEASE):
        # The gate was heard a moment ago, else its lapse would have come first.
        state = replace(state, deadlines={**state.deadlines, Deadline.LEASE: replace(lease, at=at + 1)})
    transition = decide(plan, state, event, at)
    after = transition.state
    if transition.refusal is not None:
        found.refusals[(transition.refusal.refused, label)].add(state.phase)
        return None
    if isinstance(event, DeadlinePassed):
        found.deadlines[(event.what, running(state)[event.what].then, state.phase)].add(after.phase)
    if after.phase is not state.phase or after.step > state.step:
        found.moves[(state.phase, after.phase)].add(label)
    if share(plan, after) > share(plan, state) and after.widened_by is not None:
        found.widens[(label, after.widened_by)].add((state.phase, after.phase))
    return after


def _known_by(state: State) -> Hashable:
    """What decides about a state: everything but times, numbers and texts."""
    judged: Hashable = None
    if state.phase.is_judged:
        judged = (state.step, state.lock is None, state.back_to, state.held_by, state.hurried)
    seen = state.word in (VerdictWord.HEALTHY, VerdictWord.INCONCLUSIVE) if state.phase is Phase.WAITING else None
    return (
        state.phase, state.lease is None, state.deployed, state.baseline, state.retirement_begun, state.ends_as,
        state.reason in NOT_RESUMABLE, state.phase is Phase.PAUSED and state.reason is Reason.CONFIRM_EXPIRED,
        frozenset(state.deadlines), tuple((one.kind, one.failed is None) for one in state.actions), judged, seen,
    )  # fmt: skip


def events(plan: RolloutPlan, state: State, now: float) -> Iterator[tuple[str, Event, float]]:
    """Every event that could come now, in the words of the page, with its moment."""
    for what, due in running(state).items():
        yield f"{what} passes", DeadlinePassed(what=what), max(now, due.at)
    fence = state.lease.fence if state.lease else state.fence
    with_locks = plan.strategy is Strategy.BLUE_GREEN or state.step == 0
    yield from ((label, event, now) for label, event in _said(state, fence, now, with_locks=with_locks))
    yield from ((label, event, now) for label, event in _judged(plan, state, fence))
    yield from ((label, event, now) for label, event in _reported(state, fence))
    if state.phase is Phase.COMPLETING and not state.retirement_begun:
        late = state.since + plan.scale_down_delay - 0.001
        yield "retirement begun too early", RetirementBegun(fence=fence), min(late, max(now, late))


def _said(state: State, fence: int, now: float, *, with_locks: bool) -> Iterator[tuple[str, Event]]:
    for order, label in _ORDERS.items():
        yield label, Told(order=order, by="@ann")
        if order is not Order.REVERT:
            yield f"{label} with a stale revision", Told(order=order, by="@ann", revision=state.revision - 1)
    yield "attach", Attached(holder="gate")
    yield "attach by another gate", Attached(holder="another gate")
    yield "detach", Detached(fence=fence)
    yield "resume by a later run", Resumed(by="a later run")
    yield "cancelled job", Cancelled(fence=fence)
    yield "superseded", Superseded(by="a newer rollout")
    yield "retirement begun", RetirementBegun(fence=fence)
    if with_locks:
        yield "lock", Locked(lock=Lock(reason="incident", by="@ann", until=now + 1e6))
        yield "unlock", Unlocked(by="@ann")
    yield "cancelled job with an old fence", Cancelled(fence=fence - 1)


def _judged(plan: RolloutPlan, state: State, fence: int) -> Iterator[tuple[str, Event]]:
    seen, nothing = share(plan, state), Counters(requests=0, errors=0)
    reading = Reading(at=0.0, stable=nothing, canary=nothing)
    for word in VerdictWord:
        verdict = Verdict(word=word, reason=VerdictReason.NOT_WORSE, text="As drawn.", no_harm=True)
        look = Look(at=0.0, step=state.step, share=seen, reading=reading, stable=None, canary=None, verdict=verdict)
        event = Judged(fence=fence, revision=state.revision, attempt=state.attempt, look=look)
        yield f"verdict {word}", event
        yield f"verdict {word} on a stale revision", replace(event, revision=state.revision - 1)
        yield f"verdict {word} with an old fence", replace(event, fence=fence - 1)
        if word is VerdictWord.HEALTHY and state.step > 0 and state.phase.is_judged:
            yield "verdict healthy without a reading", replace(event, look=replace(look, reading=None))
            yield "verdict healthy at another share", replace(event, look=replace(look, share=seen - 1))


def _reported(state: State, fence: int) -> Iterator[tuple[str, Event]]:
    kinds = {ActionKind.DEPLOY: Deployed, ActionKind.VERIFY: Verified}
    for one in state.actions:
        yield _DONE[one.kind], kinds.get(one.kind, CarriedOut)(fence=fence, action=one.number)
        yield f"{one.kind} fails", HookFailed(fence=fence, action=one.number, text="It broke.")
        yield f"{one.kind} at work", HookProgressed(fence=fence, action=one.number)
    yield "report of another action", CarriedOut(fence=fence, action=state.last_action + 1)


def page(found: Found) -> str:
    """The page, from what was found and the rules in words."""
    return "\n".join(
        [
            "# The state machine",
            "",
            "<!-- Written by docs/state_machine.py: change it there, then `make docs`. -->",
            "",
            "What one pure function, `rampgate.machine.decide`, makes of every event. The tables were found by trying",
            f"it: every event in each of the {found.states} kinds of states that {len(list(plans()))} plans reach.",
            "",
            RULES.strip(),
            "",
            "## Phases",
            "",
            "The roads that lead forward or stop. Those that lead back are in the next table.",
            "",
            *_diagram(found),
            "",
            "## What ends a rollout early",
            "",
            *_backward(found),
            "",
            "## What widens",
            "",
            "The canary's share rises by these events and no others.",
            "",
            *_widening(found),
            "",
            "## Deadlines",
            "",
            "Each runs with a policy of its plan. With no event but the clock, every rollout ends.",
            "",
            *_deadlines(found),
            "",
            "## Refusals",
            "",
            "A refused event changes nothing; the answer says why and how things stand.",
            "",
            *_refusals(found),
            "",
        ]
    )


_BACK = (Phase.REVERTING, Phase.SUPERSEDED)


def _diagram(found: Found) -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {Phase.DEPLOYING}"
    for (before, after), labels in _in_order(found.moves):
        if after not in _BACK:
            yield f"    {before} --> {after}: {'<br/>'.join(_few(labels))}"
    for phase in Phase:
        if phase.is_final:
            yield f"    {phase} --> [*]"
    yield "```"


def _backward(found: Found) -> Iterator[str]:
    yield "| in | to `reverting` | to `superseded` |"
    yield "| --- | --- | --- |"
    for phase in Phase:
        reverting, superseded = (found.moves.get((phase, after), set()) for after in _BACK)
        if reverting or superseded:
            yield f"| `{phase}` | {_listed(reverting)} | {_listed(superseded)} |"


def _widening(found: Found) -> Iterator[str]:
    yield "| event | recorded as widened by | from → to |"
    yield "| --- | --- | --- |"
    for (label, by), roads in sorted(found.widens.items()):
        ways = ", ".join(f"`{a}` → `{b}`" for a, b in sorted(roads))
        yield f"| {label} | {by} | {ways} |"


def _deadlines(found: Found) -> Iterator[str]:
    yield "| deadline | policy | in → leads to |"
    yield "| --- | --- | --- |"
    grouped: dict[tuple[Deadline, Policy], list[str]] = defaultdict(list)
    for (what, then, phase), ends in found.deadlines.items():
        to = " or ".join(f"`{end}`" for end in sorted(ends))
        grouped[(what, then)].append(f"`{phase}` → {to}")
    for (what, then), roads in sorted(grouped.items()):
        yield f"| `{what}` | {then} | {', '.join(sorted(roads))} |"


def _refusals(found: Found) -> Iterator[str]:
    yield "| refusal | events | in |"
    yield "| --- | --- | --- |"
    for refused in Refused:
        by_label: dict[str, set[Phase]] = defaultdict(set)
        by_phases: dict[frozenset[Phase], set[str]] = defaultdict(set)
        for (word, label), phases in found.refusals.items():
            if word is refused:
                by_label[_folded(label)] |= phases
        for label, phases in by_label.items():
            by_phases[frozenset(phases)].add(label)
        for there, labels in sorted(by_phases.items(), key=lambda item: sorted(item[1])):
            yield f"| `{refused}` | {_listed(labels)} | {_phases(there)} |"


def _phases(phases: Iterable[Phase]) -> str:
    known = [phase for phase in Phase if phase in set(phases)]
    return "every phase" if len(known) == len(Phase) else ", ".join(f"`{phase}`" for phase in known)


_REPORTS = {*_DONE.values(), *(f"{kind} {how}" for kind in ActionKind for how in ("fails", "at work"))}
_SEEN = (" with a stale revision", " on a stale revision", " with an old fence", " too early", " by another gate")
_BUDGETS = {f"{what} passes" for what in Deadline if what.startswith("budget.")}


def _folded(label: str) -> str:
    """One name for events that are refused alike."""
    return "any report of an action" if label in _REPORTS else label


def _few(labels: Iterable[str]) -> list[str]:
    """The labels, without what goes without saying: an event's variants where the event itself is there."""
    there = set(labels)
    there = {one for one in there if not any(one.endswith(how) and one.removesuffix(how) in there for how in _SEEN)}
    for how in ("", *_SEEN):
        words = {f"verdict {word}{how}" for word in VerdictWord}
        if words <= there:
            there = (there - words) | {f"any verdict{how}"}
    if there >= _BUDGETS:
        there = (there - _BUDGETS) | {"any budget passes"}
    return sorted(there)


def _listed(labels: Iterable[str]) -> str:
    return ", ".join(_few(labels)) or "-"


def _in_order(moves: Mapping[tuple[Phase, Phase], set[str]]) -> list[tuple[tuple[Phase, Phase], set[str]]]:
    order = list(Phase)
    return sorted(moves.items(), key=lambda item: (order.index(item[0][0]), order.index(item[0][1])))


if __name__ == "__main__":
    PAGE.write_text(page(explore()))
    print(f"{PAGE.name} is current.")
