"""A rollout's looks as a file: JSON lines, the plans first, then one look a line, as the flag server recorded them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from gate.errors import MisuseError
from rampgate.evidence import Look
from rampgate.machine.events import Created, Judged, Resumed
from rampgate.plan import RolloutPlan
from rampgate.rollout import Entry, Rollout

_PLAN: TypeAdapter[RolloutPlan] = TypeAdapter(RolloutPlan)
_LOOK: TypeAdapter[Look] = TypeAdapter(Look)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A rollout's looks, oldest first, by attempt; ``plans`` says by what each was judged, where that is known."""

    rollout: str
    plans: Mapping[int, RolloutPlan]
    attempts: tuple[tuple[int, tuple[Look, ...]], ...]

    @property
    def looks(self) -> tuple[Look, ...]:
        """Those of all attempts, one after the other."""
        return tuple(look for _, looks in self.attempts for look in looks)

    def plan(self, attempt: int) -> RolloutPlan:
        """By what this attempt was judged.

        Raises:
            MisuseError: nobody wrote it down.
        """
        if attempt not in self.plans:
            raise MisuseError(
                f"By which plan attempt {attempt} of {self.rollout} was judged is not known.",
                why="A later attempt brought a plan of its own, and the record is from before plans were kept.",
            )
        return self.plans[attempt]


def of_entries(rollout: Rollout, entries: Sequence[Entry]) -> Record:
    """What a history holds: the looks that the flag server accepted, and the plan of each attempt."""
    found: dict[int, list[Look]] = {}
    plans: dict[int, RolloutPlan] = {}
    for entry in entries:
        if entry.refusal is not None:
            continue
        if isinstance(entry.event, Judged):
            found.setdefault(entry.event.attempt, []).append(entry.event.look)
        elif isinstance(entry.event, Created | Resumed) and entry.event.plan is not None:
            plans[entry.attempt] = entry.event.plan
    plans[rollout.state.attempt] = rollout.plan
    return _record(rollout.id, plans, found)


def _record(rollout: str, plans: Mapping[int, RolloutPlan], found: Mapping[int, Sequence[Look]]) -> Record:
    attempts = tuple((number, tuple(found[number])) for number in sorted(found))
    return Record(rollout=rollout, plans=plans, attempts=attempts)


def lines(record: Record) -> Iterator[str]:
    """The record's lines, without their ends."""
    plans = [
        {"attempt": number, "plan": _PLAN.dump_python(plan, mode="json")}
        for number, plan in sorted(record.plans.items())
    ]
    yield json.dumps({"rollout": record.rollout, "plan": plans[-1]["plan"], "attempts": plans})
    for number, looks in record.attempts:
        for look in looks:
            yield json.dumps({"attempt": number, "look": _LOOK.dump_python(look, mode="json")})


def read(file: Path) -> Record:
    """A record from a file.

    Raises:
        MisuseError: it cannot be read, or is no record; with the line.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MisuseError(f"{file}: {getattr(error, 'strerror', None) or 'it is not text'}.") from error
    rows = [(number, row) for number, row in enumerate(text.splitlines(), start=1) if row.strip()]
    if not rows:
        raise MisuseError(f"{file}: it is empty.", do="Write one with `rampgate replay ROLLOUT --export FILE`.")
    found: dict[int, list[Look]] = {}
    place = 1
    try:
        head = json.loads(rows[0][1])
        rollout, plan = str(head["rollout"]), _PLAN.validate_python(head["plan"])
        known = [(int(one["attempt"]), one["plan"]) for one in head.get("attempts", ())]
        for place, row in rows[1:]:  # noqa: B007 - the message names it
            line = json.loads(row)
            found.setdefault(int(line["attempt"]), []).append(_LOOK.validate_python(line["look"]))
        place = 1
        plans = {number: _PLAN.validate_python(one) for number, one in known if one is not None}
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise MisuseError(f"{file}, line {place}: {where}: {first['msg']}.") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        do = "Write one with `rampgate replay ROLLOUT --export FILE`."
        raise MisuseError(f"{file}, line {place}: it is no line of a record.", do=do) from error
    # A record that tells no attempts apart is of one plan.
    return _record(rollout, plans if known else dict.fromkeys(found, plan), found)
