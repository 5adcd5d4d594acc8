"""The OpenFeature provider, through OpenFeature's own SDK, held to its specification and provider conformance suite.

Numbers in brackets are requirements of the OpenFeature specification; the flags are the conformance suite's kinds.
"""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode, ProviderFatalError, ProviderNotReadyError
from openfeature.flag_evaluation import Reason
from openfeature.provider import ProviderStatus
from openfeature.track import TrackingEventDetails

from rampgate import FlagClient
from rampgate.client.openfeature import RampgateProvider
from rampgate.client.testing import FixedFlags
from tests.rampgate.client.scripted import Scripted, document, plain, ramp, ramping, serve, until

KEY = "rg_sdk_a_b"
ROOT = Path(__file__).parents[3]


def fixed(variants: dict[str, Any], default: str | None, **more: Any) -> dict[str, Any]:
    return {"state": "ENABLED", "variants": variants, "defaultVariant": default, **more}


HIT = {"if": [{"==": [{"var": "targetingKey"}, "ada"]}, "hit", None]}
FLAGS: dict[str, dict[str, Any]] = {
    "boolean": plain(True),
    "string": fixed({"greeting": "hi", "parting": "bye"}, "greeting"),
    "integer": fixed({"one": 1, "ten": 10}, "ten"),
    "float": fixed({"tenth": 0.1, "half": 0.5}, "half"),
    "whole-float": fixed({"ten": 10.0, "one": 1.0}, "ten"),
    "zero-boolean": fixed({"zero": False, "one": True}, "zero"),
    "zero-integer": fixed({"zero": 0, "one": 1}, "zero"),
    "zero-string": fixed({"zero": "", "one": "x"}, "zero"),
    "large": fixed({"max-int32": 2**31 - 1, "one": 1}, "max-int32"),
    "huge": fixed({"max-safe": 2**53 - 1, "one": 1}, "max-safe"),
    "object": fixed({"template": {"showImages": True, "title": "pics", "imagesPerPage": 100}}, "template"),
    "disabled": plain(True) | {"state": "DISABLED"},
    "codeless": fixed({"on": True, "off": False}, None),
    "targeted": fixed({"hit": "hit", "miss": "miss"}, "miss", targeting=HIT),
    "since": fixed(
        {"early": "early", "late": "late"},
        "early",
        targeting={"if": [{"in": ["2025-07", {"var": "joined"}]}, "late", "early"]},
    ),
    "described": plain(True) | {"metadata": {"owner": "checkout", "tier": 1, "ratio": 0.5, "live": True}},
    "shop": ramping(50_000),
}
GETTERS = {bool: "boolean", str: "string", int: "integer", float: "float", dict: "object", list: "object"}


@pytest.fixture
def server() -> Iterator[Scripted]:
    ramped = ramp(poll=0.06)
    with serve(Scripted(document(FLAGS, {"shop": ramped}))) as script:
        yield script


@pytest.fixture
def connect() -> Iterator[Callable[..., OpenFeatureClient]]:
    """Registers a provider for a server, and gives OpenFeature's client."""
    clients: list[FlagClient] = []

    def register(server: Scripted, **more: Any) -> OpenFeatureClient:
        clients.append(FlagClient(server.url, KEY))
        api.set_provider_and_wait(RampgateProvider(clients[-1], **more))
        return api.get_client()

    yield register
    api.shutdown()
    for client in clients:
        client.close()


def details(client: OpenFeatureClient, flag: str, default: Any, context: EvaluationContext | None = None) -> Any:
    """What the SDK says, the same whether asked synchronously or not."""
    name = f"get_{GETTERS[type(default)]}_details"
    found = getattr(client, name)(flag, default, context)
    assert asyncio.run(getattr(client, f"{name}_async")(flag, default, context)) == found
    return found


class Heard:
    """Events of a client, in order."""

    def __init__(self, client: OpenFeatureClient) -> None:
        self.events: list[tuple[ProviderEvent, EventDetails]] = []
        for event in ProviderEvent:
            client.add_handler(event, self._note(event))

    def _note(self, event: ProviderEvent) -> Callable[[EventDetails], None]:
        return lambda said: self.events.append((event, said))

    def count(self, event: ProviderEvent) -> int:
        return sum(each is event for each, _ in list(self.events))


