"""Clients and scripted servers that end with their test."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rampgate import FlagClient
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
