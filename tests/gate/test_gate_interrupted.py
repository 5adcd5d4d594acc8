"""A cancelled job hears of it, wherever the signal finds it."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gate import interrupted
from gate.errors import Exit
from gate.interrupted import Interrupted, heard, listen


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """The handlers and the timer are the test's own, and then again what they were."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = {number: signal.getsignal(number) for number in numbers}
    timer = signal.setitimer(signal.ITIMER_REAL, 0.0)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    for number, handler in before.items():
        signal.signal(number, handler)
    signal.setitimer(signal.ITIMER_REAL, *timer)


class Finalized:
    """Is gone when the signal comes."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


def test_what_a_finalizer_swallows_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lost: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda one: lost.append(one.exc_value))
    monkeypatch.setattr(interrupted, "AGAIN", 0.05)
    listen()
    Finalized()
    with pytest.raises(Interrupted) as cancelled:
        threading.Event().wait(30)
    heard()
    assert [type(one) for one in lost] == [Interrupted]
    assert cancelled.value.exit is Exit.TERMINATED


def test_once_heard_it_is_not_raised_again_nor_by_a_second_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupted, "AGAIN", 60.0)
    listen()
    with pytest.raises(Interrupted) as cancelled:
        signal.raise_signal(signal.SIGINT)
    heard()
    assert cancelled.value.exit is Exit.INTERRUPTED
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
