"""The OpenFeature provider's life: READY, STALE, ERROR, CONFIGURATION_CHANGED, shutdown, forks.

Numbers in brackets are requirements of the OpenFeature specification.
"""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode, ProviderFatalError, ProviderNotReadyError
from openfeature.flag_evaluation import Reason
from openfeature.provider import ProviderStatus

from rampgate import FlagClient
from rampgate.client.openfeature import RampgateProvider
from rampgate.client.testing import FixedFlags
from tests.rampgate.client.conformance import FLAGS
from tests.rampgate.client.scripted import Scripted, document, plain, ramp, serve, until

KEY = "rg_sdk_a_b"
ROOT = Path(__file__).parents[3]


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


def test_a_start_with_contact_is_ready(conforming: Scripted, provide: Callable[..., OpenFeatureClient]) -> None:
    """[5.3.1]"""
    client = provide(conforming)
    heard = Heard(client)
    assert client.get_provider_status() is ProviderStatus.READY
    until(lambda: heard.count(ProviderEvent.PROVIDER_READY) == 1)


def test_a_start_without_contact_is_an_error_serves_defaults_and_mends_itself(
    conforming: Scripted, provide: Callable[..., OpenFeatureClient]
) -> None:
    """[2.4.2.1, 5.3.2] and READY follows when contact comes."""
    conforming.snapshot_mode = 503
    with pytest.raises(ProviderNotReadyError):
        provide(conforming, ready_within=0.05)
    client = api.get_client()
    heard = Heard(client)
    assert client.get_provider_status() is ProviderStatus.ERROR
    found = client.get_boolean_details("boolean", False)
    assert (found.value, found.reason, found.error_code) == (False, Reason.ERROR, ErrorCode.PROVIDER_NOT_READY)
    conforming.snapshot_mode = "answer"
    until(lambda: heard.count(ProviderEvent.PROVIDER_READY) == 1)
    assert client.get_provider_status() is ProviderStatus.READY
    assert client.get_boolean_value("boolean", False) is True


def test_a_change_is_signalled_with_its_flags_and_applied(
    conforming: Scripted, provide: Callable[..., OpenFeatureClient]
) -> None:
    """[5.1.1] the value is there when the event is."""
    client = provide(conforming)
    seen: list[tuple[list[str] | None, bool]] = []

    def changed(said: EventDetails) -> None:
        seen.append((said.flags_changed, client.get_boolean_value("boolean", True)))

    client.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, changed)
    conforming.streams.get(timeout=10)
    conforming.send("changed", conforming.change("v2", {"boolean": plain(False), "new": plain()}), id="v2")
    until(lambda: seen)
    assert seen == [(["boolean", "new"], False)]


def test_losing_contact_makes_it_stale_and_its_return_ready(provide: Callable[..., OpenFeatureClient]) -> None:
    """[5.1.1, 5.3.5] within the bound that the flags in a rollout have."""
    with serve(Scripted(document(FLAGS, {"shop": ramp(staleAfter=0.5, heartbeat=0.1)}))) as conforming:
        client = provide(conforming)
        heard = Heard(client)
        conforming.stream_mode = conforming.snapshot_mode = 503
        conforming.cut()
        until(lambda: heard.count(ProviderEvent.PROVIDER_STALE))
        assert client.get_provider_status() is ProviderStatus.STALE
        found = client.get_string_details("shop", "", EvaluationContext("ada"))
        assert (found.value, found.variant, found.reason) == ("blue", "blue", Reason.STALE)
        before = heard.count(ProviderEvent.PROVIDER_READY)
        conforming.stream_mode, conforming.snapshot_mode = "events", "answer"
        until(lambda: heard.count(ProviderEvent.PROVIDER_READY) > before)


def test_a_start_from_kept_flags_waits_for_nobody_serves_them_and_is_stale(conforming: Scripted) -> None:
    conforming.snapshot_mode = conforming.stream_mode = "hang"
    with FlagClient(conforming.url, KEY, bootstrap=document(FLAGS, {"shop": ramp()})) as native:
        try:
            # Were these seconds waited, the test would run into its time limit.
            api.set_provider_and_wait(RampgateProvider(native, ready_within=3600.0))
            client = api.get_client()
            assert client.get_boolean_value("boolean", False) is True
            until(lambda: client.get_provider_status() is ProviderStatus.STALE)
            found = client.get_string_details("shop", "", EvaluationContext("ada"))
            assert (found.value, found.reason) == ("blue", Reason.STALE)
            conforming.snapshot_mode = "answer"
            conforming.ended.set()
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


def test_shutdown_ends_its_own_client_and_it_may_start_again(
    conforming: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[2.5.1, 2.5.2]"""
    monkeypatch.setenv("RAMPGATE_URL", conforming.url)
    monkeypatch.setenv("RAMPGATE_KEY", KEY)
    provider = RampgateProvider()
    before = set(threading.enumerate())

    def ours() -> bool:
        return any(one.name.startswith("rampgate-") for one in set(threading.enumerate()) - before)

    try:
        for _ in range(2):
            api.set_provider_and_wait(provider)
            assert ours()
            assert api.get_client().get_boolean_value("boolean", False) is True
            api.clear_providers()
            found = provider.resolve_boolean_details("boolean", False)
            assert (found.value, found.error_code) == (False, ErrorCode.PROVIDER_NOT_READY)
            until(lambda: not ours())
    finally:
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
    with serve(Scripted(document(FLAGS, {"shop": ramp(staleAfter=0.5, heartbeat=10.0)}))) as conforming:
        child = subprocess.run(
            [sys.executable, "-c", FORK, conforming.url],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    assert child.stdout.split() == ["True", "STALE"], child.stderr
