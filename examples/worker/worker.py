"""A background worker whose release is ramped. Every job counts for the version that did it.

RAMPGATE_URL=https://flags.example.com RAMPGATE_KEY=rg_sdk_… python examples/worker/worker.py < jobs

A job is a line of JSON, `{"user": "ada", "items": 2, "total": 10.0}`; take yours from your queue.
"""

import json
import signal
import sys
from typing import Any

from rampgate import FlagClient


def average(job: dict[str, Any], version: str) -> float:
    if version == "green":
        # What a release gets wrong: an empty basket has no average.
        return float(job["total"] / job["items"])
    return float(job["total"] / job["items"]) if job["items"] else 0.0


def main() -> None:
    # Stopping a service ends Python without a farewell unless it is caught; what was counted would be lost.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with FlagClient.from_env() as client:
        client.ready(10)  # a job done before the flags are here is done as on stable, and counts for nobody
        for line in sys.stdin:
            job = json.loads(line)
            try:
                with client.observe("shop", job["user"], "blue") as assignment:
                    done = {"version": assignment.value, "average": average(job, str(assignment.value))}
            except ArithmeticError as error:
                done = {"failed": type(error).__name__}
            print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
