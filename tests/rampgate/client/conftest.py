"""Clients and scripted servers that end with their test."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient

from rampgate import FlagClient
from rampgate.client.openfeature import RampgateProvider
from tests.rampgate.client.conformance import FLAGS
from tests.rampgate.client.scripted import Scripted, document, plain, ramp, ramping, serve

KEY = "rg_sdk_a_b"


@pytest.fixture
def server() -> Iterator[Scripted]:
    """A plain flag ``new`` and a flag ``shop`` with every second user in its rollout."""
    script = Scripted(document({"new": plain(), "shop": ramping(50_000)}, {"shop": ramp(poll=0.06)}))
    with serve(script):
        yield script


@pytest.fixture
def connect() -> Iterator[Callable[..., FlagClient]]:
    with contextlib.ExitStack() as stack:

        def open_client(server: Scripted, **more: Any) -> FlagClient:
            return stack.enter_context(FlagClient(server.url, more.pop("key", KEY), **more))

        yield open_client


@pytest.fixture
def conforming() -> Iterator[Scripted]:
    """Serves the flags of the conformance suite, `shop` in a rollout."""
    ramped = ramp(poll=0.06)
    with serve(Scripted(document(FLAGS, {"shop": ramped}))) as script:
        yield script


@pytest.fixture
def provide() -> Iterator[Callable[..., OpenFeatureClient]]:
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
