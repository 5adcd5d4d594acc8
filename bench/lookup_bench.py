"""What a lookup costs, as ratios to its floor: a dictionary, a murmur3 hash and a comparison, called as a lookup is.

    python bench/lookup_bench.py

All figures are taken turn by turn in one run, so that whatever else the machine does falls on all of them alike.
The bounds are SEMANTICS 14's.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import mmh3

from rampgate import FlagClient

USERS = [f"user-{number}" for number in range(2000)]
ROUNDS = 40
KEY = "rg_sdk_bench_bench"


def percentage(share: int, salt: str) -> dict[str, object]:
    """A flag that is on for ``share`` 1/100 000 of users, as the server publishes one in a rollout."""
    user = {"var": "targetingKey"}
    split = {"fractional": [{"cat": [salt, user]}, ["on", share], ["off", 100_000 - share]]}
    return {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "targeting": {"if": [user, split]},
    }


def snapshot(flags: int) -> bytes:
    made = {f"flag-{number}": percentage(10_000, f"flag-{number}") for number in range(flags)}
    made["ramping"] = percentage(10_000, "ramping")
    ramp = {"rollout": "r", "attempt": 1, "stable": "off", "canary": "on", "staleAfter": 3600, "poll": 60}
    rollouts = {"ramping": {**ramp, "heartbeat": 60}}
    document = {"version": "v", "environment": "production", "bucketing": "v2", "flags": made, "rollouts": rollouts}
    return json.dumps(document).encode()


class Answers(BaseHTTPRequestHandler):
    """Snapshots of as many flags as the environment's name says, and no streams."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        _, _, environment, what = self.path.split("/")
        body = snapshot(int(environment)) if what == "snapshot" else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def floor(thresholds: dict[str, int], flag: str, user: str) -> bool:
    return mmh3.hash(flag + user, 0, False) < thresholds[flag]


def nothing(*_: object) -> None:
    pass


def timed(call: Callable[[str], object]) -> float:
    """Nanoseconds for one call, over every user once."""
    began = time.perf_counter_ns()
    for user in USERS:
        call(user)
    return (time.perf_counter_ns() - began) / len(USERS)


def race(contestants: dict[str, Callable[[str], object]]) -> dict[str, float]:
    """The best round of each, all having run in turn."""
    best = dict.fromkeys(contestants, float("inf"))
    for _ in range(ROUNDS):
        for name, call in contestants.items():
            best[name] = min(best[name], timed(call))
    return best


def crowd(call: Callable[[str], object], threads: int, seconds: float = 0.5) -> float:
    """Calls a second, of all threads together."""
    gate, done = threading.Barrier(threads + 1), threading.Event()
    counts: list[int] = []

    def work() -> None:
        made = 0
        gate.wait()
        while not done.is_set():
            for user in USERS[:200]:
                call(user)
            made += 200
        counts.append(made)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    gate.wait()
    began = time.perf_counter()
    time.sleep(seconds)
    done.set()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - began)


def measure(url: str, flags: int) -> bool:
    with (
        FlagClient(url, KEY, environment=str(flags)) as counting,
        FlagClient(url, KEY, environment=str(flags), telemetry=False) as quiet,
    ):
        assert counting.ready()
        assert quiet.ready()
        flag = f"flag-{flags // 2}"
        thresholds = {f"flag-{number}": (1 << 32) // 10 for number in range(flags)}
        contestants: dict[str, Callable[[str], object]] = {
            "floor": lambda user: floor(thresholds, flag, user),
            "a call": lambda user: nothing(flag, False, user),
            "outside a rollout": lambda user: counting.boolean(flag, False, user),
            "in a rollout": lambda user: quiet.boolean("ramping", False, user),
            "in a rollout, counted": lambda user: counting.boolean("ramping", False, user),
            "details": lambda user: counting.details(flag, False, user),
            "context": lambda user: counting.boolean(flag, False, {"targetingKey": user}),
        }
        best = race(contestants)
        bounds = {"outside a rollout": 2.5, "in a rollout": 3.0, "in a rollout, counted": 4.0}
        print(f"\n{flags} flag{'s' if flags > 1 else ''}: nanoseconds a lookup, and how many floors that is")
        for name, cost in best.items():
            ratio, bound = cost / best["floor"], bounds.get(name)
            verdict = "" if bound is None else f"bound {bound}  {'held' if ratio <= bound else 'MISSED'}"
            print(f"  {name:24}{cost:8.0f}{ratio:8.2f}  {verdict}")
        held = all(best[name] <= bound * best["floor"] for name, bound in bounds.items())
        return threads_hold(contestants["in a rollout, counted"], contestants["outside a rollout"]) and held


def threads_hold(*calls: Callable[[str], object]) -> bool:
    held = True
    for name, call in zip(("in a rollout, counted", "outside a rollout"), calls, strict=True):
        runs = [(crowd(call, 16), crowd(call, 1)) for _ in range(4)]
        ratio = max(many for many, _ in runs) / max(one for _, one in runs)
        verdict = "held" if ratio >= 0.9 else "MISSED"
        held = held and ratio >= 0.9
        print(f"  16 threads to 1, {name}: {ratio:.2f} of the throughput, bound 0.9  {verdict}")
    return held


def main(sizes: Sequence[int] = (1, 1000)) -> int:
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        held = [measure(f"http://127.0.0.1:{httpd.server_address[1]}", flags) for flags in sizes]
    finally:
        httpd.shutdown()
        httpd.server_close()
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
