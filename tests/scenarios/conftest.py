"""A flag server for each file, and a shop for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flagserver.process import FlagServer
from tests.scenarios.action import Shop
from tests.scenarios.action import shop as open_shop


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
