"""Starts our programs for tests by forking them off a process that has imported all they need: a start costs a few
hundredths of a second instead of one. What was forked runs as `python -m MODULE` does, to its own end.

How a program starts from nothing is shown by `test_gate_start.py`, by the commands in `test_flagserver_process.py`, and
by the demo and the containers.
"""

import atexit
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
FORK_WITHIN = 90.0
"""Seconds. The first of a kind waits for the imports, which a busy machine may take long over."""

NEEDS = {
    "gate.app": ("gate.app",),
    "gate.cli": ("gate.cli",),
    "flagserver.cli": ("flagserver.cli", "flagserver.serve"),
}
"""What is imported beforehand, by the module that runs."""


@dataclass(eq=False)
class Program:
    """A running program: what `subprocess.Popen` offers of one. A negative exit code is the signal that ended it."""

    args: str
    pid: int
    returncode: int | None = None
    _line: socket.socket = field(kw_only=True)
    _lock: threading.Lock = field(default_factory=threading.Lock, kw_only=True)

    def poll(self) -> int | None:
        """The exit code of a program that has ended."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; its exit code.

        Raises:
            subprocess.TimeoutExpired: it lives after ``timeout`` seconds.
        """
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        with suppress(ValueError):  # another thread was told meanwhile, and has closed the line
            if self.returncode is None and select.select([self._line], [], [], timeout)[0]:
                with self._lock:
                    if self.returncode is None:
                        self.returncode = int(self._line.recv(64) or b"70")
                        self._line.close()
        return self.returncode


class _Nursery:
    """The process that has everything imported, as its children's parents see it."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.nursery", module, str(theirs.fileno())],
                cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip
        atexit.register(self._close)

    def _close(self) -> None:
        self._door.close()
        self._process.wait(FORK_WITHIN)

    def start(self, job: Mapping[str, object], *streams: int) -> Program:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(self._door, [json.dumps(job).encode()], [theirs.fileno(), *streams])
        if not select.select([ours], [], [], FORK_WITHIN)[0]:
            raise AssertionError(f"{self._module} was not forked off")
        return Program(self._module, int(ours.recv(64)), _line=ours)


_nurseries: dict[str, _Nursery] = {}
_opening = threading.Lock()


def start(
    module: str, *arguments: str, environ: Mapping[str, str], cwd: Path, stdout: int | None = None, stderr: int
) -> Program:
    """Run `python -m MODULE ARGUMENTS`, with an environment and a working folder of its own.

    ``stdout`` and ``stderr`` are file descriptors; without ``stdout`` it is where ``stderr`` is.
    """
    with _opening:
        if module not in _nurseries:
            _nurseries[module] = _Nursery(module)
    job = {"arguments": arguments, "environ": dict(environ), "cwd": str(cwd)}
    with ExitStack() as stack:
        nothing = os.open(os.devnull, os.O_RDONLY)
        stack.callback(os.close, nothing)
        return _nurseries[module].start(job, nothing, stderr if stdout is None else stdout, stderr)


def _forks(door: socket.socket) -> dict[str, object] | None:
    """Fork a program for each job that comes, and tell how it ended; the job itself in a new child, ``None`` when all
    is over."""
    living: dict[int, socket.socket] = {}
    waking, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken)
    while True:
        ready, _, _ = select.select([door, waking], [], [])
        if waking in ready:
            os.read(waking, 1 << 12)
            while living:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                with living.pop(pid) as line:
                    _tell(line, os.waitstatus_to_exitcode(status))
        if door in ready:
            text, fds, _, _ = socket.recv_fds(door, 1 << 20, 4)
            if not text:
                return None
            pid = os.fork()
            if not pid:
                break
            for fd in fds[1:]:
                os.close(fd)
            living[pid] = socket.socket(fileno=fds[0])
            _tell(living[pid], pid)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for fd in (waking, woken, fds[0]):
        os.close(fd)
    for other in (door, *living.values()):
        other.close()
    for target, fd in enumerate(fds[1:]):
        os.dup2(fd, target)
        os.close(fd)
    job: dict[str, object] = json.loads(text)
    return job


def _tell(line: socket.socket, number: int) -> None:
    with suppress(OSError):  # the test that asked may be over
        line.send(str(number).encode())


def main(module: str, door: int) -> None:
    for needed in NEEDS[module]:
        importlib.import_module(needed)
    sys.modules.pop(module)
    job = _forks(socket.socket(fileno=door))
    if job is None:
        return
    os.environ.clear()
    os.environ.update(job["environ"])  # type: ignore[call-overload]
    os.chdir(str(job["cwd"]))
    sys.argv[1:] = job["arguments"]  # type: ignore[assignment]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