@pytest.mark.parametrize(
    ("flag", "default", "value", "variant"),
    [
        ("boolean", False, True, "on"),
        ("string", "bye", "hi", "greeting"),
        ("integer", 1, 10, "ten"),
        ("float", 0.1, 0.5, "half"),
        ("zero-boolean", True, False, "zero"),
        ("zero-integer", 1, 0, "zero"),
        ("zero-string", "fallback", "", "zero"),
        ("large", 1, 2147483647, "max-int32"),
        ("huge", 1, 9007199254740991, "max-safe"),
        ("whole-float", 1, 10, "ten"),
        ("integer", 0.1, 10.0, "ten"),
        ("object", {}, {"showImages": True, "title": "pics", "imagesPerPage": 100}, "template"),
        ("object", [], {"showImages": True, "title": "pics", "imagesPerPage": 100}, "template"),
    ],
)
def test_a_value_comes_with_its_variant_and_reason_and_no_error(
    server: Scripted, connect: Callable[..., OpenFeatureClient], flag: str, default: Any, value: Any, variant: str
) -> None:
    """[2.2.3 to 2.2.6, 2.3.2] falsy values, whole floats and large integers too."""
    found = details(connect(server), flag, default)
    assert (found.value, type(found.value)) == (value, type(value))
    assert (found.variant, found.reason, found.error_code, found.error_message) == (variant, Reason.STATIC, None, None)


@pytest.mark.parametrize(
    ("flag", "default"),
    [
        *(("string", default) for default in (False, 1, 0.1, {})),
        *(("boolean", default) for default in ("fallback", 1, 0.1, {})),
        *(("integer", default) for default in (False, "fallback", {})),
        *(("float", default) for default in (False, "fallback", 1)),
        *(("object", default) for default in (False, "fallback", 1, 0.1)),
    ],
)
def test_another_type_gives_the_apps_default_and_says_so(
    server: Scripted, connect: Callable[..., OpenFeatureClient], flag: str, default: Any
) -> None:
    """[2.2.7] and 0.5 is never narrowed to a whole number."""
    found = details(connect(server), flag, default)
    assert (found.value, found.reason, found.error_code) == (default, Reason.ERROR, ErrorCode.TYPE_MISMATCH)


@pytest.mark.parametrize("default", [False, "fallback", 1, 0.1, {"a": 1}, [1]])
def test_an_unknown_flag_gives_the_apps_default_and_says_so(
    server: Scripted, connect: Callable[..., OpenFeatureClient], default: Any
) -> None:
    """[2.2.7]"""
    found = details(connect(server), "missing", default)
    assert (found.value, found.reason, found.error_code) == (default, Reason.ERROR, ErrorCode.FLAG_NOT_FOUND)
    assert found.variant is None


@pytest.mark.parametrize(("flag", "reason"), [("disabled", Reason.DISABLED), ("codeless", Reason.DEFAULT)])
def test_a_disabled_flag_and_one_without_a_default_leave_the_app_its_own(
    server: Scripted, connect: Callable[..., OpenFeatureClient], flag: str, reason: Reason
) -> None:
    found = details(connect(server), flag, False)
    assert (found.value, found.variant, found.reason, found.error_code) == (False, None, reason, None)


def test_the_context_reaches_the_rules(server: Scripted, connect: Callable[..., OpenFeatureClient]) -> None:
    """[2.2.1] with attributes or without, and without a context too."""
    client = connect(server)
    hit = details(client, "targeted", "", EvaluationContext("ada"))
    assert (hit.value, hit.reason) == ("hit", Reason.TARGETING_MATCH)
    assert details(client, "targeted", "", EvaluationContext("ada", {"plan": "free"})).value == "hit"
    assert details(client, "targeted", "", EvaluationContext(None, {"targetingKey": "ada"})).value == "hit"
    for other in (EvaluationContext("bob"), EvaluationContext(attributes={"plan": "free"}), None):
        missed = details(client, "targeted", "", other)
        assert (missed.value, missed.reason, missed.error_code) == ("miss", Reason.DEFAULT, None)


def test_a_moment_in_the_context_is_compared_as_text(
    server: Scripted, connect: Callable[..., OpenFeatureClient]
) -> None:
    """[3.1.2] a context may hold datetimes, nested ones too, which JSON logic does not know."""
    joined = {"joined": datetime(2025, 7, 1, tzinfo=UTC), "visits": [datetime(2025, 7, 2, tzinfo=UTC)], "at": {"x": 1}}
    client = connect(server)
    assert details(client, "targeted", "", EvaluationContext("ada", joined)).value == "hit"
    assert details(client, "since", "", EvaluationContext("ada", joined)).value == "late"


def test_flag_metadata_is_passed_on(server: Scripted, connect: Callable[..., OpenFeatureClient]) -> None:
    """[2.2.9, 2.2.10]"""
    found = details(connect(server), "described", False)
    assert dict(found.flag_metadata) == {"owner": "checkout", "tier": 1, "ratio": 0.5, "live": True}


def test_the_provider_says_its_name(server: Scripted, connect: Callable[..., OpenFeatureClient]) -> None:
    """[2.1.1]"""
    connect(server)
    assert api.get_provider_metadata().name == "rampgate"


