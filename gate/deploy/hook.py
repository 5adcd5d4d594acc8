"""Runs one hook as a process: a session of its own, a scrubbed environment, a deadline.

A hook that is stopped, or late, is ended with everything it started in its session. A hook that ends by itself may
leave children behind: deploy scripts start servers.
"""

import os
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from gate.deploy.deployer import Workplace
from gate.deploy.output import TAIL, Stream
from gate.foreign import Secrets

SLICE = 0.05
HURRIED = 2.0
"""Seconds that a hook has for its end when the gate itself is told to end, whose own kill is seconds away; and those of
one that only looks.
"""
MOST_BYTES = 256 << 20
"""Output at which a hook is ended: it would fill the disk."""

_SCRUBBED = ("INPUT_", "STATE_", "ACTIONS_", "RAMPGATE_", "FLAGSERVER_")
_SCRUBBED_NAMES = frozenset(
    [
        *("GITHUB_TOKEN", "GH_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "GH_ENTERPRISE_TOKEN"),
        *("GITHUB_OUTPUT", "GITHUB_STATE", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STEP_SUMMARY"),
    ]
)


class Ending(Enum):
    EXITED = auto()
    STOPPED = auto()
    LATE = auto()
    TOO_MUCH = auto()
    NOT_STARTED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a hook ended. ``code`` is its exit code (negative: the signal), ``last`` its last line on stdout."""

    ending: Ending
    seconds: float
    code: int | None = None
    last: str = ""
    tail: tuple[str, ...] = ()
    problem: str = ""


def scrubbed(environ: Mapping[str, str], hidden: frozenset[str] = frozenset()) -> dict[str, str]:
    """The environment without what is the gate's alone: inputs, tokens, keys, and the files it answers in."""
    return {
        name: value
        for name, value in environ.items()
        if not name.upper().startswith(_SCRUBBED) and name not in _SCRUBBED_NAMES and name not in hidden
    }


def run_hook(
    command: str | tuple[str, ...],
    values: Mapping[str, str],
    workplace: Workplace,
    *,
    seconds: float,
    keep_going: Callable[[], bool],
    given: bytes | None = None,
) -> Ran:
    """Run a shell command, or a program with its arguments, for at most ``seconds``.

    ``values`` reach it by its environment only. ``given`` is what it reads on its standard input, which ends when it
    is to end itself; without it there is none. Raises what ``keep_going`` or ``say`` raise, after the hook is gone.
    """
    begun = time.monotonic()
    if not keep_going():
        return Ran(ending=Ending.STOPPED, seconds=0.0)
    argv = ("/bin/sh", "-c", command) if isinstance(command, str) else command
    environ = scrubbed(workplace.environ, frozenset(workplace.hidden)) | dict(values)
    tail: deque[str] = deque(maxlen=TAIL)
    secrets = Secrets(workplace.secrets)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        streams = tuple(Stream(file, workplace.say, tail, secrets) for file in (out, err))
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
                stdout=out,
                stderr=err,
                cwd=workplace.folder,
                env=environ,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            return Ran(ending=Ending.NOT_STARTED, seconds=0.0, problem=why)
        feed = _Feed(process, given or b"")
        try:
            ending = _watch(process, streams, workplace.every, begun + seconds, keep_going, feed)
        except BaseException:
            feed.close()
            end(process, min(workplace.grace, HURRIED))
            raise
        feed.close()
        if ending is not Ending.EXITED:
            end(process, workplace.grace)
        for stream in streams:
            stream.read(ended=True)
    took = time.monotonic() - begun
    return Ran(ending=ending, seconds=took, code=process.returncode, last=streams[0].last, tail=tuple(tail))


class _Feed:
    """A hook's standard input: as fast as it takes it, and never waited for."""

    def __init__(self, process: subprocess.Popen[bytes], given: bytes) -> None:
        self._pipe, self._left = process.stdin, given
        if self._pipe is not None:
            os.set_blocking(self._pipe.fileno(), False)

    def push(self) -> None:
        if self._pipe is not None and self._left:
            try:
                self._left = self._left[os.write(self._pipe.fileno(), self._left) :]
            except BlockingIOError:
                pass
            except OSError:  # it reads no more
                self._left = b""

    def close(self) -> None:
        if self._pipe is not None:
            self._pipe.close()


def _watch(
    process: subprocess.Popen[bytes],
    streams: tuple[Stream, ...],
    every: float,
    deadline: float,
    keep_going: Callable[[], bool],
    feed: "_Feed",
) -> Ending:
    ask_at = time.monotonic() + every
    while True:
        feed.push()
        now = time.monotonic()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=max(0.0, min(SLICE, ask_at - now, deadline - now)))
            return Ending.EXITED
        for stream in streams:
            stream.read()
        now = time.monotonic()
        if now >= deadline:
            return Ending.LATE
        if sum(stream.size for stream in streams) > MOST_BYTES:
            return Ending.TOO_MUCH
        if now >= ask_at:
            if not keep_going():
                return Ending.STOPPED
            ask_at = time.monotonic() + every


def end(process: subprocess.Popen[bytes], grace: float) -> None:
    """End a hook and everything in its session: SIGTERM, and SIGKILL to what is left after ``grace`` seconds."""
    _signal(process, signal.SIGTERM)
    _await_end(process, grace)
    for _ in range(50):  # what was just being started when the signal went out gets the next one
        if not _alive(process):
            break
        _signal(process, signal.SIGKILL)
        _await_end(process, 0.1)
    process.wait()


def _await_end(process: subprocess.Popen[bytes], grace: float) -> None:
    until = time.monotonic() + grace
    while _alive(process) and time.monotonic() < until:
        time.sleep(0.01)


def _alive(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is None or bool(_session(process.pid))


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    members = _session(process.pid)
    if process.poll() is None or members:  # else the number may be another process's by now
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
    for pid in members:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _session(leader: int) -> tuple[int, ...]:
    """The living members of a session, the leader apart; none where the system has no /proc to ask."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            fields = stat.read_bytes().rpartition(b")")[2].split()
            pid = int(stat.parent.name)
            if int(fields[3]) == leader and fields[0] not in (b"Z", b"X") and pid != leader:
                members.append(pid)
    return tuple(members)
