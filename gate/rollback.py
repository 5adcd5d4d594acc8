"""Back to an earlier version where no revert leads there any more: a rollout of its own, with the checkout's plan.

Which version that is, the flag's history on the server says. At once is a person's decision, recorded as theirs.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Protocol

from gate.config import Config
from gate.errors import MisuseError, RampgateError
from gate.release import Gate, Release, release
from rampgate.evidence import Look
from rampgate.machine.events import Event, Told
from rampgate.machine.state import Order, Phase
from rampgate.rollout import ROLLBACK, Answer, Rollout, Slots

_LOOKED_AT = 200


class History(Protocol):
    """What is asked of the flag server."""

    def slots(self, environment: str, flag: str) -> Slots | None: ...
    def find(
        self, *, environment: str | None = None, flag: str | None = None, limit: int = 50
    ) -> tuple[Rollout, ...]: ...


class Ears(Protocol):
    """Takes an order."""

    def post(self, rollout_id: str, event: Event, event_id: str) -> Answer: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """From the ``present`` version, which rollout ``of`` brought, to an earlier ``version``."""

    version: str
    present: str
    of: str


def way_back(server: History, environment: str, flag: str, to: str | None = None) -> WayBack:
    """The version before the present one, or the earlier one that is named.

    Raises:
        MisuseError: there is none, it was never everybody's, or a rollout is under way that can be aborted instead.
    """
    slots = server.slots(environment, flag)
    present = slots.stable.version if slots is not None else None
    if present is None:
        raise MisuseError(f"No version of {flag} is known to serve {environment}: there is nothing to go back from.")
    every = server.find(environment=environment, flag=flag, limit=_LOOKED_AT)
    under_way = next((one for one in every if not one.state.phase.is_final and not one.state.retirement_begun), None)
    if under_way is not None:
        raise MisuseError(
            f"Rollout {under_way.id} of {under_way.version} is {under_way.state.phase}.",
            do=f"`/abort`, or `rampgate abort {under_way.id}`, takes everybody back to {present} at once.",
        )
    through = [one for one in every if one.state.phase is Phase.PROMOTED or one.state.retirement_begun]
    last = next((one for one in through if one.version == present), None)
    earlier = tuple(dict.fromkeys(_versions(through, present)))
    if to is not None and to not in earlier:
        near = get_close_matches(to, earlier, n=1)
        raise MisuseError(
            f"{to} never served everybody in {environment}, as far as the flag server knows.",
            do=f"Name one of {', '.join(earlier[:10]) or 'none'}{f'; did you mean {near[0]}?' if near else '.'}",
        )
    before = to or (last.stable.version if last is not None else None) or next(iter(earlier), None)
    if before is None:
        raise MisuseError(f"The flag server knows of no version of {flag} in {environment} before {present}.")
    return WayBack(version=before, present=present, of=last.id if last is not None else present)


def _versions(through: Iterable[Rollout], present: str) -> Iterable[str]:
    """Every version that served everybody before, the latest first."""
    for one in through:
        for version in (one.version, one.stable.version):
            if version is not None and version != present:
                yield version


def asked_for(back: WayBack, by: str, reason: str | None = None) -> Release:
    """The release that goes back. The same way back asked for twice is one rollout.

    A version that had regressed, or was aborted, is taken again only with a ``reason``.
    """
    return Release(key=f"{ROLLBACK}{back.of}:{back.version}"[:300], version=back.version, by=by, override=reason)


def roll_back(
    gate: Gate, config: Config, wanted: Release, begun: Callable[[Rollout], None], *, at_once: bool = False
) -> Rollout:
    """Drive a rollback to its end: by the plan's steps, or ``at_once`` to everybody, as soon as it is up and verified.

    Raises:
        FlagServerRefusedError: the server will not start it.
        FlagServerUnreachableError: the server cannot be reached, or was silent for too long.
    """
    if at_once:
        told = AtOnce(server=gate.server, by=wanted.by, reason=wanted.override or "", inner=gate.report, say=gate.say)
        gate = replace(gate, report=told)
    return release(gate, config, wanted, begun)


@dataclass(slots=True, kw_only=True)
class AtOnce:
    """Gives the order to complete, in a person's name, once for each attempt in which the version is up."""

    server: Ears
    by: str
    inner: Callable[[Rollout, tuple[Look, ...]], None]
    reason: str = ""
    say: Callable[[str], None] = print
    said: set[int] = field(default_factory=set)

    def __call__(self, rollout: Rollout, looks: tuple[Look, ...]) -> None:
        self.inner(rollout, looks)
        state = rollout.state
        if not state.up or not state.phase.is_judged or state.attempt in self.said:
            return
        self.said.add(state.attempt)
        event = Told(order=Order.COMPLETE, by=self.by, text=f"back at once. {self.reason}".strip())
        try:
            answer = self.server.post(rollout.id, event, f"rollback:{state.attempt}")
        except RampgateError as error:
            self.said.discard(state.attempt)
            self.say(f"The order to go back at once was not heard, and is given again: {error}")
            return
        if answer.refusal is not None:
            self.say(f"It goes by the plan's steps: {answer.refusal.text}")
