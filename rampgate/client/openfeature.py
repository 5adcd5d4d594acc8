"""A provider for OpenFeature's Python SDK: the client's answers, events and outcomes in OpenFeature's words.

Needs the extra ``openfeature``. Nothing is evaluated, fetched or counted here; that is the client's.
"""

import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import ErrorCode, ProviderFatalError, ProviderNotReadyError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata
from openfeature.track import TrackingEventDetails

from rampgate.client.answers import Details, User
from rampgate.client.flag_client import FlagClient

T = TypeVar("T")

Structure = Sequence[FlagValueType] | Mapping[str, FlagValueType]

READY_WITHIN = 10.0
"""Seconds that initialising waits for the first flags."""

LOOK_AGAIN = 0.25
"""Seconds between looks while contact is lost, and from the start to the first look: READY is said in between."""

_REASONS = {reason.value: reason for reason in Reason}
_CODES = {code.value: code for code in ErrorCode}
_SCALARS = frozenset({str, int, float, bool, type(None)})
_NO_USER: Mapping[str, object] = {}
_ANY_OBJECT: dict[str, Any] = {}

_providers: "weakref.WeakSet[RampgateProvider]" = weakref.WeakSet()


class _Said(Enum):
    """What the SDK was told last."""

    ERROR = "no flags yet"
    READY = "in contact"
    STALE = "contact is lost"


