"""What the judge remembers from poll to poll: plain values that can be stored as JSON and taken up again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from gate.judge.alone import Alone
from gate.judge.counters import NOTHING, Batch, Tally
from gate.judge.further import Further
from gate.judge.harm import Harm
from gate.judge.limits import Held
from gate.judge.promotion import Promotion
from gate.judge.traffic import Traffic
from gate.judge.weather import Weather
from rampgate.criteria import JudgeSettings
from rampgate.evidence import Sample, VerdictReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Where the rollout stands when a reading is judged.

    ``step`` 0 is the dark one; ``share`` is the canary's, in 1/100 000 of all users; ``last`` marks the last step;
    traffic counts for this step from ``settled_at`` (seconds since the epoch) on.
    """

    step: int
    share: int
    last: bool
    settled_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Why the canary was found to have regressed, in the words of that moment. It is not taken back."""

    reason: VerdictReason
    text: str
    culprit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeState:
    """Everything seen so far, as far as it matters.

    ``harm`` to ``alarm`` outlive steps; ``tally`` to ``absences`` belong to the step and share at hand. ``further`` and
    ``held`` stand beside the settings' metrics and limits. ``users``: affected users are counted, not requests.
    ``polls`` counts intervals with traffic, ``clean`` those without harm or gap in one stretch, ``absences`` the polls
    that a canary never seen was waited for. ``seen``: the canary has had a series in this rollout.
    ``even``: the flag splits the users; where they follow machines, a balancer does as it likes.
    """

    settings: JudgeSettings
    steps: int
    planned_polls: int
    hold_back: bool = True
    even: bool = True
    harm: Harm = field(default_factory=Harm)
    traffic: Traffic = field(default_factory=Traffic)
    alone: Alone = field(default_factory=Alone)
    weather: Weather = field(default_factory=Weather)
    further: tuple[Further, ...] = ()
    held: tuple[Held, ...] = ()
    users: bool = True
    seen: bool = False
    alarm: Alarm | None = None
    step: int = 0
    share: int = 0
    promotion: Promotion
    tally: Tally = field(default_factory=Tally)
    batch: Batch = field(default_factory=Batch)
    stable: Sample = NOTHING
    canary: Sample = NOTHING
    polls: int = 0
    clean: int = 0
    absences: int = 0


def to_json(state: JudgeState) -> dict[str, Any]:
    """The state as JSON's own types; ``from_json`` gives the same state back."""
    return asdict(state)


def from_json(document: Mapping[str, Any]) -> JudgeState:
    """Take up a stored state. Raises ``ValueError``, naming the place, for a document that is not one."""
    state: JudgeState = _read(JudgeState, document, "state")
    return state


def _read(wanted: Any, value: Any, path: str) -> Any:
    if is_dataclass(wanted) and isinstance(wanted, type):
        return _read_fields(wanted, value, path)
    origin, options = get_origin(wanted), get_args(wanted)
    if origin in (Union, UnionType):
        if value is None and NoneType in options:
            return None
        (inner,) = (option for option in options if option is not NoneType)
        return _read(inner, value, path)
    if origin is tuple and isinstance(value, list | tuple):
        inner = options[:1] * len(value) if options[-1] is Ellipsis else options
        if len(inner) == len(value):
            return tuple(_read(one, item, path) for one, item in zip(inner, value, strict=True))
    elif isinstance(wanted, type) and not isinstance(value, list | tuple | Mapping | NoneType):
        accepts: tuple[type, ...] = (int, float) if wanted is float else (wanted,)
        if isinstance(value, accepts) and (wanted is bool or not isinstance(value, bool)):
            return wanted(value)
        if isinstance(value, str) and issubclass(wanted, str):
            return wanted(value)
    raise ValueError(f"{path}: {value!r:.80} is not allowed: {getattr(wanted, '__name__', wanted)}.")


def _read_fields(wanted: type, value: Any, path: str) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"{path}: {value!r:.80} is not allowed: an object.")
    hints = get_type_hints(wanted)
    names = [one.name for one in fields(wanted)]
    if odd := value.keys() ^ set(names):
        raise ValueError(f"{path}: {', '.join(sorted(odd))}: missing or unknown; a {wanted.__name__} has {names}.")
    return wanted(**{name: _read(hints[name], value[name], f"{path}.{name}") for name in names})