def test_a_start_with_contact_is_ready(server: Scripted, connect: Callable[..., OpenFeatureClient]) -> None:
    """[5.3.1]"""
    client = connect(server)
    heard = Heard(client)
    assert client.get_provider_status() is ProviderStatus.READY
    until(lambda: heard.count(ProviderEvent.PROVIDER_READY) == 1)


def test_a_start_without_contact_is_an_error_serves_defaults_and_mends_itself(
    server: Scripted, connect: Callable[..., OpenFeatureClient]
) -> None:
    """[2.4.2.1, 5.3.2] and READY follows when contact comes."""
    server.snapshot_mode = 503
    with pytest.raises(ProviderNotReadyError):
        connect(server, ready_within=0.05)
    client = api.get_client()
    heard = Heard(client)
    assert client.get_provider_status() is ProviderStatus.ERROR
    found = details(client, "boolean", False)
    assert (found.value, found.reason, found.error_code) == (False, Reason.ERROR, ErrorCode.PROVIDER_NOT_READY)
    server.snapshot_mode = "answer"
    until(lambda: heard.count(ProviderEvent.PROVIDER_READY) == 1)
    assert client.get_provider_status() is ProviderStatus.READY
    assert client.get_boolean_value("boolean", False) is True


def test_a_change_is_signalled_with_its_flags_and_applied(
    server: Scripted, connect: Callable[..., OpenFeatureClient]
) -> None:
    """[5.1.1] the value is there when the event is."""
    client = connect(server)
    seen: list[tuple[list[str] | None, bool]] = []

    def changed(said: EventDetails) -> None:
        seen.append((said.flags_changed, client.get_boolean_value("boolean", True)))

    client.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, changed)
    server.streams.get(timeout=10)
    server.send("changed", server.change("v2", {"boolean": plain(False), "new": plain()}), id="v2")
    until(lambda: seen)
    assert seen == [(["boolean", "new"], False)]


def test_losing_contact_makes_it_stale_and_its_return_ready(connect: Callable[..., OpenFeatureClient]) -> None:
    """[5.1.1, 5.3.5] within the bound that the flags in a rollout have."""
    with serve(Scripted(document(FLAGS, {"shop": ramp(staleAfter=0.5, heartbeat=0.1)}))) as server:
        client = connect(server)
        heard = Heard(client)
        until(lambda: heard.count(ProviderEvent.PROVIDER_STALE) == 1)
        assert client.get_provider_status() is ProviderStatus.STALE
        found = client.get_string_details("shop", "", EvaluationContext("ada"))
        assert (found.value, found.variant, found.reason) == ("blue", "blue", Reason.STALE)
        before = heard.count(ProviderEvent.PROVIDER_READY)
        done = threading.Event()
        beats = threading.Thread(target=_beat, args=(server, done))
        beats.start()
        try:
            until(lambda: heard.count(ProviderEvent.PROVIDER_READY) > before)
            until(lambda: client.get_provider_status() is ProviderStatus.READY)
        finally:
            done.set()
            beats.join()


def _beat(server: Scripted, done: threading.Event) -> None:
    while not done.wait(0.05):
        server.beat()


def test_a_start_from_bootstrap_flags_serves_them_and_is_stale(server: Scripted) -> None:
    server.snapshot_mode = server.stream_mode = 503
    with FlagClient(server.url, KEY, bootstrap=document(FLAGS, {"shop": ramp()})) as native:
        try:
            api.set_provider_and_wait(RampgateProvider(native, ready_within=0.01))
            client = api.get_client()
            assert client.get_boolean_value("boolean", False) is True
            until(lambda: client.get_provider_status() is ProviderStatus.STALE)
            server.snapshot_mode = "answer"
            until(lambda: client.get_provider_status() is ProviderStatus.READY)
        finally:
            api.shutdown()


def test_fixed_flags_are_ready_and_never_stale_and_their_changes_are_told() -> None:
    with FixedFlags({"shop": "green"}) as flags:
        try:
            api.set_provider_and_wait(RampgateProvider(flags))
            client = api.get_client()
            assert client.get_string_value("shop", "blue", EvaluationContext("ada")) == "green"
            heard = Heard(client)
            flags.set("shop", "blue")
            until(lambda: heard.count(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED) == 1)
            assert client.get_string_value("shop", "green", EvaluationContext("ada")) == "blue"
            assert flags.fresh_for > 0
            assert client.get_provider_status() is ProviderStatus.READY
        finally:
            api.shutdown()


def test_an_environment_without_a_server_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    """[2.4.2.1] bad configuration is irrecoverable."""
    monkeypatch.delenv("RAMPGATE_URL", raising=False)
    try:
        with pytest.raises(ProviderFatalError, match="RAMPGATE_URL"):
            api.set_provider_and_wait(RampgateProvider())
        assert api.get_client().get_provider_status() is ProviderStatus.FATAL
    finally:
        api.shutdown()


