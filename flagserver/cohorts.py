"""Who gets what, as people steer it: lists, segments, the preview of a cohort, and tester tokens."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from flagserver.errors import ConflictError, InvalidError, NotFoundError, StoreGoneError
from flagserver.flags import flag_not_found
from flagserver.lists import targeting
from flagserver.live import Live
from flagserver.names import environment_problems, name_problems
from flagserver.publish import NO_SHARED_RULES, salt
from flagserver.store import Store, Tx, audit, cohorts, flags
from flagserver.store.cohorts import Segment
from flagserver.store.flags import FlagRecord, Kind, Lists, UserList
from rampgate.bucketing import first_share
from rampgate.evidence import ArmName
from rampgate.flags import read
from rampgate.forcing import LONGEST, Token, mint, new_id
from rampgate.plan import SALT, SALT_ALLOWED, WHOLE
from rampgate.problem import Problem
from rampgate.wire import STRICT

MOST_LISTED = 10_000
"""Users of one list or segment. More of them are better told by a rule: each client gets the whole list."""

MOST_SEGMENTS = 50
MOST_ASKED = 1000
LONGEST_USER = 500
SHORTEST = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentWanted:
    """A segment as it shall be: users by key, and a flagd rule that finds more."""

    __pydantic_config__ = STRICT

    users: tuple[str, ...] = ()
    rule: Mapping[str, Any] | None = None


class Why(StrEnum):
    """What decides a user's variant in a preview."""

    SHARE = "share"
    LISTED = "listed"
    NO_ROLLOUT = "no_rollout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One user in a preview. ``start`` is the smallest share that includes them, in 1/100 000; ``variant`` is what
    they get now, ``None`` under a salt that is only asked about."""

    user: str
    variant: str | None
    start: int | None
    why: Why


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A cohort as it stands, or would stand under another salt. ``share`` is the canary's now."""

    flag: str
    rollout: str | None
    salt: str | None
    share: int | None
    users: tuple[Placed, ...]


