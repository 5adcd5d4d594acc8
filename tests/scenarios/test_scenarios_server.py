"""The flag server is killed in mid-ramp: nothing it answered is lost, and no app widens or stays behind."""

import signal
import threading
import time
from uuid import uuid4

import requests

from rampgate import FlagClient
from rampgate.machine.state import Phase, Reason
from rampgate.rollout import Rollout
from tests.flagserver.process import FlagServer, bearer
from tests.scenarios.action import shares
from tests.scenarios.audience import Audience
from tests.scenarios.fleet import SLOW, Fleet
from tests.scenarios.gates import check_nothing_lost
from tests.scenarios.room import check_users, check_widening
from tests.scenarios.waiting import until, until_rollout


class Counted:
    """Apps that report steadily what they count; ``acknowledged`` is what the server said it has."""

    def __init__(self, server: FlagServer, rollout: Rollout) -> None:
        self._server, self._rollout = server, rollout
        self._headers = bearer(server.key("sdk"))
        self.acknowledged = 0
        self.ending = threading.Event()
        self._thread = threading.Thread(target=self._report, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self.ending.set()
        self._thread.join()

    def _report(self) -> None:
        while not self.ending.wait(0.02):
            counts = [
                {"flag": self._rollout.plan.flag, "rollout": self._rollout.id, "attempt": 1, "variant": "green",
                 "requests": 1, "errors": 0, "exposures": 1}
            ]  # fmt: skip
            batch = {"batch": str(uuid4()), "client": "app", "sent_at": 0.0, "counts": counts}
            try:
                reply = requests.post(f"{self._server.url}/v1/telemetry", json=batch, headers=self._headers, timeout=5)
            except requests.RequestException:
                continue
            if reply.status_code == 200:
                self.acknowledged += 1


def test_a_flag_server_killed_in_mid_ramp_loses_nothing_and_the_gate_goes_on(mortal: Fleet) -> None:
    mortal.document = dict(SLOW)
    gate = mortal.start("gate 1")
    rollout = until_rollout(mortal.api, mortal.rollout().id, lambda one: one.share > 0)
    counted = Counted(mortal.server, rollout)
    with FlagClient(mortal.server.url, mortal.server.key("sdk")) as client:
        audience = Audience(client, mortal.flag)
        until(lambda: audience.share() > 0)
        until(lambda: counted.acknowledged > 20)
        usual = audience.share()
        for _ in range(2):
            mortal.server.kill()
            mortal.server.start()
            gate.await_look()
        now = mortal.api.rollout(rollout.id)
        counted.end()
        audience.end()
        assert audience.share() == audience.widest == usual
    assert (now.share, now.state.attempt, now.state.phase) == (50_000, 1, Phase.PROGRESSING)
    assert mortal.api.telemetry(rollout.id).canary.requests >= counted.acknowledged
    gate.signal(signal.SIGKILL)
    gate.code()
    check_nothing_lost(mortal.api.entries(rollout.id), gate)
    check_widening(mortal.api.entries(rollout.id))


def test_a_flag_server_away_for_longer_than_the_lease_reverts_when_it_is_back(mortal: Fleet) -> None:
    mortal.document["steps"] = [{"share": 50, "bake": "10m"}, {"share": 100, "bake": "0s"}]
    gate = mortal.start("gate 1")
    rollout = until_rollout(mortal.api, mortal.rollout().id, lambda one: one.share > 0)
    with FlagClient(mortal.server.url, mortal.server.key("sdk")) as client:
        audience = Audience(client, mortal.flag)
        until(lambda: audience.share() > 0)
        usual = audience.share()
        mortal.server.kill()
        killed = time.monotonic()
        # An app that is cut off knows by itself; and the lease must have run out, however fast the server is back.
        until(lambda: audience.is_stale() and time.monotonic() > killed + 3.0)
        assert audience.share() == 0
        mortal.server.start()
        until(lambda: not audience.is_stale())
        audience.end()
        assert audience.share() == 0
        assert audience.widest == usual
    assert gate.code() == 0, gate.log()
    ended = mortal.api.rollout(rollout.id)
    assert (ended.state.phase, ended.state.reason, ended.state.actions) == (Phase.REVERTED, Reason.GATE_LOST, ())
    assert mortal.room.running == {"blue": "v1"}
    check_nothing_lost(mortal.api.entries(rollout.id), gate)
    entries = mortal.api.entries(rollout.id)
    assert shares(entries) == [0, 50_000, 0]
    check_widening(entries)
    check_users(entries, mortal.room, 3.0)