def test_shutdown_ends_its_own_client_and_it_may_start_again(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """[2.5.1, 2.5.2]"""
    monkeypatch.setenv("RAMPGATE_URL", server.url)
    monkeypatch.setenv("RAMPGATE_KEY", KEY)
    provider = RampgateProvider()
    try:
        for _ in range(2):
            api.set_provider_and_wait(provider)
            assert api.get_client().get_boolean_value("boolean", False) is True
            api.clear_providers()
            found = provider.resolve_boolean_details("boolean", False)
            assert (found.value, found.error_code) == (False, ErrorCode.PROVIDER_NOT_READY)
            until(lambda: not any(thread.name.startswith("rampgate-") for thread in threading.enumerate()))
    finally:
        api.shutdown()


def test_the_apps_own_client_stays_open_and_has_handed_in_what_it_counted(server: Scripted) -> None:
    """[2.7.1] tracking data is flushed before shutdown."""
    with FlagClient(server.url, KEY) as client:
        api.set_provider_and_wait(RampgateProvider(client))
        api.get_client().track("shop", EvaluationContext("ada"), TrackingEventDetails(attributes={"ok": False}))
        api.shutdown()
        assert server.counted("requests") == server.counted("errors") == 1
        assert client.boolean("boolean", False, "ada") is True


def test_a_lookup_counts_an_exposure_and_a_tracking_event_an_outcome(
    server: Scripted, connect: Callable[..., OpenFeatureClient]
) -> None:
    """[6.1.1, 2.7.1] by flag, or by the app's own event names."""
    client = connect(server, outcomes={"paid": ["shop"]})
    ada = EvaluationContext("ada", {"plan": "free"})
    variant = client.get_string_details("shop", "", ada).variant
    slow = TrackingEventDetails(99.5, {"ms": 12, "variant": str(variant)})
    client.track("paid", ada, slow)
    client.track("shop", ada, TrackingEventDetails(attributes={"ok": False, "ms": "long", "variant": 7}))
    client.track("shop", ada)
    client.track("nobody asked", ada)
    api.shutdown()
    counted = {what: server.counted(what, variant=variant) for what in ("exposures", "requests", "errors")}
    assert counted == {"exposures": 1, "requests": 3, "errors": 1}
    assert server.counted("requests") == 3
    timed = [entry["latency_ms"] for batch in server.applied.values() for entry in batch["counts"]]
    assert sum(sum(each["counts"]) for each in timed if each) == 1


def test_within_observe_the_variant_is_kept(server: Scripted) -> None:
    with FlagClient(server.url, KEY) as native:
        api.set_provider_and_wait(RampgateProvider(native), "pinned")
        client = api.get_client("pinned")
        with native.observe("shop", "ada") as assignment:
            assert client.get_string_value("shop", "", EvaluationContext("ada")) == assignment.value
            client.track("shop", EvaluationContext("ada"), TrackingEventDetails(attributes={"ok": False}))
        assert native.flush()
        assert (server.counted("exposures"), server.counted("requests"), server.counted("errors")) == (1, 1, 1)
        api.shutdown()


FORK = """
import os, sys, time, warnings
from openfeature import api
from openfeature.provider import ProviderStatus
from rampgate import FlagClient
from rampgate.client.openfeature import RampgateProvider
from rampgate.client.testing import FixedFlags

warnings.simplefilter("ignore", DeprecationWarning)
api.set_provider_and_wait(RampgateProvider(FlagClient(sys.argv[1], "rg_sdk_a_b")))
client = api.get_client()
if os.fork() == 0:
    print(client.get_boolean_value("boolean", False), flush=True)
    until = time.monotonic() + 10
    while client.get_provider_status() is not ProviderStatus.STALE and time.monotonic() < until:
        time.sleep(0.01)
    print(client.get_provider_status().name, flush=True)
    os._exit(0)
os.wait()
"""


def test_a_child_after_a_fork_has_flags_and_hears_of_staleness() -> None:
    with serve(Scripted(document(FLAGS, {"shop": ramp(staleAfter=0.5, heartbeat=10.0)}))) as server:
        child = subprocess.run(
            [sys.executable, "-c", FORK, server.url], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
        )
    assert child.stdout.split() == ["True", "STALE"], child.stderr


def test_whatever_a_context_holds_no_lookup_raises(server: Scripted, connect: Callable[..., OpenFeatureClient]) -> None:
    client = connect(server)
    for attributes in (
        {"a": object()},
        {"targetingKey": 5},
        {"targetingKey": None},
        {"x": {1: {2}}},
        {"\ud800": "\ud800"},
    ):
        found = client.get_string_details("targeted", "mine", EvaluationContext(None, attributes))  # type: ignore[arg-type]
        assert found.value in ("miss", "mine")
    assert client.get_string_details("shop", "mine", EvaluationContext("\ud800")).value == "mine"