class Cohorts:
    """Lists, segments and tester tokens of all environments."""

    def __init__(self, store: Store, live: Live) -> None:
        self._store = store
        self._live = live

    def lists(self, environment: str, key: str) -> Lists:
        """The flag's lists. Raises ``NotFoundError`` where there is no such flag."""
        with self._store.read() as tx:
            return _flag(tx, environment, key).lists

    def write_lists(self, environment: str, key: str, lists: Lists, *, by: str) -> Lists:
        """Replace the flag's lists, in mid-ramp too: that is their use.

        Raises:
            NotFoundError: there is no such flag.
            ConflictError: the flag has no slots.
            InvalidError: everything that is wrong with them, at once.
        """
        with self._store.write() as tx:
            cohorts.lock(tx, environment)
            self.put_lists(tx, environment, key, lists, by=by)
        self._refresh()
        return lists

    def put_lists(self, tx: Tx, environment: str, key: str, lists: Lists, *, by: str) -> None:
        """Replace the flag's lists in this transaction, which holds the lock; refuses as ``write_lists`` does."""
        before = _with_slots(tx, environment, key)
        segments = cohorts.load(tx, environment).segments
        wrong = tuple(_list_problems(lists, segments)) or tuple(_rule_problems(lists, segments))
        if wrong:
            raise InvalidError(problems=wrong)
        cohorts.save_lists(tx, environment, key, asdict(lists))
        audit.record(
            tx, actor=by, action="flag.lists_written", environment=environment, subject=key, flag=key,
            before=asdict(before.lists), after=asdict(lists),
        )  # fmt: skip

    def segments(self, environment: str) -> tuple[Segment, ...]:
        with self._store.read() as tx:
            return tuple(cohorts.load(tx, environment).segments.values())

    def segment(self, environment: str, name: str) -> Segment:
        """Raises ``NotFoundError`` where there is no such segment."""
        with self._store.read() as tx:
            return _segment(cohorts.load(tx, environment).segments, environment, name)

    def write_segment(self, environment: str, segment: Segment, *, by: str) -> tuple[Segment, bool]:
        """Make or replace a segment; returns it, and whether it is new.

        Raises:
            InvalidError: everything that is wrong with it, at once.
        """
        with self._store.write() as tx:
            cohorts.lock(tx, environment)
            is_new = self.put_segment(tx, environment, segment, by=by)
            made = replace(segment, updated_at=tx.now)
        self._refresh()
        return made, is_new

    def put_segment(self, tx: Tx, environment: str, segment: Segment, *, by: str) -> bool:
        """Make or replace a segment in this transaction, which holds the lock; refuses as ``write_segment`` does.

        Returns:
            Whether it is new.
        """
        wrong = [*environment_problems("environment", environment), *name_problems("name", segment.name)]
        wrong += _users_problems("users", segment.users)
        alone = {segment.name: segment}
        wrong += _rule_problems(Lists(canary=UserList(segments=(segment.name,))), alone, path="rule")
        if wrong:
            raise InvalidError(problems=tuple(wrong))
        before = cohorts.load(tx, environment).segments
        after = {**before, **alone}
        for flag in _users_of(tx, environment, segment.name):
            # Rules add up: what is sound alone can be too much in a flag that has others.
            if wrong := list(_rule_problems(flag.lists, after, path="rule")):
                raise InvalidError(problems=tuple(wrong))
        cohorts.save_segment(tx, environment, segment)
        found = before.get(segment.name)
        _note_segment(tx, by, "segment.written", environment, found, segment)
        return found is None

    def delete_segment(self, environment: str, name: str, *, by: str) -> None:
        """Delete a segment.

        Raises:
            NotFoundError: there is no such segment.
            ConflictError: a flag's lists name it.
        """
        with self._store.write() as tx:
            cohorts.lock(tx, environment)
            before = _segment(cohorts.load(tx, environment).segments, environment, name)
            if users := _users_of(tx, environment, name):
                text = f"Segment {name} is on the lists of {', '.join(one.key for one in users)}: take it off first."
                raise ConflictError(text, code="segment_used")
            cohorts.delete_segment(tx, environment, name)
            _note_segment(tx, by, "segment.deleted", environment, before, None)
        self._refresh()

    def preview(self, environment: str, key: str, users: tuple[str, ...], wanted: str | None) -> Preview:
        """Who of these users is in, and from which share on, from memory.

        Args:
            environment: the environment.
            key: the flag.
            users: their keys. Rules see nothing of a user but the key.
            wanted: a salt to ask about instead of the running rollout's.

        Raises:
            NotFoundError: there is no such flag.
            InvalidError: too many users, or a salt that is none.
        """
        wrong = list(_users_problems("users", users, MOST_ASKED))
        if wanted is not None and not SALT.fullmatch(wanted):
            wrong.append(Problem("salt", repr(wanted[:80]), SALT_ALLOWED))
        if wrong:
            raise InvalidError(problems=tuple(wrong))
        published = self._live.current(environment)
        compiled = published.compiled(key)
        if compiled is None:
            raise flag_not_found(environment, key)
        running = next(
            ((record, part) for record, part in self._live.ramping()
             if (record.plan.environment, record.plan.flag) == (environment, key)), None,
        )  # fmt: skip
        shuffled = f"{wanted}:" if wanted is not None else salt(running[0]) if running else None

        def place(user: str) -> Placed:
            start = None if shuffled is None else first_share(shuffled, user, WHOLE)
            if wanted is not None:
                return Placed(user=user, variant=None, start=start, why=Why.SHARE)
            found = compiled.evaluate({"targetingKey": user}, self._store.now())
            why = Why.NO_ROLLOUT if running is None else Why.LISTED if found.handpicked else Why.SHARE
            return Placed(user=user, variant=found.variant, start=start, why=why)

        return Preview(
            flag=key, rollout=running[0].id if running else None, salt=None if shuffled is None else shuffled[:-1],
            share=running[1] if running else None, users=tuple(place(user) for user in users),
        )  # fmt: skip

    def tester_token(
        self, environment: str, key: str, arm: ArmName, lasts: float, *, by: str, why: str | None
    ) -> tuple[Token, str]:
        """A token that forces its holder onto an arm of the flag's rollouts, and its text, which is kept nowhere.

        Args:
            environment: the environment.
            key: the flag.
            arm: which arm.
            lasts: for how many seconds.
            by: who asks for it.
            why: for the audit log.

        Raises:
            NotFoundError: there is no such flag.
            ConflictError: the flag has no slots.
            InvalidError: it would last too long, or hardly at all.
        """
        wrong = []
        if not SHORTEST <= lasts <= LONGEST:
            wrong.append(Problem("seconds", f"{lasts:g}", f"a number from {SHORTEST:g} to {LONGEST:g} (30 days)"))
        if why is not None and not (0 < len(why) <= 1000 and why.isprintable()):
            wrong.append(Problem("why", repr(why[:80]), "1 to 1000 printable characters"))
        if wrong:
            raise InvalidError(problems=tuple(wrong))
        with self._store.write() as tx:
            cohorts.lock(tx, environment)
            _with_slots(tx, environment, key)
            signing = cohorts.force_key(tx, environment) or cohorts.renew_force_key(tx, environment)
            token = Token(environment=environment, flag=key, arm=arm, expires=round(tx.now + lasts, 3), id=new_id())
            audit.record(
                tx, actor=by, action="tester_token.made", environment=environment, subject=token.id, flag=key, why=why,
                after={"arm": arm.value, "expires": token.expires},
            )  # fmt: skip
        self._refresh()
        return token, mint(token, signing)

    def forget_tokens(self, environment: str, *, by: str) -> None:
        """Make every tester token of the environment worthless, at once here and with the next snapshot elsewhere."""
        with self._store.write() as tx:
            cohorts.lock(tx, environment)
            if cohorts.force_key(tx, environment) is not None:
                cohorts.renew_force_key(tx, environment)
            audit.record(tx, actor=by, action="tester_token.all_revoked", environment=environment, subject=environment)
        self._refresh()

    def _refresh(self) -> None:
        try:
            self._live.refresh()
        except StoreGoneError:
            return  # The steward publishes it as soon as the store can be read.


