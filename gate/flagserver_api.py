"""The flag server, as the gate speaks to it: rollouts, events, telemetry, flags. The only file that knows its HTTP.

Every call answers, or raises `FlagServerUnreachableError` (try again) or `FlagServerRefusedError` (no use).
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import quote, urlsplit

import requests
from pydantic import TypeAdapter, ValidationError
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from gate.errors import FlagServerRefusedError, FlagServerUnreachableError
from gate.fetch import CutAdapter, Cutter
from gate.places import Cohort, TesterToken
from rampgate.evidence import ArmName
from rampgate.followers import Follower, Following
from rampgate.locks import HeldLock, NewLock
from rampgate.machine.events import Event
from rampgate.plan import seconds as duration
from rampgate.problem import Problem
from rampgate.rollout import (
    Answer,
    Entry,
    Minute,
    NewRollout,
    Posted,
    RefusedVersion,
    Rollout,
    Slots,
    Telemetry,
    Waiting,
)

T = TypeVar("T")


class _Form(Generic[T]):
    """What reads and writes values of a kind. Made when first used: a start must not wait for all that may come."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    @cached_property
    def made(self) -> TypeAdapter[T]:
        return TypeAdapter(self._kind)


_LARGEST = 8 * 1024 * 1024
_ROLLOUT: _Form[Rollout] = _Form(Rollout)
_ANSWER: _Form[Answer] = _Form(Answer)
_NEW: _Form[NewRollout] = _Form(NewRollout)
_POSTED: _Form[Posted] = _Form(Posted)
_TELEMETRY: _Form[Telemetry] = _Form(Telemetry)
_SLOTS: _Form[Slots | None] = _Form(Slots | None)
_ROLLOUTS: _Form[tuple[Rollout, ...]] = _Form(tuple[Rollout, ...])
_NEW_LOCK: _Form[NewLock] = _Form(NewLock)
_LOCK: _Form[HeldLock] = _Form(HeldLock)
_LOCKS: _Form[tuple[HeldLock, ...]] = _Form(tuple[HeldLock, ...])
_REFUSED: _Form[tuple[RefusedVersion, ...]] = _Form(tuple[RefusedVersion, ...])
_FOLLOWING: _Form[Following] = _Form(Following)
_FOLLOWERS: _Form[tuple[Follower, ...]] = _Form(tuple[Follower, ...])
_WAITING: _Form[tuple[Waiting, ...]] = _Form(tuple[Waiting, ...])
_MINUTES: _Form[tuple[Minute, ...]] = _Form(tuple[Minute, ...])
_COHORT: _Form[Cohort] = _Form(Cohort)
_TESTER_TOKEN: _Form[TesterToken] = _Form(TesterToken)
_MOMENT: _Form[float | None] = _Form(float | None)
_TEXT: _Form[str] = _Form(str)
_JSON: _Form[dict[str, Any]] = _Form(dict[str, Any])
_ENTRIES: _Form[tuple[Entry, ...]] = _Form(tuple[Entry, ...])

# All that the gate sends is idempotent by key or event id, so a lost answer may be asked for again.
_AGAIN = Retry(total=2, connect=2, read=1, status=0, backoff_factor=0.1, allowed_methods=None, redirect=False)

_ENDED = frozenset({"unknown_key", "key_expired", "slow_down", "session_over", "session_bound"})
"""Refusals after which a key that does not last may be followed by another."""


class Access(Protocol):
    """Where keys come from that do not last. Raises what a call to the flag server may raise."""

    def key(self) -> str:
        """The key to use."""

    def renewed(self, key: str) -> str:
        """Another one, in place of this, which is refused."""


