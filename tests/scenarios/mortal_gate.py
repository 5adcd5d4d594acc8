"""Gates that kill themselves: real processes that release a version, and die by SIGKILL at a chosen outside call.

Run as a module: reads jobs from standard input, one JSON line each, and forks a gate for each, so that a hundred gates
need one start of Python. Says on standard output which process a job became, and how it ended.
"""

import json
import os
import select
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter

from gate import config as configuration
from gate.deploy import Deployer
from gate.errors import RampgateError
from gate.flagserver_api import FlagServer
from gate.metrics import Source
from gate.release import Gate, Release, release
from gate.world import Hands, RealClock, Surroundings, hands
from rampgate.evidence import Look
from rampgate.machine.events import Event
from rampgate.rollout import Rollout
from tests.scenarios.users import FAILS, Users

_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One gate. It dies at ``dies_at``, such as ``["after", "source.read", 2]``; with ``None`` it lives to its end.

    ``journal`` is a file for a line about each call, written before the call that kills; ``folder`` is where hooks run.
    """

    url: str
    key: str
    document: Mapping[str, Any]
    folder: str
    journal: str
    holder: str = "attempt 1"
    replaces: tuple[str, ...] = ()
    version: str = "v2"
    fails: float = FAILS
    dies_at: tuple[str, str, int] | None = None


@dataclass
class Calls:
    """Writes outside calls down, and ends the process at the chosen one."""

    job: Job
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    file: int = field(init=False)

    def __post_init__(self) -> None:
        self.file = os.open(self.job.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def tick(self, when: str, name: str, event: object = None) -> None:
        self.seen[when, name] += 1
        call = [when, name, self.seen[when, name]]
        dies = self.job.dies_at is not None and call == list(self.job.dies_at)
        line: dict[str, Any] = {"call": call, "dies": dies}
        if event is not None and when == "after":
            line["event"] = _EVENT.dump_python(cast(Event, event), mode="json")
        os.write(self.file, json.dumps(line).encode() + b"\n")
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any, **kwargs: Any) -> Any:
            event = args[1] if name == "server.post" else None
            called = f"{name} {event.type}" if event is not None else name
            self.tick("before", called)
            answer = call(*args, **kwargs)
            self.tick("after", called, event)
            return answer

        return counting


class Mortal:
    """A port whose every call is counted."""

    def __init__(self, name: str, port: object, calls: Calls) -> None:
        self._name, self._port, self._calls = name, port, calls

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return self._calls.counted(f"{self._name}.{method}", getattr(self._port, method))


def untold(rollout: Rollout, looks: tuple[Look, ...]) -> None:
    """Nobody listens to these gates."""


def live(job: Job) -> None:
    """Release the version, as the Action does."""
    calls = Calls(job)
    config = configuration.from_document(job.document, where="the scenario")
    server = FlagServer(job.url, job.key)
    around = Surroundings(folder=Path(job.folder), environ=os.environ, secrets=(), say=print)
    real = hands(config, around, server)
    gate = Gate(
        server=cast(FlagServer, Mortal("server", server, calls)),
        hands=Hands(
            deployer=cast(Deployer, Mortal("deployer", real.deployer, calls)),
            verify=calls.counted("verify", real.verify),
            source=cast(Source, Mortal("source", Users(FlagServer(job.url, job.key), job.fails), calls)),
        ),
        clock=RealClock(),
        report=untold,
        holder=job.holder,
        replaces=lambda holder: holder in job.replaces,
    )
    release(
        gate,
        config,
        Release(key=f"{job.version} of {config.plan.flag}", version=job.version, by="@ann"),
        lambda _: None,
    )


def born(job: Job) -> int:
    """Fork a gate; its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        log = os.open(f"{job.journal}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        live(job)
        code = 0
    except RampgateError as error:
        print(error)
        code = int(error.exit)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def main() -> None:
    alive: dict[int, int] = {}
    pending = b""
    reading = True
    while reading or alive:
        if select.select([0] if reading else [], [], [], 0.01)[0]:
            chunk = os.read(0, 1 << 16)
            reading = bool(chunk)
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                asked = json.loads(line)
                pid = born(Job(**asked["job"]))
                alive[pid] = asked["number"]
                say(number=asked["number"], pid=pid)
        while alive:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            say(number=alive.pop(pid), code=os.waitstatus_to_exitcode(status))


def say(**what: int) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def line_of(number: int, job: Job) -> bytes:
    """A job as ``main`` reads it."""
    return json.dumps({"number": number, "job": asdict(job)}).encode() + b"\n"


if __name__ == "__main__":
    main()
