"""One way to the database: transactions, the clock that deadlines count on, and what is said when it is gone.

SQLite and PostgreSQL keep the same promises: writers of one flag are serialised, a commit survives the process.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from flagserver.errors import InvalidError, SettingsError, StoreGoneError
from flagserver.store.clock import Clock, SteadyClock
from flagserver.store.schema import migrate
from flagserver.store.tables import rollouts, versions

CHANNEL = "rampgate"
"""Where PostgreSQL tells the other replicas that something has changed."""

CONNECTIONS = 16
"""Connections that one process holds at most, unless told."""

PROBE = "probe"
"""Among the versions: counts changes without a meaning."""

AHEAD = "clock"
"""Among the versions: milliseconds by which the replicas' time is ahead of PostgreSQL's clock."""

_STEP = 1.0
"""Seconds by which PostgreSQL's clock may seem to fall back without having been set."""

_CLOCK = sa.text(
    "SELECT extract(epoch FROM clock_timestamp())::float8, "
    f"coalesce((SELECT version FROM versions WHERE name = '{AHEAD}'), 0)::float8 / 1000"
)

_BUSY_MS = 4_000
_LOCK_MIGRATE = 7_267_001
_MIGRATING = 600.0


log = structlog.get_logger("flagserver.store")


@dataclass(frozen=True, slots=True)
class Tx:
    """One open transaction, and the moment at which it counts as happening. ``lines`` are what it adds to the
    audit log."""

    connection: Connection
    now: float
    lines: list[Mapping[str, Any]] = field(default_factory=list)
    _last: list[Callable[[], None]] = field(default_factory=list)
    _done: set[str] = field(default_factory=set)

    def at_the_end(self, act: Callable[[], None]) -> None:
        """Have this done right before the commit, after everything else: for locks that all writers share."""
        self._last.append(act)

    def first_time(self, what: str) -> bool:
        """Whether this is asked for the first time within this transaction: for what it need not do twice."""
        if what in self._done:
            return False
        self._done.add(what)
        return True

    def finish(self) -> None:
        for act in self._last:
            act()

    def run(self, statement: sa.Executable) -> sa.CursorResult[Any]:
        return self.connection.execute(statement)

    def one(self, statement: sa.Select[Any]) -> sa.Row[Any] | None:
        return self.connection.execute(statement).first()

    def all(self, statement: sa.Select[Any]) -> list[sa.Row[Any]]:
        return list(self.connection.execute(statement))

    @property
    def is_postgres(self) -> bool:
        return self.connection.dialect.name == "postgresql"

    def upsert(self, table: sa.Table) -> Any:
        """An insert with ``on_conflict_do_update``: both databases have the same one, under different types."""
        return postgresql.insert(table) if self.is_postgres else sqlite.insert(table)


