"""Which form the tables have, and how they come to the one that this code needs. Migrations only ever add."""

from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from flagserver.errors import SettingsError
from flagserver.store.tables import versions

HEAD = "0013"
"""The migration that this code needs; a test compares it with the newest one in the package."""

LEAST = 1
"""The oldest code, by the migration that it needs, that may go on while the tables have this form.

Older code reads plans, states and events that have further fields; it keeps those of a plan and of a state itself, and
drops those of what is nested in a state. It cannot read a new kind of event or a new word of an enumeration: whoever
writes one raises this. `tests/golden/stored-words.txt` lists the words there are.
"""

ROW = "schema"
"""Among the versions: ``LEAST`` of the code that wrote the newest migration."""

log = structlog.get_logger("flagserver.store")


def migrate(connection: Connection) -> None:
    """Bring the tables to this version's form, in the transaction that is open; others are kept out by the caller.

    Raises:
        SettingsError: the database was written by a newer version, which this one must not follow.
    """
    found = _version(connection)
    if found == HEAD:
        return
    # Alembic takes ten MiB: imported only where there is something to migrate.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        least = connection.execute(sa.select(versions.c.version).where(versions.c.name == ROW)).scalar()
        if least is None or not is_understood({ROW: least}):
            text = f"The database is at version {found}, newer than this server understands ({HEAD}). "
            raise SettingsError(text + "Start the newer one.")
        log.warning("newer_tables", found=found, needed=HEAD, why="the newer version lets this one go on")
        return
    command.upgrade(config, "head")
    connection.execute(sa.delete(versions).where(versions.c.name == ROW))
    connection.execute(sa.insert(versions).values(name=ROW, version=LEAST))


def is_understood(found: dict[str, int]) -> bool:
    """Whether code of this version may go on, by the versions that were read."""
    return found.get(ROW, 0) <= int(HEAD)


def _version(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
