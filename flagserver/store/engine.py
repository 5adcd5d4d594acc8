"""One way to the database: transactions, the clock that deadlines count on, and what is said when it is gone.

SQLite and PostgreSQL keep the same promises: writers of one flag are serialised, a commit survives the process.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from flagserver.errors import SettingsError, StoreGoneError
from flagserver.store.clock import Clock, SteadyClock
from flagserver.store.tables import rollouts, versions

HEAD = "0007"
"""The migration that this code needs; a test compares it with the newest one in the package."""

_BUSY_MS = 5_000
_LOCK_MIGRATE = 7_267_001


@dataclass(frozen=True, slots=True)
class Tx:
    """One open transaction, and the moment at which it counts as happening."""

    connection: Connection
    now: float
    _last: list[Callable[[], None]] = field(default_factory=list)

    def at_the_end(self, act: Callable[[], None]) -> None:
        """Have this done right before the commit, after everything else: for locks that all writers share."""
        self._last.append(act)

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

    Raises:
        SettingsError: the address names no database that we serve.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        self.url = _address(url)
        self._given = clock
        self._steady = SteadyClock()
        self._engine = _engine(self.url)
        # SQLite has one writer at a time; waiting here costs less than waiting in its busy handler.
        self._writer: AbstractContextManager[Any] = nullcontext() if self.is_postgres else threading.Lock()

    @property
    def is_postgres(self) -> bool:
        return self.url.get_backend_name() == "postgresql"

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
        with _told(), self._writer, self._engine.connect() as connection:
            connection.execution_options(rampgate_write=True)
            with connection.begin():
                tx = Tx(connection, self._moment(connection))
                yield tx
                tx.finish()

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
        """Bring the tables to this version's form; nothing where they are.

        Raises:
            SettingsError: the database was written by a newer version.
            StoreGoneError: the database cannot be reached.
        """
        with self.write() as tx:
            if tx.is_postgres:
                tx.run(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_MIGRATE)))
            found = _version(tx.connection)
            if found == HEAD:
                return
            _upgrade(tx.connection, found)

    def close(self) -> None:
        self._engine.dispose()

    def backup(self, target: Path) -> None:
        """Copy a SQLite database into a new file, while it is being served.

        Raises:
            SettingsError: it is PostgreSQL, which has tools of its own for this, or the file exists.
        """
        if self.is_postgres:
            raise SettingsError("A PostgreSQL database is backed up with pg_dump.")
        if target.exists():
            raise SettingsError(f"{target} exists already; a backup writes a new file.")
        with _told(), closing(self._engine.raw_connection()) as pooled, closing(sqlite3.connect(target)) as copy:
            connection = pooled.driver_connection
            assert isinstance(connection, sqlite3.Connection)
            connection.backup(copy)

    def _moment(self, connection: Connection) -> float:
        if self._given is not None:
            return self._given()
        if self.is_postgres:
            moment = connection.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())::float8")).scalar_one()
            self._steady.set(float(moment))
        return self._steady()


def bump(tx: Tx, name: str) -> int:
    """Raise a version, making its row at the first time; returns the new one."""
    first = tx.upsert(versions).values(name=name, version=1)
    risen = {"version": versions.c.version + 1}
    done = tx.run(first.on_conflict_do_update(index_elements=["name"], set_=risen).returning(versions.c.version))
    return int(done.scalar_one())


def current_versions(tx: Tx) -> dict[str, int]:
    return {row.name: int(row.version) for row in tx.all(sa.select(versions.c.name, versions.c.version))}


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
        raise StoreGoneError(f"The database cannot be used now: {_first_line(error)}") from error
    except sa.exc.DatabaseError as error:
        # A constraint that refuses is the caller's; a file that is corrupt is the database's.
        if isinstance(error, sa.exc.IntegrityError | sa.exc.DataError | sa.exc.ProgrammingError):
            raise
        raise StoreGoneError(f"The database cannot be used now: {_first_line(error)}") from error


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


def _engine(address: URL) -> Engine:
    if address.get_backend_name() == "postgresql":
        return sa.create_engine(
            address, pool_size=10, max_overflow=5, pool_timeout=5, pool_pre_ping=True, isolation_level="READ COMMITTED",
            connect_args={"connect_timeout": 5, "application_name": "flagserver"},
        )  # fmt: skip
    engine = sa.create_engine(
        address, pool_size=16, max_overflow=4, pool_timeout=5,
        connect_args={"isolation_level": None, "check_same_thread": False, "timeout": _BUSY_MS / 1000},
    )  # fmt: skip
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(dbapi: Any, _entry: ConnectionPoolEntry) -> None:
    cursor = dbapi.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-2000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A write takes the lock at once: one that begins as a read can be refused in its middle.
    writes = connection.get_execution_options().get("rampgate_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _version(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection, found: str | None) -> None:
    # Alembic takes ten MiB: imported only where there is something to migrate.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise SettingsError(f"The database is at version {found}, newer than this server knows. Start the newer one.")
    command.upgrade(config, "head")