class Store:
    """The database behind the flag server.

    Args:
        url: a SQLAlchemy address, ``sqlite:///file`` or ``postgresql://…``.
        clock: seconds since the epoch; without it SQLite counts on a steady process clock and PostgreSQL on its own.
        connections: how many it opens at most.

    Raises:
        SettingsError: the address names no database that we serve.
    """

    def __init__(self, url: str, *, clock: Clock | None = None, connections: int = CONNECTIONS) -> None:
        self.url = _address(url)
        self._given = clock
        self._steady = SteadyClock()
        self._engine = _engine(self.url, connections)
        # SQLite has one writer at a time; waiting here costs less than waiting in its busy handler.
        self._writer = threading.BoundedSemaphore(connections if self.is_postgres else 1)
        self._unwritten: str | None = None
        self._unwritten_since = 0.0

    @property
    def is_postgres(self) -> bool:
        return self.url.get_backend_name() == "postgresql"

    @property
    def unwritten(self) -> str | None:
        """Why the last transaction that would have changed something did not; ``None`` where it did."""
        return self._unwritten

    def unwritten_for(self) -> float:
        """Seconds since the first of the changes that failed one after the other; 0 where the last one did not."""
        return 0.0 if self._unwritten is None else time.monotonic() - self._unwritten_since

    def probe(self) -> None:
        """Change something of no meaning, where the last change failed: to know when changes are taken again.

        Raises:
            StoreGoneError: they are not.
        """
        if self._unwritten is not None:
            with self.write() as tx:
                bump(tx, PROBE)

    def now(self) -> float:
        """The moment, without asking the database: as good as the last time it was asked."""
        return self._given() if self._given else self._steady()

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A transaction that sees one moment of the database.

        Raises:
            StoreGoneError: the database cannot be reached.
        """
        with _told(), self._engine.connect() as connection:
            if self.is_postgres:
                connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield Tx(connection, self.now())

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """A transaction that changes something; all of it or nothing. Its ``now`` is the database's clock.

        Raises:
            StoreGoneError: the database cannot be reached, or stayed locked.
        """
        with self._writing() as connection:
            tx = Tx(connection, self._moment(connection))
            yield tx
            tx.finish()

    @contextmanager
    def _writing(self, busy_ms: int = _BUSY_MS) -> Iterator[Connection]:
        try:
            with _told(), self._turn(), self._engine.connect() as connection:
                connection.execution_options(rampgate_write=True)
                with self._patient(connection, busy_ms), connection.begin():
                    yield connection
        except StoreGoneError as error:
            if self._unwritten is None:
                self._unwritten_since = time.monotonic()
            self._unwritten = error.message
            raise
        self._unwritten = None

    @contextmanager
    def _patient(self, connection: Connection, busy_ms: int) -> Iterator[None]:
        """Wait this long for other processes that write to the same SQLite file."""
        if self.is_postgres or busy_ms == _BUSY_MS:
            yield
            return
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.execute(f"PRAGMA busy_timeout = {busy_ms}")
        try:
            yield
        finally:
            driver.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._writer.acquire(timeout=_BUSY_MS / 1000):
            raise StoreGoneError("The database cannot be used now: other writers did not end.")
        try:
            yield
        finally:
            self._writer.release()

    def keep_time(self, tx: Tx) -> None:
        """Follow the database's clock (PostgreSQL); a process that only reads would drift away from it."""
        self._moment(tx.connection)

    def set_clock(self) -> None:
        """Follow the database's clock (PostgreSQL), or stay ahead of what it has recorded (SQLite)."""
        with self.read() as tx:
            if self.is_postgres:
                self._moment(tx.connection)
                return
            recorded = tx.one(sa.select(sa.func.max(rollouts.c.updated_at)))
        if recorded is not None and recorded[0] is not None:
            self._steady.not_before(recorded[0])

    def migrate(self) -> None:
        """Bring the tables to this version's form; nothing where they are, or where a newer version says that this
        one may go on with them.

        Raises:
            SettingsError: the database was written by a newer version that this one does not understand.
            StoreGoneError: the database cannot be reached.
        """
        # Another server's migration may take its time, and so may this one.
        with self._writing(busy_ms=int(_MIGRATING * 1000)) as connection:
            if not self.is_postgres:
                migrate(connection)
                return
            session = connection.connection.driver_connection
            assert session is not None
            session.patience, usual = _MIGRATING, session.patience
            try:
                for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
                    connection.exec_driver_sql(f"SET LOCAL {name} = 0")
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_MIGRATE)))
                migrate(connection)
            finally:
                session.patience = usual

    def own_session(self) -> Any:
        """A session of PostgreSQL's driver that is not in the pool and commits each statement; the caller closes it.

        Raises:
            psycopg.Error: the database cannot be reached.
        """
        arguments, named = self._engine.dialect.create_connect_args(self.url)
        return _session(*arguments, **named, autocommit=True)

    def close(self) -> None:
        self._engine.dispose()

    def backup(self, target: Path) -> None:
        """Copy a SQLite database into a new file, while it is being served.

        Raises:
            SettingsError: it is PostgreSQL, which has tools of its own, or the file exists or cannot be written.
        """
        if self.is_postgres:
            raise SettingsError("A PostgreSQL database is backed up with pg_dump.")
        if target.exists():
            raise SettingsError(f"{target} exists already; a backup writes a new file.")
        try:
            with _told(), closing(self._engine.raw_connection()) as pooled, closing(sqlite3.connect(target)) as copy:
                connection = pooled.driver_connection
                assert isinstance(connection, sqlite3.Connection)
                connection.backup(copy)
        except sqlite3.Error as error:
            # Half a copy must not be taken for a whole one.
            with suppress(OSError):
                target.unlink(missing_ok=True)
            raise SettingsError(f"{target} could not be written: {error}.") from error

    def _moment(self, connection: Connection) -> float:
        if self._given is not None:
            return self._given()
        if self.is_postgres:
            before = self._steady()
            found, ahead = connection.execute(_CLOCK).one()
            if (behind := before - found - ahead) > _STEP:
                # It was set back: from now on all replicas are as much ahead of it, so that every lease still lapses.
                log.warning("clock_set_back", seconds=round(behind, 3))
                ahead = _go_ahead(connection, ahead + behind)
            self._steady.set(found + ahead)
        return self._steady()