def _flag(tx: Tx, environment: str, key: str) -> FlagRecord:
    found = flags.load(tx, environment, key)
    if found is None:
        raise flag_not_found(environment, key)
    return found


def _with_slots(tx: Tx, environment: str, key: str) -> FlagRecord:
    found = _flag(tx, environment, key)
    if found.kind is Kind.PLAIN:
        text = f"{key} is a plain flag, which has no arms: its own targeting says who gets what."
        raise ConflictError(text, code="kind_differs")
    return found


def _segment(segments: Mapping[str, Segment], environment: str, name: str) -> Segment:
    if name not in segments:
        raise NotFoundError(f"There is no segment {name} in {environment}.", code="segment_not_found")
    return segments[name]


def _users_of(tx: Tx, environment: str, segment: str) -> list[FlagRecord]:
    """The flags whose lists name the segment."""
    every = flags.all_of(tx, environment)
    return [one for one in every if segment in (*one.lists.canary.segments, *one.lists.stable.segments)]


def _list_problems(lists: Lists, segments: Mapping[str, Segment]) -> Iterator[Problem]:
    for side, listed in (("canary", lists.canary), ("stable", lists.stable)):
        yield from _users_problems(f"{side}.users", listed.users)
        if len(listed.segments) > MOST_SEGMENTS:
            yield Problem(f"{side}.segments", f"a list of {len(listed.segments)}", f"at most {MOST_SEGMENTS} segments")
        for number, name in enumerate(listed.segments[:MOST_SEGMENTS]):
            if name not in segments:
                allowed = "one of the environment's segments: " + (", ".join(segments) or "there are none")
                yield Problem(f"{side}.segments[{number}]", repr(name[:80]), allowed)
    for what in ("users", "segments"):
        both = sorted({*getattr(lists.canary, what)} & {*getattr(lists.stable, what)})
        if both:
            yield Problem(f"stable.{what}", repr(both[0][:80]), f"{what} that are not on the canary's list as well")


def _users_problems(path: str, users: tuple[str, ...], most: int = MOST_LISTED) -> Iterator[Problem]:
    if len(users) > most:
        yield Problem(path, f"a list of {len(users)}", f"at most {most} users")
        return
    for number, user in enumerate(users):
        if not 0 < len(user) <= LONGEST_USER:
            yield Problem(f"{path}[{number}]", repr(user[:80]), f"a targeting key of 1 to {LONGEST_USER} characters")
            return


def _rule_problems(lists: Lists, segments: Mapping[str, Segment], path: str = "segments") -> Iterator[Problem]:
    """What would be wrong with a flag that has these lists: only a rule of a segment can be."""
    rule = targeting("salt:", "canary", "stable", 1, lists, segments)
    body = {"state": "ENABLED", "variants": {"canary": "", "stable": ""}, "targeting": rule}
    for one in read({"flags": {"flag": body}}).problems:
        allowed = NO_SHARED_RULES if one.path.endswith(".$ref") else one.allowed
        inside = one.path.partition(".and[1]")[2]
        yield Problem(path + inside, one.value, allowed, one.hint)


def _note_segment(
    tx: Tx, by: str, action: str, environment: str, before: Segment | None, after: Segment | None
) -> None:
    record = after or before
    assert record is not None
    audit.record(
        tx, actor=by, action=action, environment=environment, subject=record.name,
        before=_audited(before), after=_audited(after),
    )  # fmt: skip


def _audited(segment: Segment | None) -> Mapping[str, Any] | None:
    return None if segment is None else {"users": segment.users, "rule": segment.rule}
