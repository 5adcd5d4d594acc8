"""A start without the flag server: the last good snapshot on disk, and the flags that an app ships."""

import json
import os
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rampgate import FlagClient
from rampgate.client import Reason
from rampgate.client.cache import Cache, document
from rampgate.client.snapshot import NOTHING
from rampgate.client.workshop import Workshop
from tests.rampgate.client.scripted import Scripted, plain, ramp, ramping, until
from tests.rampgate.client.scripted import document as served

Connect = Callable[..., FlagClient]
NOWHERE = "http://127.0.0.1:9"


def saved(folder: Path) -> Path:
    [path] = folder.glob("rampgate-*.json")
    return path


def run_once(server: Scripted, connect: Connect, folder: Path) -> None:
    client = connect(server, cache=folder)
    assert client.ready(10)
    client.close()


def restart(server: Scripted, connect: Connect, folder: Path, **more: Any) -> FlagClient:
    """A new process's client, while the server answers nobody."""
    server.stream_mode = server.snapshot_mode = "hang"
    return connect(server, cache=folder, **more)


def test_a_restart_has_the_last_good_flags_at_once_and_rollouts_stay_stable_until_contact(
    server: Scripted, connect: Connect, tmp_path: Path
) -> None:
    server.snapshot["flags"]["shop"] = ramping(99_999)
    run_once(server, connect, tmp_path)
    client = restart(server, connect, tmp_path)
    assert not client.ready(0), "a file is no contact"
    assert client.boolean("new", False, "u") is True
    found = client.details("shop", "", "u")
    assert (found.value, found.reason, found.counted) == ("blue", Reason.STALE, False)
    server.stream_mode, server.snapshot_mode = "events", "answer"
    server.cut()
    server.ended.set()
    until(lambda: client.string("shop", "", "u") == "green")
    assert client.ready(0)


def test_an_unchanged_snapshot_needs_no_second_transfer(server: Scripted, connect: Connect, tmp_path: Path) -> None:
    server.stream_mode = 404
    run_once(server, connect, tmp_path)
    client = connect(server, cache=tmp_path)
    assert client.ready(10)
    assert server.polls[-1].headers["If-None-Match"] == '"v1"'
    assert client.details("shop", "", "u").reason is not Reason.STALE


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other server", "a list", "nested"])
def test_a_file_that_cannot_be_trusted_is_not_used(
    server: Scripted, connect: Connect, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    run_once(server, connect, tmp_path)
    path = saved(tmp_path)
    text = path.read_text()
    bad = {
        "cut": text[: len(text) // 2],
        "flipped": text.replace("true", "tru3"),
        "empty": "",
        "other server": json.dumps({**json.loads(text), "of": "http://elsewhere production"}),
        "a list": "[]",
        "nested": "[" * 100_000,
    }
    path.write_text(bad[damage])
    client = restart(server, connect, tmp_path, bootstrap={"flags": {"new": plain(False)}})
    assert client.boolean("new", True, "u") is False, "the bootstrap flags take its place"
    assert "are not used" in caplog.text


def test_many_writers_leave_a_whole_file(tmp_path: Path) -> None:
    made = Workshop(clock=lambda: 0.0, counts=None)
    snapshots = [made.from_document(served({"new": plain()}, version=f"v{n}" * 1000), 0.0, NOTHING) for n in range(4)]

    def write(number: int) -> None:
        cache = Cache(tmp_path, NOWHERE, "production", lambda: 0.0)
        for _ in range(20):
            cache.save(snapshots[number], now=True)
            cache._saved = None
            loaded = Cache(tmp_path, NOWHERE, "production", lambda: 0.0).load(made, NOTHING)
            assert loaded is not None
            seen.add(str(loaded.version)[:2])

    seen: set[str] = set()
    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen <= {"v0", "v1", "v2", "v3"}
    assert [path.name for path in tmp_path.iterdir()] == [saved(tmp_path).name]
    assert saved(tmp_path).stat().st_mode & 0o077 == 0


def test_what_is_written_reads_the_same() -> None:
    made = Workshop(clock=lambda: 0.0, counts=None)
    flags = {"new": plain(), "shop": ramping(25_000), "ünï": plain()}
    first = made.from_document(served(flags, {"shop": ramp(hashKey="k")}), 0.0, NOTHING)
    second = made.from_document(json.loads(document(first)), 0.0, NOTHING)
    assert {key: entry.raw for key, entry in second.entries.items()} == {k: e.raw for k, e in first.entries.items()}
    assert (second.ramps, second.version) == (first.ramps, first.version)


def test_a_folder_that_cannot_be_written_costs_a_line_in_the_log(
    server: Scripted, connect: Connect, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    run_once(server, connect, tmp_path / "file")
    assert caplog.text.count("cannot be saved") == 1


@pytest.mark.parametrize("form", ["mapping", "file"])
def test_bootstrap_flags_are_served_before_the_first_contact(tmp_path: Path, form: str) -> None:
    flags = {"flags": {"new": plain(), "shop": ramping(99_999)}, "rollouts": {"shop": ramp()}}
    (tmp_path / "flags.json").write_text(json.dumps(flags))
    with FlagClient(NOWHERE, "rg_sdk_a_b", bootstrap=flags if form == "mapping" else tmp_path / "flags.json") as client:
        assert client.boolean("new", False, "u") is True
        assert client.details("shop", "", "u").reason is Reason.STALE
        assert client.string("nope", "default", "u") == "default"


def test_bootstrap_flags_that_cannot_be_read_raise_nothing(tmp_path: Path) -> None:
    for source in (tmp_path / "none.json", {"flags": 7}, {"flags": {"new": {"state": object()}}}):
        with FlagClient(NOWHERE, "rg_sdk_a_b", bootstrap=source) as client:
            assert client.boolean("new", True, "u") is True


def test_a_fork_keeps_what_came_from_a_file(server: Scripted, connect: Connect, tmp_path: Path) -> None:
    run_once(server, connect, tmp_path)
    client = restart(server, connect, tmp_path)
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of every fork beside threads
        child = os.fork()
    if child == 0:
        os.write(writer, str(client.boolean("new", False, "u")).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert pipe.read() == "True"