class RampgateProvider(AbstractProvider):
    """Rampgate behind OpenFeature's API. Lookups read memory, the asynchronous ones too, and never raise.

    READY follows the first flags, STALE the loss of contact, ERROR a start without contact (READY follows when it
    comes), CONFIGURATION_CHANGED every change. A tracking event is an outcome: ``track`` names the flag, or an event
    of ``outcomes``; its attributes may say ``ok`` (true unless said), ``ms`` and ``variant``.

    Args:
        client: a client of the app's, which stays open when the provider shuts down. ``None``: one is made from the
            environment, ``RAMPGATE_URL`` and so on, at each initialisation, and closed at shutdown.
        ready_within: seconds that initialising waits for the first flags where none were kept.
        outcomes: from the name of a tracking event to the flags whose outcome it is.
    """

    def __init__(
        self,
        client: FlagClient | None = None,
        *,
        ready_within: float = READY_WITHIN,
        outcomes: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__()
        self._given = client
        self._client = client
        self._ready_within = ready_within
        self._outcomes = {name: tuple(flags) for name, flags in (outcomes or {}).items()}
        self._watch: _Watch | None = None
        self._asleep = False
        _providers.add(self)

    def get_metadata(self) -> Metadata:
        return Metadata(name="rampgate")

    def initialize(self, evaluation_context: EvaluationContext) -> None:  # noqa: ARG002 - OpenFeature's name
        """Wait for the first flags; with a last good snapshot or a bootstrap at hand, do not: STALE follows unless the
        server is heard at once.

        Raises:
            ProviderFatalError: the environment names no server or no key.
            ProviderNotReadyError: no flags came in time, and none were kept. READY is said when they come.
        """
        self._stop()
        if self._client is None:
            try:
                self._client = FlagClient.from_env()
            except ValueError as error:
                raise ProviderFatalError(str(error)) from error
        ready = self._client.has_flags or self._client.ready(self._ready_within)
        self._start(_Said.READY if ready else _Said.ERROR)
        if not ready:
            raise ProviderNotReadyError(f"no flags came within {self._ready_within:g} s")

    def shutdown(self) -> None:
        """Hand in what was counted, and close the client unless it is the app's."""
        self._stop()
        client = self._client
        self._client = self._given
        if client is None:
            return
        if self._given is None:
            client.close()
        else:
            client.flush()

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        return self._resolve(flag_key, default_value, evaluation_context)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        return self._resolve(flag_key, default_value, evaluation_context)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Whole numbers alone: 10.0 is 10, and 0.5 is none."""
        found = self._resolve(flag_key, default_value, evaluation_context)
        value: object = found.value
        if type(value) is float and found.variant is not None:
            if not value.is_integer():
                text = f"{flag_key} is {value}, no whole number."
                return FlagResolutionDetails(default_value, ErrorCode.TYPE_MISMATCH, text, Reason.ERROR)
            found.value = int(value)
        return found

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        found = self._resolve(flag_key, default_value, evaluation_context)
        if type(found.value) is int:
            found.value = float(found.value)
        return found

    def resolve_object_details(
        self, flag_key: str, default_value: Structure, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[Structure]:
        # A default may be a list, which no flag is: the client is asked for an object all the same.
        found: FlagResolutionDetails[Any] = self._resolve(flag_key, _ANY_OBJECT, evaluation_context)
        if found.variant is None:
            found.value = default_value
        return found

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Record the outcome of the user's request for each flag that the event is about. Never raises or waits."""
        client = self._awake()
        if client is None:
            return
        said: Mapping[str, Any] = {} if tracking_event_details is None else tracking_event_details.attributes
        ms, variant = said.get("ms"), said.get("variant")
        sound = isinstance(ms, int | float) and not isinstance(ms, bool)
        for flag in self._outcomes.get(tracking_event_name, (tracking_event_name,)):
            client.track(
                flag,
                _user(evaluation_context),
                ok=said.get("ok", True) is not False,
                ms=float(ms) if sound else None,  # type: ignore[arg-type]
                variant=variant if isinstance(variant, str) else None,
            )

    def _resolve(self, flag: str, default: T, context: EvaluationContext | None) -> FlagResolutionDetails[T]:
        client = self._awake()
        if client is None:
            return FlagResolutionDetails(default, ErrorCode.PROVIDER_NOT_READY, "Not initialised.", Reason.ERROR)
        found: Details[T] = client.details(flag, default, _user(context))
        code = found.error_code
        return FlagResolutionDetails(
            found.value,
            None if code is None else _CODES.get(code, ErrorCode.GENERAL),
            found.error_message,
            _REASONS.get(found.reason, Reason.UNKNOWN),
            found.variant,
            found.metadata,
        )

    def _awake(self) -> FlagClient | None:
        if self._asleep:
            self._asleep = False
            self._start(_Said.READY)
        return self._client

    def _start(self, said: _Said) -> None:
        assert self._client is not None
        self._watch = _Watch(self._client, self, said)

    def _stop(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.end()

    def _forked(self) -> None:
        """In a new child, which has no watch of its own: the next lookup starts one."""
        self._asleep, watch, self._watch = self._watch is not None, self._watch, None
        if watch is not None:
            watch.forget()


class _Watch:
    """Says what the client does not: READY, STALE and CONFIGURATION_CHANGED, while a provider is in use."""

    def __init__(self, client: FlagClient, provider: RampgateProvider, said: _Said) -> None:
        self._client = client
        self._provider = provider
        self._said = said
        self._ended = threading.Event()
        self.forget: Callable[[], None] = client.on_any_change(self._changed)
        threading.Thread(target=self._run, name="rampgate-openfeature", daemon=True).start()

    def end(self) -> None:
        self._ended.set()
        self.forget()

    def _changed(self, flags: frozenset[str]) -> None:
        if not self._ended.is_set():
            self._provider.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=sorted(flags)))

    def _run(self) -> None:
        wait = LOOK_AGAIN
        while not self._ended.wait(wait):
            left = self._client.fresh_for
            if self._said is not _Said.READY and (left > 0 if self._said is _Said.STALE else self._client.ready(0)):
                self._said = _Said.READY
                self._provider.emit_provider_ready(ProviderEventDetails(message="contact is back"))
            elif self._said is _Said.READY and left <= 0:
                self._said = _Said.STALE
                text = "no contact with the flag server: flags in a rollout serve their stable variant"
                self._provider.emit_provider_stale(ProviderEventDetails(message=text))
            wait = min(max(left, LOOK_AGAIN), threading.TIMEOUT_MAX) if self._said is _Said.READY else LOOK_AGAIN


def _user(context: EvaluationContext | None) -> User:
    """Who asks, as the client wants it. Moments in time become text, as in every OpenFeature provider over HTTP."""
    if context is None:
        return _NO_USER
    key, attributes = context.targeting_key, context.attributes
    if not attributes:
        return _NO_USER if key is None else key
    user: dict[str, object] = {**attributes}
    for name, value in attributes.items():
        if type(value) not in _SCALARS:
            user[name] = _json(value)
    if key is not None:
        user["targetingKey"] = key
    return user


def _json(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {name: _json(each) for name, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_json(each) for each in value]
    return value


def _after_fork_in_child() -> None:
    for provider in list(_providers):
        provider._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
