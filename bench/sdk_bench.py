"""A percentage lookup in every Python SDK that installs, side by side in one run, as ratios to the floor and to ours.

    make bench, or once that has set up build/bench: python bench/sdk_bench.py

A boolean flag that is on for 10 % of users, asked for a new user each time, with 1 and with 1 000 flags defined. The
floor is a dictionary, a murmur3 hash and a comparison. Turn by turn, and the best round of each: whatever else the
machine does falls on all alike, and on few of the best. Bounds: SEMANTICS 14 and the table in the README.
"""

import gc
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mmh3

ROOT = Path(__file__).parents[1]
PEERS_PYTHON = ROOT / "build" / "bench" / "bin" / "python"
USERS = [f"user-{number}" for number in range(2000)]
STRETCH = 100
ROUNDS = 30
KEY = "rg_sdk_bench_bench"

FLOOR, OURS, RAMPING, COUNTED = "the floor", "Rampgate", "- in a rollout", "- in a rollout, counted"
DETAILS, COUNTED_DETAILS = "- details", "- details in a rollout, counted"
NO_OP, PROVIDER = "OpenFeature, no provider", "OpenFeature, Rampgate's"
WITHIN = {OURS: 2.5, RAMPING: 3.0, COUNTED: 4.0, DETAILS: 4.0, COUNTED_DETAILS: 4.0}
"""How many floors a lookup may cost."""

AHEAD = {"Statsig (Rust core)": 3.0, "LaunchDarkly": 20.0, "flagd": 20.0, "Unleash": 40.0}
"""How many times the cost of ours theirs is, at least. Statsig's is the fastest: so the first holds for all."""

OPENFEATURE = 1.15
"""How many times the cost of OpenFeature's client alone it may be with our provider."""


