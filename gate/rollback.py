"""Back to an earlier version where no revert leads there any more: a rollout of its own, with the checkout's plan.

Which version that is, the flag's history on the server says. At once is a person's decision, recorded as theirs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Protocol

from gate.config import Config
from gate.earlier import History, named, past
from gate.errors import MisuseError, RampgateError
from gate.release import Gate, Release, release
from gate.report.prose import order
from rampgate.evidence import Look
from rampgate.machine.events import Event, Told
from rampgate.machine.state import Order
from rampgate.rollout import ROLLBACK, Answer, Rollout


class Ears(Protocol):
    """Takes an order."""

    def post(self, rollout_id: str, event: Event, event_id: str) -> Answer: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """From the ``present`` version, which rollout ``of`` brought, to an earlier ``version`` (``sha``: where known)."""

    version: str
    present: str
    of: str
    sha: str | None = None


def way_back(server: History, environment: str, flag: str, to: str | None = None) -> WayBack:
    """The version before the present one, or the earlier one that ``to`` names, whole or by the beginning of its SHA.

    Raises:
        MisuseError: there is none, it was never everybody's, or a rollout is under way that can be aborted instead.
    """
    found = past(server, environment, flag)
    present, under_way = found.present, found.under_way
    if present is None:
        raise MisuseError(f"No version of {flag} is known to serve {environment}: there is nothing to go back from.")
    if under_way is not None:
        abort = order(under_way, "abort")
        raise MisuseError(
            f"Rollout {under_way.id} of {under_way.version} is {under_way.state.phase}.",
            do=f"{abort}, or `rampgate abort {under_way.id}`, takes everybody back to {present} at once.",
        )
    if not found.earlier and to is None:
        raise MisuseError(f"The flag server knows of no version of {flag} in {environment} before {present}.")
    fits = found.earlier if to is None else named(to, found.earlier)
    if to is not None and len(fits) != 1:
        raise _not_one(to, environment, [one.version for one in fits], [one.version for one in found.earlier])
    to_there = fits[0]
    of = found.of.id if found.of is not None else present
    return WayBack(version=to_there.version, present=present, of=of, sha=to_there.sha)


def _not_one(to: str, environment: str, fits: Sequence[str], earlier: Sequence[str]) -> MisuseError:
    if fits:
        return MisuseError(f"{to} fits several: {', '.join(fits)}.", do="Say more of it.")
    near = get_close_matches(to, earlier, n=1)
    return MisuseError(
        f"{to} never served everybody in {environment}, as far as the flag server knows.",
        do=f"Name one of {', '.join(earlier[:10]) or 'none'}{f'; did you mean {near[0]}?' if near else '.'}",
    )


def asked_for(back: WayBack, by: str, reason: str | None = None) -> Release:
    """The release that goes back. The same way back asked for twice is one rollout.

    A version that had regressed, or was aborted, is taken again only with a ``reason``.
    """
    key = f"{ROLLBACK}{back.of}:{back.version}"[:300]
    return Release(key=key, version=back.version, by=by, sha=back.sha, override=reason)


def roll_back(
    gate: Gate, config: Config, wanted: Release, begun: Callable[[Rollout], None], *, at_once: bool = False
) -> Rollout:
    """Drive a rollback to its end: by the plan's steps, or ``at_once`` to everybody, as soon as it is up and verified,
    and though the present version is down.

    Raises:
        FlagServerRefusedError: the server will not start it.
        FlagServerUnreachableError: the server cannot be reached, or was silent for too long.
    """
    if at_once:
        told = AtOnce(server=gate.server, by=wanted.by, reason=wanted.override or "", inner=gate.report, say=gate.say)
        gate, wanted = replace(gate, report=told), replace(wanted, at_once=True)
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
