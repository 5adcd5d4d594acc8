"""A pytest fixture for the tests of apps, there as soon as `rampgate` is installed. Nothing else imports pytest."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rampgate.client.testing import FixedFlags


@pytest.fixture
def fixed_flags() -> "Iterator[FixedFlags]":
    """Flags with fixed values: ``fixed_flags.set("new-checkout", True)``; empty at the beginning of each test."""
    # Here, so that a run of tests that has no use for it does not import the client.
    from rampgate.client.testing import FixedFlags  # noqa: PLC0415

    with FixedFlags() as flags:
        yield flags
