"""What the gate costs: from its start to its first request at the flag server, and a tick, each beside its floor.

    make bench, or: PYTHONPATH=. python bench/gate_bench.py

The bounds are the product's: 0.6 s to the first request, 50 ms of processor time for a tick.
"""

import http.client
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from socket import create_server, socket
from statistics import median
from urllib.parse import urlsplit

from examples.demo.town import REPOSITORY
from gate.deploy import Deployment, Done, Work
from gate.drive import Driver, World
from gate.flagserver_api import FlagServer as Api
from gate.github.no_github import NoGitHub
from gate.metrics.flagserver import FlagServerSource
from gate.runner_files import RunnerFiles
from gate.telling import Audience, Telling
from gate.world import RealClock
from rampgate import FlagClient
from rampgate.evidence import Look
from rampgate.plan import RolloutPlan, Step
from rampgate.rollout import NewRollout, Rollout, Slot
from tests.fakes.github import FakeGitHub
from tests.flagserver.process import FlagServer, bearer

ROOT = Path(__file__).parents[1]
STARTS = 11
TICKS = 100
SHA = "1" * 40
START_BOUND = 0.6
TICK_BOUND = 0.050


def step_environ(folder: Path, flag_server: str, github: FakeGitHub | None) -> dict[str, str]:
    """What the runner gives a step that was started by a push."""
    (folder / "event.json").write_text(json.dumps({"repository": {"id": 1, "full_name": REPOSITORY}}))
    left = ("GITHUB_", "INPUT_", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(left)} | {
        "GITHUB_ACTOR": "ann",
        "GITHUB_API_URL": github.url if github else "http://127.0.0.1:9",
        "GITHUB_EVENT_NAME": "push",
        "GITHUB_EVENT_PATH": str(folder / "event.json"),
        "GITHUB_REF": "refs/heads/main",
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_REPOSITORY_ID": "1",
        "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_RUN_ID": "1",
        "GITHUB_SHA": SHA,
        "GITHUB_WORKSPACE": str(ROOT / "examples/demo/workspace"),
        "INPUT_FLAG-SERVER-KEY": "rg_operator_abcdefgh_" + "s" * 43,
        "INPUT_FLAG-SERVER-URL": flag_server,
        "INPUT_GITHUB-TOKEN": github.token("github-actions[bot]", reads_user=False) if github else "",
    }


