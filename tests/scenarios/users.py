"""The users of a scenario: requests at a steady rate, split exactly as the flag server's history says.

Counted from the recorded shares, so that no figure depends on how busy the machine is or who else is alive.
"""

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from gate.flagserver_api import FlagServer
from gate.metrics import Question
from rampgate.evidence import Counters, Reading
from rampgate.plan import WHOLE
from rampgate.rollout import Entry
from tests.gate.metrics.scripted import Asked, Reply

PER_SECOND = 100_000
FAILS = 0.03


def requests(entries: tuple[Entry, ...], at: float) -> tuple[float, float]:
    """The requests on stable and on the canary, from the first entry to this moment."""
    stable = canary = 0.0
    moments = [(entry.at, entry.share / WHOLE) for entry in entries]
    for (begin, share), (end, _) in pairwise([*moments, (at, 0.0)]):
        length = max(0.0, min(end, at) - begin) * PER_SECOND
        stable += length * (1 - share)
        canary += length * share
    return stable, canary


@dataclass
class Users:
    """A source for one rollout. ``fails``: which part of its requests the canary fails."""

    api: FlagServer
    fails: float = FAILS
    known: tuple[Entry, ...] = ()

    def read(self, question: Question) -> Reading:
        last = self.known[-1].number if self.known else 0
        self.known += self.api.entries(question.rollout_id, after=last)
        mine = tuple(one for one in self.known if one.attempt == question.attempt)
        stable, canary = requests(mine, question.at)
        return Reading(at=question.at, stable=_counters(stable, FAILS), canary=_counters(canary, self.fails))


def _counters(count: float, fails: float) -> Counters:
    return Counters(requests=int(count), errors=int(int(count) * fails))


_QUERY = re.compile(r'(\w+)\{slot="(\w+)"\}')
QUERIES = {"requests": 'requests{slot="{{slot}}"}', "errors": 'errors{slot="{{slot}}"}'}


@dataclass
class Metrics:
    """Answers as a Prometheus does: two counters for each slot of a flag. ``down``: it answers 503."""

    api: FlagServer
    flag: str
    fails: Mapping[str, float] = field(default_factory=dict)
    down: bool = False
    rollout: str | None = None
    known: tuple[Entry, ...] = ()
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, asked: Asked) -> Reply:
        if self.down:
            return Reply(status=503, body=b"{}")
        found = _QUERY.fullmatch(asked.query["query"])
        assert found is not None
        what, slot = found.groups()
        value = self._count(slot, float(asked.query["time"]), errors=what == "errors")
        vector = {"resultType": "vector", "result": [{"metric": {}, "value": [0, str(value)]}]}
        return Reply(body=json.dumps({"status": "success", "data": vector}).encode())

    def _count(self, slot: str, at: float, *, errors: bool) -> int:
        with self.lock:
            if self.rollout is None:
                self.rollout = self.api.find(flag=self.flag)[0].id
            self.known += self.api.entries(self.rollout, after=self.known[-1].number if self.known else 0)
            stable, canary = requests(self.known, at)
        counters = _counters(canary if slot == "green" else stable, self.fails.get(slot, FAILS))
        return counters.errors if errors else counters.requests
