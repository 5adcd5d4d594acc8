"""What a request that carries tester tokens is answered: the same in the flag server and in every client. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rampgate.evaluation import CompiledFlag, Reason, Resolution
from rampgate.evidence import ArmName
from rampgate.forcing import BETWEEN, Ignored, Token, about, wanted
from rampgate.wire import FORCE

FORCED = "forced"
"""In an answer's metadata: the arm that a token forced the request onto."""

IGNORED = "force"
"""In an answer's metadata: why the token that the request carried was not followed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """A flag's rollout, as far as testers go. ``key`` verifies their tokens; ``None``: there is nothing to visit."""

    environment: str
    stable: str
    canary: str
    key: str | None = field(repr=False)


def carried(context: Mapping[str, object], *others: str) -> str:
    """The tokens that come with a request: the context's attribute first, then what its header and cookie hold."""
    own = context.get(FORCE)
    return BETWEEN.join(one for one in (own, *others) if isinstance(one, str) and one)


def visit(flag: CompiledFlag, found: Resolution, text: str, arms: Arms | None, now: float) -> Resolution:
    """What the flag says to a request that carries tokens.

    A forced arm is served while its slot is up, whatever the share is; a disabled flag stays disabled.

    Args:
        flag: the flag.
        found: what it says without them.
        text: the tokens.
        arms: the flag's rollout; ``None``: it is in none.
        now: seconds since the epoch.
    """
    if found.reason is Reason.DISABLED:
        return found
    why: Ignored | Token | None
    if arms is None or arms.key is None:
        why = Ignored.NOTHING_UP if about(text, flag.key) else None
    else:
        why = wanted(text, arms.key, environment=arms.environment, flag=flag.key, now=now)
    if isinstance(why, Token) and arms is not None:
        variant = arms.canary if why.arm is ArmName.CANARY else arms.stable
        served = flag.serve(variant, Reason.TARGETING_MATCH, handpicked=True)
        if served is not None:
            return replace(served, metadata={**served.metadata, FORCED: why.arm.value})
        why = Ignored.NOTHING_UP
    return found if why is None else replace(found, metadata={**found.metadata, IGNORED: f"ignored: {why}"})
