"""A flag server for each file, and a shop or a fleet of gates for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flagserver.process import FlagServer
from tests.scenarios.action import Shop
from tests.scenarios.action import shop as open_shop
from tests.scenarios.fleet import Fleet
from tests.scenarios.gates import Gates


@pytest.fixture(scope="module")
def flag_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlagServer]:
    """A real flag server that a file's tests share, each with a flag of its own."""
    with FlagServer(tmp_path_factory.mktemp("flagserver"), log_level="warning") as server:
        yield server


@pytest.fixture
def shop(tmp_path: Path, flag_server: FlagServer) -> Iterator[Shop]:
    """A repository, its shop and its Action."""
    with open_shop(tmp_path, flag_server) as opened:
        yield opened


@pytest.fixture(scope="module")
def gates() -> Iterator[Gates]:
    """Where a file's gates come from."""
    with Gates() as nursery:
        yield nursery


@pytest.fixture
def fleet(tmp_path: Path, flag_server: FlagServer, gates: Gates) -> Iterator[Fleet]:
    """Gates of one flag."""
    yield Fleet(server=flag_server, gates=gates, folder=tmp_path)
    gates.end()


@pytest.fixture
def mortal(tmp_path: Path, gates: Gates) -> Iterator[Fleet]:
    """Gates on a flag server of their own, which may be killed."""
    with FlagServer(tmp_path, log_level="warning") as server:
        yield Fleet(server=server, gates=gates, folder=tmp_path)
        gates.end()