def bump(tx: Tx, name: str) -> int:
    """Raise a version, making its row at the first time, and have every replica told; returns the new one."""
    first = tx.upsert(versions).values(name=name, version=1)
    risen = first.on_conflict_do_update(index_elements=["name"], set_={"version": versions.c.version + 1})
    told = (sa.func.pg_notify(CHANNEL, name),) if tx.is_postgres else ()
    return int(tx.run(risen.returning(versions.c.version, *told)).scalars().one())


def _go_ahead(connection: Connection, seconds: float) -> float:
    first = postgresql.insert(versions).values(name=AHEAD, version=int(seconds * 1000) + 1)
    most = sa.func.greatest(versions.c.version, first.excluded.version)
    done = connection.execute(
        first.on_conflict_do_update(index_elements=["name"], set_={"version": most}).returning(versions.c.version)
    )
    return int(done.scalar_one()) / 1000


def current_versions(tx: Tx) -> dict[str, int]:
    return {row.name: int(row.version) for row in tx.all(sa.select(versions.c.name, versions.c.version))}


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sa.exc.DataError as error:
        if "NUL" not in str(error.orig):
            raise
        # PostgreSQL keeps no such text; nothing that anybody may look for or write has it in a name.
        raise InvalidError.of("request", "a text with the character NUL", "texts without it", status=400) from None
    except (sa.exc.IntegrityError, sa.exc.ProgrammingError):
        # A constraint that refuses is the caller's; a file that is corrupt is the database's.
        raise
    except (sa.exc.DatabaseError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
        raise StoreGoneError(f"The database cannot be used now: {_first_line(error)}{_advice(error)}") from error


def _advice(error: Exception) -> str:
    """What to do about a SQLite file that is damaged or cannot grow."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return ". The file is damaged: stop the server and put a backup in its place, its -wal and -shm removed."
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return ". Look whether its disk is full; the server goes on by itself once there is room."
    return ""


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().split("\n", 1)[0]


def _address(url: str) -> URL:
    try:
        address = make_url(url)
    except sa.exc.ArgumentError:
        raise SettingsError("FLAGSERVER_DATABASE_URL is no database address; write sqlite:///flagserver.db.") from None
    backend = address.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise SettingsError(f"FLAGSERVER_DATABASE_URL names {backend}; sqlite and postgresql are served.")
    if backend == "postgresql":
        return address.set(drivername="postgresql+psycopg")
    if not address.database or address.database == ":memory:":
        raise SettingsError("FLAGSERVER_DATABASE_URL needs a file: a server in memory would forget its rollouts.")
    return address


def _engine(address: URL, connections: int) -> Engine:
    # Few stay open; who needs one while all are in use waits for no longer than for a statement.
    if address.get_backend_name() == "postgresql":
        engine = sa.create_engine(
            address, pool_size=4, max_overflow=connections - 4, pool_timeout=4, pool_pre_ping=True,
            isolation_level="READ COMMITTED",
        )  # fmt: skip
        sa.event.listen(engine, "do_connect", _connect_postgres)
        return engine
    engine = sa.create_engine(
        address, pool_size=connections, max_overflow=4, pool_timeout=4,
        connect_args={"isolation_level": None, "check_same_thread": False, "timeout": _BUSY_MS / 1000},
    )  # fmt: skip
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _connect_postgres(_dialect: Any, _entry: Any, arguments: Any, named: Any) -> Any:
    return _session(*arguments, **named)


def _session(*arguments: Any, **named: Any) -> Any:
    from flagserver.store import postgres  # noqa: PLC0415  (PostgreSQL's driver is an extra)

    session = postgres.Session.connect(*arguments, **{**postgres.CONNECTING, **named})
    postgres.prepare(session)
    return session


def _prepare_sqlite(dbapi: Any, _entry: ConnectionPoolEntry) -> None:
    cursor = dbapi.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-2000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A write takes the lock at once: one that begins as a read can be refused in its middle.
    writes = connection.get_execution_options().get("rampgate_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
