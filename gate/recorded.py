"""A rollout's looks as a file: JSON lines, the plan first, then one look a line, as the flag server recorded them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from gate.errors import MisuseError
from rampgate.evidence import Look
from rampgate.machine.events import Judged
from rampgate.plan import RolloutPlan
from rampgate.rollout import Entry

_PLAN: TypeAdapter[RolloutPlan] = TypeAdapter(RolloutPlan)
_LOOK: TypeAdapter[Look] = TypeAdapter(Look)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A rollout's plan and looks, oldest first, by attempt."""

    rollout: str
    plan: RolloutPlan
    attempts: tuple[tuple[int, tuple[Look, ...]], ...]

    @property
    def looks(self) -> tuple[Look, ...]:
        """Those of all attempts, one after the other."""
        return tuple(look for _, looks in self.attempts for look in looks)


def of_entries(rollout: str, plan: RolloutPlan, entries: Sequence[Entry]) -> Record:
    """What a history holds: the looks that the flag server accepted."""
    found: dict[int, list[Look]] = {}
    for entry in entries:
        if isinstance(entry.event, Judged) and entry.refusal is None:
            found.setdefault(entry.event.attempt, []).append(entry.event.look)
    return Record(
        rollout=rollout, plan=plan, attempts=tuple((number, tuple(found[number])) for number in sorted(found))
    )


def lines(record: Record) -> Iterator[str]:
    """The record's lines, without their ends."""
    yield json.dumps({"rollout": record.rollout, "plan": _PLAN.dump_python(record.plan, mode="json")})
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
        for place, row in rows[1:]:  # noqa: B007 - the message names it
            line = json.loads(row)
            found.setdefault(int(line["attempt"]), []).append(_LOOK.validate_python(line["look"]))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise MisuseError(f"{file}, line {place}: {where}: {first['msg']}.") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        do = "Write one with `rampgate replay ROLLOUT --export FILE`."
        raise MisuseError(f"{file}, line {place}: it is no line of a record.", do=do) from error
    attempts = tuple((attempt, tuple(found[attempt])) for attempt in sorted(found))
    return Record(rollout=rollout, plan=plan, attempts=attempts)