def first_request(environ: Mapping[str, str], listener: socket) -> float:
    """Seconds from the gate's start to the first byte of a request."""
    forget(listener)
    began = time.perf_counter()
    gate = subprocess.Popen(
        [sys.executable, "-m", "gate.early"], cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        caller, _ = listener.accept()
        with caller:
            caller.recv(1)
        return time.perf_counter() - began
    except TimeoutError:
        gate.kill()
        said = gate.stdout.read().decode() if gate.stdout is not None else ""
        raise SystemExit(f"the gate asks nothing:\n{said}") from None
    finally:
        gate.kill()
        gate.wait()
        if gate.stdout is not None:
            gate.stdout.close()


def forget(listener: socket) -> None:
    """Take the calls of earlier gates out of the queue."""
    patience = listener.gettimeout()
    listener.settimeout(0)
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
    listener.settimeout(patience)


def bare(*code: str) -> float:
    """Seconds that an interpreter takes to come, run this, and go."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", *code], check=True, cwd=ROOT)
    return time.perf_counter() - began


def starts() -> bool:
    with (
        tempfile.TemporaryDirectory() as name,
        FakeGitHub(REPOSITORY) as github,
        closing(create_server(("127.0.0.1", 0), backlog=64)) as listener,
    ):
        github.pull(7, author="ann", head_sha="2" * 40, merge_sha=SHA, merged=True)
        listener.settimeout(20)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        folder = Path(name)
        with_github, alone = step_environ(folder, url, github), step_environ(folder, url, None)
        contestants: dict[str, Callable[[], float]] = {
            "floor: python -c pass": lambda: bare("pass"),
            "its packages alone": lambda: bare("import requests, pydantic, yaml"),
            "gate, no GitHub token": lambda: first_request(alone, listener),
            "gate, asks GitHub first": lambda: first_request(with_github, listener),
        }
        took: dict[str, list[float]] = {each: [] for each in contestants}
        for _ in range(STARTS):
            for each, call in contestants.items():
                took[each].append(call())
    floor = min(took["floor: python -c pass"])
    print(f"Start to the first request at the flag server, best and median of {STARTS}, and how many floors")
    for each, times in took.items():
        bound = f"  bound {START_BOUND} s  {word(min(times) <= START_BOUND)}" if each.startswith("gate") else ""
        print(f"  {each:26}{min(times):7.3f} s{median(times):8.3f} s{min(times) / floor:8.1f}{bound}")
    return all(min(times) <= START_BOUND for times in took.values())


class _EnoughError(Exception):
    """The ticks that were wanted have been made."""


def shop(url: str, key: str) -> None:
    """A shop with users, in a process of its own."""
    with FlagClient(url, key) as client:
        client.ready()
        number = 0
        while True:
            for _ in range(20):
                number += 1
                client.assign("shop", f"user-{number % 5000}", "blue").finish(ok=number % 33 != 0)
            time.sleep(0.02)


class _AllUp:
    """Slots that are what they are asked to be."""

    def run(self, work: Work, keep_going: Callable[[], bool]) -> Deployment:  # noqa: ARG002
        return Done(text="up", version=work.version)

    def __call__(self, work: Work, keep_going: Callable[[], bool]) -> Deployment:
        return self.run(work, keep_going)


@contextmanager
def users(server: FlagServer) -> Iterator[None]:
    process = multiprocessing.get_context("spawn").Process(target=shop, args=(server.url, server.key("sdk")))
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def ticks() -> bool:
    plan = RolloutPlan(
        flag="shop", environment="production", steps=(Step(share=50_000, bake=60.0), Step(share=100_000, bake=60.0)),
        poll=0.1, lease=3.0, stale_after=3.0, heartbeat=1.0, scale_down_delay=6.0,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, FlagServer(Path(folder)) as server, users(server):
        api = Api(server.url, server.key("operator"))
        new = NewRollout(key="bench", plan=plan, version="v2", stable=Slot(name="blue"), baseline=True, by="bench")
        rollout = api.create(new)
        audience = Audience(
            say=lambda _: None, files=RunnerFiles(), server=api, github=lambda: NoGitHub(lambda _: None)
        )
        telling = Telling(audience, time.monotonic)
        marks: dict[int, tuple[float, float]] = {}

        def report(rollout: Rollout, looks: tuple[Look, ...]) -> None:
            telling(rollout, looks)
            marks.setdefault(len(looks), (time.process_time(), time.perf_counter()))
            if len(looks) >= TICKS:
                raise _EnoughError

        world = World(
            server=api, source=FlagServerSource(api), deployer=_AllUp(), verify=_AllUp(), report=report,
            clock=RealClock(), holder="bench",
        )  # fmt: skip
        try:
            Driver(world=world, rollout=rollout).run()
        except _EnoughError:
            telling.close()
        request = bare_request(server.url, server.admin_key)
    (cpu, wall), (cpu_end, wall_end) = marks[1], marks[max(marks)]
    made = max(marks) - 1
    cost = (cpu_end - cpu) / made
    print(f"\nProcessor time of a tick of the gate (read, judge, tell the server, report), mean of {made}")
    print(f"  floor: a bare GET          {request * 1000:7.2f} ms")
    print(f"  a tick                     {cost * 1000:7.2f} ms{cost / request:8.1f}", end="")
    print(f"  bound {TICK_BOUND * 1000:.0f} ms  {word(cost <= TICK_BOUND)}")
    print(f"  {made / (wall_end - wall):.1f} ticks a second were asked for at one in {plan.poll} s")
    return cost <= TICK_BOUND


def bare_request(url: str, key: str, times: int = 200) -> float:
    """Processor seconds of one request by the standard library, on a kept connection."""
    with closing(http.client.HTTPConnection(urlsplit(url).netloc)) as connection:
        began = time.process_time()
        for _ in range(times):
            connection.request("GET", "/v1/rollouts?limit=1", headers=bearer(key))
            connection.getresponse().read()
        return (time.process_time() - began) / times


def word(held: bool) -> str:
    return "held" if held else "MISSED"


def main() -> int:
    held = [starts(), ticks()]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
