"""Several servers that start at the same moment on an empty database: one makes the tables, one shows a key."""

import os
import re
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import requests
import sqlalchemy as sa

from flagserver.auth import Keyring, NewKey, Role, Wish
from flagserver.store import Store, engine
from flagserver.store.schema import HEAD
from tests import nursery
from tests.flagserver.process import START_WITHIN, FlagServer, bearer

AT_ONCE = 3
SHOWN = re.compile(r"^admin key, shown once: (rg_admin_\S+)$", re.M)


def without_a_key(url: str, folder: Path) -> dict[str, str]:
    environ = dict(FlagServer(folder, database_url=url).environ)
    del environ["FLAGSERVER_ADMIN_KEY"]
    return environ


def rows(url: str, question: str) -> list[Any]:
    store = Store(url)
    with closing(store), store.read() as tx:
        return list(tx.run(sa.text(question)).scalars())


def said(out: int) -> str:
    """What a server prints until it listens."""
    lines = ""
    with os.fdopen(out) as read:
        for line in read:
            lines += line
            if line.startswith("listening"):
                return lines
    raise AssertionError(f"it ended without listening: {lines}")


def test_servers_that_start_at_once_on_an_empty_database_make_it_once_and_show_one_key(
    empty_url: str, tmp_path: Path
) -> None:
    environ = without_a_key(empty_url, tmp_path)
    with ExitStack() as stack, (tmp_path / "log").open("w") as log:
        outs = []
        for _ in range(AT_ONCE):
            out, theirs = os.pipe()
            program = nursery.start(
                "flagserver.cli", "serve", environ=environ, cwd=tmp_path, stdout=theirs, stderr=log.fileno()
            )
            os.close(theirs)
            stack.callback(program.wait, START_WITHIN)
            stack.callback(program.kill)
            outs.append(out)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            texts = list(pool.map(said, outs))
        keys = SHOWN.findall("".join(texts))
        assert len(keys) == 1
        for text in texts:
            url = text.strip().rsplit(" ", 1)[1]
            assert requests.get(f"{url}/v1/keys", headers=bearer(keys[0]), timeout=30).status_code == 200
    assert rows(empty_url, "SELECT role FROM keys") == ["admin"]
    assert rows(empty_url, "SELECT version_num FROM alembic_version") == [HEAD]
    assert rows(empty_url, "SELECT action FROM audit") == ["key.created"]
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_migrate_twice_at_once_ends_well_twice(empty_url: str, tmp_path: Path) -> None:
    environ = without_a_key(empty_url, tmp_path)
    with ExitStack() as stack:
        logs = [stack.enter_context((tmp_path / f"log-{number}").open("w")) for number in range(2)]
        both = [
            nursery.start("flagserver.cli", "migrate", environ=environ, cwd=tmp_path, stderr=log.fileno())
            for log in logs
        ]
        codes = [one.wait(START_WITHIN) for one in both]
    texts = [Path(log.name).read_text() for log in logs]
    assert codes == [0, 0], texts
    assert all("is up to date" in text for text in texts)
    assert rows(empty_url, "SELECT version_num FROM alembic_version") == [HEAD]


def test_of_servers_that_find_no_key_at_the_same_moment_one_makes_the_first(store: Store) -> None:
    wish = Wish(role=Role.ADMIN, environment=None, name="first")
    together = threading.Barrier(AT_ONCE)

    def start(keyring: Keyring) -> NewKey | None:
        keyring.refresh()
        assert keyring.is_empty
        together.wait(20)
        return keyring.create_first(wish, by="test")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        made = list(pool.map(start, [Keyring(store) for _ in range(AT_ONCE)]))
    assert len([one for one in made if one is not None]) == 1


def test_a_server_waits_for_another_process_that_makes_the_tables_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_BUSY_MS", 1)
    path = tmp_path / "flagserver.db"
    store = Store(f"sqlite:///{path}")
    with closing(store), closing(sqlite3.connect(path, isolation_level=None)) as other, ThreadPoolExecutor(1) as pool:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("BEGIN IMMEDIATE")
        migrating = pool.submit(store.migrate)
        assert not wait([migrating], timeout=0.3).done
        other.execute("ROLLBACK")
        migrating.result()
    assert rows(f"sqlite:///{path}", "SELECT version_num FROM alembic_version") == [HEAD]