@dataclass
class Runner:
    """One lookup in the race. Each hundred users keep their own best time: a short stretch is sometimes undisturbed."""

    ask: Callable[[Any], object]
    users: Sequence[Any]
    bests: list[float] = field(default_factory=lambda: [float("inf")] * (len(USERS) // STRETCH))

    def run(self) -> None:
        ask = self.ask
        for number, best in enumerate(self.bests):
            stretch = self.users[number * STRETCH : (number + 1) * STRETCH]
            began = time.perf_counter_ns()
            for user in stretch:
                ask(user)
            self.bests[number] = min(best, (time.perf_counter_ns() - began) / STRETCH)

    @property
    def best(self) -> float:
        """Nanoseconds a lookup."""
        return sum(self.bests) / len(self.bests)


def floor(thresholds: dict[str, int], asked: str, user: str) -> bool:
    return mmh3.hash(asked + user, 0, False) < thresholds[asked]


def ours(stand: Any) -> dict[str, Runner]:
    """The floor, our client in its several uses, and OpenFeature's client with and without our provider."""
    from lookup_bench import percentage  # noqa: PLC0415
    from openfeature import api  # noqa: PLC0415 - what is needed here may be missing elsewhere
    from openfeature.evaluation_context import EvaluationContext  # noqa: PLC0415
    from openfeature.provider.no_op_provider import NoOpProvider  # noqa: PLC0415

    from rampgate import FlagClient  # noqa: PLC0415
    from rampgate.client.openfeature import RampgateProvider  # noqa: PLC0415

    times = {"staleAfter": 86400, "poll": 3600, "heartbeat": 3600}
    rollouts = {"ramping": {"rollout": "r", "attempt": 1, "stable": "off", "canary": "on", **times}}
    flags = {name: percentage(10_000, name) for name in (*stand.names, "ramping")}
    document = {"version": "v", "bucketing": "v2", "flags": flags, "rollouts": rollouts}
    environment = f"bench-{stand.flags}"
    stand.serve(f"/v1/{environment}/snapshot", document | {"environment": environment})
    counting = FlagClient(stand.url, KEY, environment=environment)
    quiet = FlagClient(stand.url, KEY, environment=environment, telemetry=False)
    stand.endings += [counting.close, quiet.close, api.shutdown]
    assert counting.ready()
    assert quiet.ready()
    noop, provided = f"noop-{stand.flags}", f"rampgate-{stand.flags}"
    api.set_provider_and_wait(NoOpProvider(), noop)
    api.set_provider_and_wait(RampgateProvider(counting), provided)
    alone, with_ours = api.get_client(noop), api.get_client(provided)
    contexts = [EvaluationContext(user) for user in USERS]
    asked = stand.asked
    thresholds = dict.fromkeys(stand.names, (1 << 32) // 10)
    return {
        FLOOR: Runner(lambda user: floor(thresholds, asked, user), USERS),
        OURS: Runner(lambda user: counting.boolean(asked, False, user), USERS),
        RAMPING: Runner(lambda user: quiet.boolean("ramping", False, user), USERS),
        COUNTED: Runner(lambda user: counting.boolean("ramping", False, user), USERS),
        DETAILS: Runner(lambda user: counting.details(asked, False, user), USERS),
        COUNTED_DETAILS: Runner(lambda user: counting.details("ramping", False, user), USERS),
        NO_OP: Runner(lambda context: alone.get_boolean_value(asked, False, context), contexts),
        PROVIDER: Runner(lambda context: with_ours.get_boolean_value(asked, False, context), contexts),
    }


@contextmanager
def collected() -> Iterator[None]:
    """What stands by is not looked through again and again, for anybody."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def race(kiosk: Any, flags: int) -> tuple[dict[str, Runner], dict[str, str]]:
    """Everybody, run in turn; and who could not come, with the reason."""
    import peers  # noqa: PLC0415 - stands beside this file

    runners = ours(kiosk.stand(flags, USERS))
    absent: dict[str, str] = {}
    for name in peers.PEERS:
        try:
            runner = Runner(*peers.asker(name, kiosk.stand(flags, USERS)))
            on = sum(bool(runner.ask(user)) for user in runner.users)
        except Exception as error:
            absent[name] = f"{type(error).__name__}: {error}"
            continue
        if not 120 < on < 280:
            absent[name] = f"it is on for {on} of 2 000 users instead of some 200"
            continue
        runners[name] = runner
    with collected():
        for _ in range(ROUNDS):
            for runner in runners.values():
                runner.run()
    return runners, absent


def show(tables: dict[int, dict[str, Runner]]) -> None:
    import peers  # noqa: PLC0415

    heads = "".join(f"{f'{flags} flag' + 's' * (flags > 1):>14}{'floors':>9}{'ours':>8}" for flags in tables)
    print(f"nanoseconds a lookup\n{'':62}{heads}")
    for name in max(tables.values(), key=len):
        package = peers.PEERS.get(name, ("",))[0]
        line = f"{name:33}{f'{package} {version(package)}' if package else '':29}"
        for runners in tables.values():
            if name not in runners:
                line += f"{'-':>14}{'-':>9}{'-':>8}"
                continue
            best = runners[name].best
            line += f"{best:14.0f}{best / runners[FLOOR].best:9.2f}{best / runners[OURS].best:8.1f}"
        print(line)


def judge(flags: int, runners: dict[str, Runner]) -> bool:
    """Print each bound and whether it held. A peer that is absent judges nothing."""
    best = {name: runner.best for name, runner in runners.items()}
    said: list[tuple[str, float, str, float, bool]] = []
    for name, bound in WITHIN.items():
        said.append((f"{name} to the floor", ratio := best[name] / best[FLOOR], "≤", bound, ratio <= bound))
    for name, bound in AHEAD.items():
        if name in best:
            said.append((f"{name} to Rampgate", ratio := best[name] / best[OURS], "≥", bound, ratio >= bound))
    others = {name: cost for name, cost in best.items() if name not in ours_alone()}
    if others:
        first = min(others, key=lambda name: others[name])
        said.append((f"the fastest ({first})", ratio := others[first] / best[OURS], "≥", 3.0, ratio >= 3.0))
    ratio = best[PROVIDER] / best[NO_OP]
    said.append(("our provider to OpenFeature alone", ratio, "≤", OPENFEATURE, ratio <= OPENFEATURE))
    print(f"\nBounds, {flags} flag{'s' * (flags > 1)}")
    for what, ratio, sign, bound, held in said:
        print(f"  {what:46}{ratio:8.2f}   {sign} {bound:<6}{'held' if held else 'MISSED'}")
    return all(held for *_, held in said)


def ours_alone() -> set[str]:
    return {FLOOR, *WITHIN, NO_OP, PROVIDER}


def main() -> int:
    import peers  # noqa: PLC0415

    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    tables: dict[int, dict[str, Runner]] = {}
    missing: dict[str, str] = {}
    with peers.Kiosk() as kiosk:
        for flags in (1, 1000):
            tables[flags], absent = race(kiosk, flags)
            missing.update(absent)
    show(tables)
    for name, reason in missing.items():
        try:
            installed = f"{peers.PEERS[name][0]} {version(peers.PEERS[name][0])}"
        except PackageNotFoundError:
            installed = f"{peers.PEERS[name][0]} is not installed; make bench installs it"
        print(f"NOT MEASURED: {name} ({installed}): {reason}")
    held = [judge(flags, runners) for flags, runners in tables.items()]
    return 0 if all(held) else 1


if __name__ == "__main__":
    if PEERS_PYTHON.exists() and Path(sys.prefix) != PEERS_PYTHON.parents[1]:
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        os.execve(PEERS_PYTHON, [str(PEERS_PYTHON), __file__, *sys.argv[1:]], environ)
    sys.exit(main())
