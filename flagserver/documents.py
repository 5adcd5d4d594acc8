"""An environment as one document: its flags as flagd has them, and beside them what flagd does not know.

That is under ``rampgate``: kinds, slots and lists by flag, and the segments. A flagd file without it is one, too.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter

from flagserver.cohorts import Cohorts, SegmentWanted
from flagserver.errors import InvalidError
from flagserver.flags import Change, Flags, inlined
from flagserver.names import NAME, NAME_ALLOWED, environment_problems
from flagserver.publish import SERVER_WRITES
from flagserver.store import Store, Tx, cohorts, flags
from flagserver.store.cohorts import Segment
from flagserver.store.flags import NOBODY_LISTED, FlagRecord, Kind, Lists
from flagserver.wire import encode, parse
from rampgate.flags import Flag, FlagSet, read, write_flag
from rampgate.problem import Problem
from rampgate.rollout import Slots
from rampgate.wire import STRICT

FLAGD_SCHEMA = "https://flagd.dev/schema/v0/flags.json"

BESIDE = "rampgate"
"""The property beside flagd's; flagd leaves it aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfFlag:
    """What flagd does not know of a flag."""

    __pydantic_config__ = STRICT

    kind: Kind = Kind.PLAIN
    slots: Slots | None = None
    lists: Lists = NOBODY_LISTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What flagd does not know of an environment."""

    __pydantic_config__ = STRICT

    flags: Mapping[str, OfFlag] = field(default_factory=dict)
    segments: Mapping[str, SegmentWanted] = field(default_factory=dict)


BESIDE_FLAGD: TypeAdapter[Beside] = TypeAdapter(Beside)


class Documents:
    """The environments of one store, in and out."""

    def __init__(self, store: Store, flags_of: Flags, cohorts_of: Cohorts) -> None:
        self._store = store
        self._flags = flags_of
        self._cohorts = cohorts_of

    def take(self, environment: str, document: object, *, by: str) -> tuple[int, int]:
        """Write every flag, list and segment of a document: all of them, or none where one has a problem.

        A flag that the server knows as one with slots keeps them, and takes only the state, the variants, the metadata
        and the lists of the document. What the document does not name stays.

        Returns:
            How many flags and how many segments were written.

        Raises:
            InvalidError: everything that is wrong with the document, at once.
            ConflictError: a rollout holds one of the flags, and what would change is frozen.
        """
        found = read(document)
        wrong = [*found.problems, *environment_problems("environment", environment)]
        wrong += [
            Problem(f"flags.{key}", repr(key[:80]), NAME_ALLOWED) for key in found.flags if not NAME.fullmatch(key)
        ]
        beside = _beside(document, found, wrong)
        if wrong:
            raise InvalidError(problems=tuple(wrong))
        with self._store.write() as tx:
            cohorts.lock(tx, environment)
            wrong = list(self._write(tx, environment, found, beside, by))
            if wrong:
                raise InvalidError(problems=tuple(wrong))
        self._flags.refresh()
        return len(found.flags), len(beside.segments)

    def give(self, environment: str, *, plain: bool = False) -> Mapping[str, Any]:
        """The environment as a document; ``plain``: with what flagd knows alone."""
        with self._store.read() as tx:
            shown = {one["key"]: one["flag"] for one in self._flags.every(tx, environment)}
            records, segments = flags.all_of(tx, environment), cohorts.load(tx, environment).segments
        document = {"$schema": FLAGD_SCHEMA, "flags": shown}
        of_flags = {one.key: _of_flag(one) for one in records if one.slots is not None}
        of_segments = {one.name: {"users": list(one.users), "rule": one.rule} for one in segments.values()}
        if plain or not (of_flags or of_segments):
            return document
        return {**document, BESIDE: {"flags": of_flags, "segments": of_segments}}

    def _write(self, tx: Tx, environment: str, found: FlagSet, beside: Beside, by: str) -> Iterator[Problem]:
        for name, wanted in sorted(beside.segments.items()):
            segment = Segment(name=name, users=wanted.users, rule=wanted.rule)
            try:
                self._cohorts.put_segment(tx, environment, segment, by=by)
            except InvalidError as error:
                yield from _within(f"{BESIDE}.segments.{name}", error)
        for key, flag in sorted(found.flags.items()):
            known = beside.flags.get(key)
            try:
                written = self._write_flag(tx, environment, key, flag, known, by)
            except InvalidError as error:
                yield from error.problems
                continue
            if known is None or written.kind is Kind.PLAIN or known.lists == written.lists:
                continue
            try:
                self._cohorts.put_lists(tx, environment, key, known.lists, by=by)
            except InvalidError as error:
                yield from _within(f"{BESIDE}.flags.{key}.lists", error)

    def _write_flag(self, tx: Tx, environment: str, key: str, flag: Flag, known: OfFlag | None, by: str) -> FlagRecord:
        before = flags.lock(tx, environment, key)
        keeps = before is not None and before.kind is not Kind.PLAIN
        change = Change() if keeps or known is None else Change(kind=known.kind, slots=known.slots)
        body = write_flag(flag)
        if "targeting" in body:
            body["targeting"] = inlined(body["targeting"], flag.evaluators)
        if keeps or change.kind in (Kind.ROLLOUT, Kind.RELEASE):
            body = {name: value for name, value in body.items() if name not in SERVER_WRITES}
        change = Change(kind=change.kind, slots=change.slots, flag=body)
        return self._flags.put(tx, environment, key, before, change, by)


def _beside(document: object, found: FlagSet, wrong: list[Problem]) -> Beside:
    given = document.get(BESIDE) if isinstance(document, Mapping) else None
    if given is None:
        return Beside()
    try:
        beside = parse(BESIDE_FLAGD, encode(given), BESIDE)
    except InvalidError as error:
        wrong += error.problems
        return Beside()
    for key, one in beside.flags.items():
        if key not in found.flags:
            allowed = "one of the flags of this document"
            wrong.append(Problem(f"{BESIDE}.flags", repr(key[:80]), allowed))
        if one.kind is Kind.PLAIN and (one.lists != NOBODY_LISTED or one.slots is not None):
            allowed = "rollout or release: a plain flag has neither slots nor lists"
            wrong.append(Problem(f"{BESIDE}.flags.{key}.kind", one.kind.value, allowed))
    return beside


def _of_flag(record: FlagRecord) -> Mapping[str, Any]:
    assert record.slots is not None
    return {"kind": record.kind.value, "slots": asdict(record.slots), "lists": asdict(record.lists)}


def _within(path: str, error: InvalidError) -> Iterator[Problem]:
    for one in error.problems:
        yield Problem(f"{path}.{one.path}", one.value, one.allowed, one.hint)