class FlagServer:
    """A flag server at ``url``, spoken to with an operator's ``key``, or with keys that do not last.

    ``timeout`` is the longest wait for one whole answer, to its last byte and with every retry, in seconds, beyond
    what a long poll asked for.
    """

    def __init__(self, url: str, key: str | Access, *, timeout: float = 5.0) -> None:
        self.url = url.rstrip("/")
        self._host = urlsplit(self.url).netloc
        self._timeout = timeout
        self._key = key

    def hurried(self, timeout: float) -> "FlagServer":
        """The same flag server for a caller that has only so many seconds for each call."""
        return FlagServer(self.url, self._key, timeout=timeout)

    def slots(self, environment: str, flag: str) -> Slots | None:
        """The flag's two slots; ``None`` for a flag that the server does not know yet."""
        try:
            body = self._call("GET", _flag(environment, flag))
        except FlagServerRefusedError as error:
            if error.code == "flag_not_found":
                return None
            raise
        return _read(_SLOTS, body.get("slots"))

    def create(self, new: NewRollout) -> Rollout:
        """Ask for a rollout; the same key gives the same one."""
        return _read(_ROLLOUT, self._call("POST", "/v1/rollouts", _NEW.made.dump_python(new, mode="json")))

    def rollout(self, rollout_id: str, *, after: int | None = None, wait: float = 0.0) -> Rollout:
        """The rollout as it stands; with ``after``, once its revision differs, or after ``wait`` seconds."""
        query: dict[str, Any] = {} if after is None else {"after": after, "wait": round(min(max(wait, 0.0), 30.0), 3)}
        path = f"/v1/rollouts/{quote(rollout_id, safe='')}"
        return _read(_ROLLOUT, self._call("GET", path, query=query, patience=max(wait, 0.0)))

    def find(
        self,
        *,
        environment: str | None = None,
        flag: str | None = None,
        repository: str | None = None,
        pull_request: int | None = None,
        sha: str | None = None,
        active: bool | None = None,
        needs_hands: bool | None = None,
        since: float | None = None,
        limit: int = 50,
    ) -> tuple[Rollout, ...]:
        """Rollouts that fit, newest first."""
        wanted = {
            "environment": environment,
            "flag": flag,
            "repository": repository,
            "pull_request": pull_request,
            "sha": sha,
            "active": None if active is None else str(active).lower(),
            "needs_hands": None if needs_hands is None else str(needs_hands).lower(),
            "since": since,
            "limit": limit,
        }
        query = {name: value for name, value in wanted.items() if value is not None}
        return _read(_ROLLOUTS, self._call("GET", "/v1/rollouts", query=query).get("rollouts"))

    def post(self, rollout_id: str, event: Event, event_id: str) -> Answer:
        """Tell the server what happened. The same ``event_id`` again repeats the first answer."""
        body = _POSTED.made.dump_python(Posted(id=event_id, event=event), mode="json")
        return _read(_ANSWER, self._call("POST", f"/v1/rollouts/{quote(rollout_id, safe='')}/events", body))

    def entries(self, rollout_id: str, after: int = 0) -> tuple[Entry, ...]:
        """The history after this entry, oldest first; all of it unless told."""
        path = f"/v1/rollouts/{quote(rollout_id, safe='')}/events"
        found: list[Entry] = []
        while True:
            body = self._call("GET", path, query={"after": after, "limit": 500})
            page = _read(_ENTRIES, body.get("entries"))
            found.extend(page)
            if len(page) < 500:
                return tuple(found)
            after = page[-1].number

    def telemetry(self, rollout_id: str) -> Telemetry:
        """What apps counted on each arm since the attempt began."""
        return _read(_TELEMETRY, self._call("GET", f"/v1/rollouts/{quote(rollout_id, safe='')}/telemetry"))

    def lock(self, new: NewLock) -> HeldLock:
        """Make a lock; the same key gives the same one. Every rollout that it covers has heard of it on return."""
        return _read(_LOCK, self._call("POST", "/v1/locks", _NEW_LOCK.made.dump_python(new, mode="json")))

    def locks(self, environment: str | None = None, flag: str | None = None) -> tuple[HeldLock, ...]:
        """The locks that hold or will: all that the key may see, or those that cover the environment, the flag."""
        query = {name: value for name, value in (("environment", environment), ("flag", flag)) if value is not None}
        return _read(_LOCKS, self._call("GET", "/v1/locks", query=query).get("locks"))

    def unlock(self, lock_id: str, *, by: str, reason: str | None = None) -> None:
        """Lift a lock; every rollout that it covered has heard of it on return."""
        query = {"by": by} if reason is None else {"by": by, "reason": reason}
        self._call("DELETE", f"/v1/locks/{quote(lock_id, safe='')}", query=query)

    def refused_versions(self, environment: str, flag: str) -> tuple[RefusedVersion, ...]:
        """The versions that the flag refuses since they regressed or were aborted, the latest first."""
        return _read(_REFUSED, self._call("GET", f"{_flag(environment, flag)}/refused").get("refused"))

    def allow(self, environment: str, flag: str, version: str, *, by: str, reason: str) -> None:
        """Let a refused version be tried again: the next request for it starts a rollout."""
        query = {"version": version, "by": by, "reason": reason}
        self._call("DELETE", f"{_flag(environment, flag)}/refused", query=query)

    def queue(self, environment: str, flag: str) -> tuple[Waiting, ...]:
        """Who waits for the flag, in the order in which they will come."""
        body = self._call("GET", "/v1/queue", query={"environment": environment, "flag": flag})
        return _read(_WAITING, body.get("waiting"))

    def leave_queue(self, environment: str, flag: str, key: str) -> None:
        """Give up the place in the line that the request under this key has."""
        self._call("DELETE", "/v1/queue", query={"environment": environment, "flag": flag, "key": key})

    def followers(self, environment: str, flag: str) -> tuple[Follower, ...]:
        """Who would go on with a rollout of the flag that its gate hands over."""
        body = self._call("GET", "/v1/followers", query={"environment": environment, "flag": flag})
        return _read(_FOLLOWERS, body.get("followers"))

    def follow(self, environment: str, name: str, following: Following) -> None:
        """Say that a follower is there; to be said again every few seconds."""
        body = _FOLLOWING.made.dump_python(following, mode="json")
        self._call("PUT", f"/v1/followers/{quote(name, safe='')}", body, query={"environment": environment})

    def unfollow(self, environment: str, name: str) -> None:
        """Say that a follower is gone."""
        self._call("DELETE", f"/v1/followers/{quote(name, safe='')}", query={"environment": environment})

    def minutes(self, environment: str, flag: str, *, since: float, until: float | None = None) -> tuple[Minute, ...]:
        """What apps counted of a flag by whole minute and variant, oldest first; moments are the server's seconds."""
        path = f"{_flag(environment, flag)}/telemetry"
        found: list[Minute] = []
        following: float | None = since
        while following is not None:
            body = self._call("GET", path, query={"since": following, **({} if until is None else {"until": until})})
            page = _read(_MINUTES, body.get("minutes"))
            found.extend(page)
            following = _read(_MOMENT, body.get("next"))
        return tuple(found)

    def cohort(self, environment: str, flag: str, users: Sequence[str], salt: str | None) -> Cohort:
        """Where these users stand in the flag's rollout, or would stand under this salt."""
        body = {"users": list(users), "salt": salt}
        return _read(_COHORT, self._call("POST", f"{_flag(environment, flag)}/cohort", body))

    def tester_token(self, environment: str, flag: str, arm: ArmName, lasts: float, why: str | None) -> TesterToken:
        """A token that forces its holder onto an arm of the flag's rollout, for so many seconds."""
        body = {"arm": arm.value, "seconds": lasts, "why": why}
        return _read(_TESTER_TOKEN, self._call("POST", f"{_flag(environment, flag)}/tester-tokens", body))

    def _call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, Any] | None = None,
        patience: float = 0.0,
    ) -> dict[str, Any]:
        if isinstance(self._key, str):
            return self._once(method, path, body, query=query, patience=patience, key=self._key)
        key = self._key.key()
        try:
            return self._once(method, path, body, query=query, patience=patience, key=key)
        except FlagServerRefusedError as error:
            if error.code not in _ENDED:
                raise
        key = self._key.renewed(key)
        return self._once(method, path, body, query=query, patience=patience, key=key)

    def _once(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, Any] | None = None,
        patience: float = 0.0,
        key: str,
        again: Retry = _AGAIN,
    ) -> dict[str, Any]:
        cutter = Cutter()
        seconds = self._timeout + patience
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            with (
                self._session(cutter, seconds, again) as session,
                session.request(
                    method,
                    self.url + path,
                    json=body,
                    headers=headers,
                    params=dict(query or {}),
                    timeout=(self._timeout, seconds),
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                text = response.raw.read(_LARGEST + 1, decode_content=True)
                status = response.status_code
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            if cutter.is_cut:
                raise self._late(seconds) from error
            raise FlagServerUnreachableError(
                f"The flag server at {self.url} gave no answer: {_short(error)}"
            ) from error
        if cutter.is_cut:  # a cut connection may look like the end of the body
            raise self._late(seconds)
        if len(text) > _LARGEST:
            raise FlagServerUnreachableError(f"{self.url}: the answer is larger than {_LARGEST} bytes")
        return _body(self.url, status, text)

    @contextmanager
    def _session(self, cutter: Cutter, seconds: float, again: Retry) -> Iterator[requests.Session]:
        """Connections for one call, all cut once its seconds are over: a server that drips bytes holds nobody."""
        timer = threading.Timer(seconds, cutter.cut)
        timer.daemon = True
        with requests.Session() as session:
            # The key goes to this server alone: no proxy's netrc may replace it, and no redirect is followed.
            session.trust_env = False
            session.headers["User-Agent"] = "rampgate"
            for scheme in ("http://", "https://"):
                session.mount(scheme, CutAdapter(cutter, again))
            timer.start()
            try:
                yield session
            finally:
                timer.cancel()
                timer.join()
                cutter.close()

    def _late(self, seconds: float) -> FlagServerUnreachableError:
        return FlagServerUnreachableError(f"The flag server at {self.url} gave no answer within {duration(seconds)}")


def _flag(environment: str, flag: str) -> str:
    return f"/v1/{quote(environment, safe='')}/flags/{quote(flag, safe='')}"


def exchange(url: str, token: str, environment: str | None) -> str:
    """Exchange a job's token for the key of a session in this environment. A token is good for one exchange.

    Raises:
        FlagServerRefusedError: the job is not admitted; with every claim that fails.
        FlagServerUnreachableError: there was no answer. The token may be spent.
    """
    wanted = {"token": token} if environment is None else {"token": token, "environment": environment}
    once = _AGAIN.new(read=0)
    answer = FlagServer(url, "", timeout=10.0)._once("POST", "/v1/session", wanted, key="", again=once)
    return _read(_TEXT, answer.get("session"))


def _body(url: str, status: int, text: bytes) -> dict[str, Any]:
    try:
        body = _JSON.made.validate_json(text) if text else {}
    except ValidationError as error:
        # A proxy's page, or a server that is not ours.
        raise FlagServerUnreachableError(f"{url} answered {status} with something that is not JSON") from error
    if 200 <= status < 300:
        return body
    if 300 <= status < 400:
        raise FlagServerUnreachableError(f"{url} answered {status}, a redirect: give the server's own address")
    code, message = str(body.get("error", f"http_{status}")), str(body.get("message", "no message"))
    # A good key is never told to slow down: whoever is has a wrong one, or a session that is over.
    if status >= 500 or (status == 429 and code != "slow_down"):
        raise FlagServerUnreachableError(f"{url} answered {status}: {message}")
    place = body.get("place")
    position = place.get("position") if isinstance(place, dict) else None
    raise FlagServerRefusedError(
        code=code, message=message, problems=_problems(body.get("problems")),
        position=position if isinstance(position, int) else None,
    )  # fmt: skip


def _problems(found: object) -> tuple[Problem, ...]:
    if not isinstance(found, list):
        return ()
    return tuple(
        Problem(str(one.get("path")), str(one.get("value")), str(one.get("allowed")), one.get("hint"))
        for one in found
        if isinstance(one, dict)
    )


def _read(form: _Form[T], body: object) -> T:
    try:
        return form.made.validate_python(body, extra="ignore")  # a newer server may say more
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the answer"
        raise FlagServerUnreachableError(f"the flag server's answer cannot be read: {where}: {first['msg']}") from error


def _short(error: Exception) -> str:
    """What went wrong, without the wrapping of the libraries in between."""
    inner: Exception = error
    for _ in range(8):
        cause = getattr(inner, "reason", None) or inner.__cause__ or inner.__context__
        if not isinstance(cause, Exception):
            break
        inner = cause
    text = (inner.strerror if isinstance(inner, OSError) else None) or str(inner) or type(inner).__name__
    return text if len(text) <= 300 else text[:299] + "…"
