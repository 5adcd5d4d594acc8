"""A rollout that outlives its job: handed to a follower, which is stopped, killed and replaced in mid-ramp."""

import itertools
import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rampgate.machine.state import Phase, Reason
from rampgate.rollout import Rollout
from tests import nursery
from tests.scenarios.action import Shop
from tests.scenarios.gates import ROOT
from tests.scenarios.room import check_users, check_widening
from tests.scenarios.waiting import PATIENCE, until, until_rollout

# Longer than a follower takes to look, on a busy machine too.
SLOWER = {"lease": "6s", "staleAfter": "6s", "scaleDownDelay": "12s"}


@dataclass
class Box:
    """A machine beside the flag server, where followers of a shop run."""

    shop: Shop
    folder: Path
    programs: list[nursery.Program] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def follow(self, name: str) -> nursery.Program:
        """Start a follower, and wait until it is there."""
        arguments = ("drive", "--follow", "--config-dir", str(self.shop.room.folder), "--name", name)
        environ = {"RAMPGATE_URL": self.shop.server.url, "RAMPGATE_KEY": self.shop.key, "PATH": "/usr/bin:/bin"}
        with self.log.open("ab") as log:
            program = nursery.start("gate.cli", *arguments, environ=environ, cwd=ROOT, stderr=log.fileno())
        self.programs.append(program)
        until(lambda: self.there(name) or program.poll() is not None)
        assert program.poll() is None, self.log.read_text()
        return program

    @property
    def log(self) -> Path:
        return self.folder / "follower.log"

    def there(self, name: str) -> bool:
        found = self.shop.api.followers("production", self.shop.flag)
        return name in [one.name for one in found]

    def stop(self, program: nursery.Program) -> None:
        program.send_signal(signal.SIGTERM)
        assert program.wait(PATIENCE) == 0, self.log.read_text()

    def close(self) -> None:
        for program in self.programs:
            program.kill()
            program.wait()


@pytest.fixture
def box(shop: Shop, tmp_path: Path) -> Iterator[Box]:
    shop.configure(**SLOWER)
    opened = Box(shop=shop, folder=tmp_path)
    yield opened
    opened.close()


def driven_by(name: str, rollout: Rollout) -> bool:
    lease = rollout.state.lease
    return lease is not None and lease.holder == f"follower {name}"


def test_a_job_ends_once_dark_and_a_follower_that_is_restarted_in_mid_ramp_promotes(shop: Shop, box: Box) -> None:
    first = box.follow("box-1")

    run = shop.push(detach="true")

    assert run.code() == 0, run.log
    assert (run.outputs["decision"], run.outputs["reason"]) == ("unfinished", "detached")
    assert json.loads(run.outputs["result"])["reason"] == "detached"
    rollout = shop.rollout()
    until_rollout(shop.api, rollout.id, lambda one: driven_by("box-1", one) and one.share > 0)
    box.stop(first)
    assert not box.there("box-1")
    assert driven_by("box-1", shop.api.rollout(rollout.id)), "no other follower is there: it keeps its lease"
    box.follow("box-1")
    ended = until_rollout(shop.api, rollout.id, lambda one: one.state.phase.is_final and not one.state.actions)
    assert (ended.state.phase, ended.state.attempt) == (Phase.PROMOTED, 1)
    assert shop.room.did("up", "green") == 1
    assert shop.room.running == {"green": "v2"}
    check_users(shop.entries(), shop.room, 6.0)
    check_widening(shop.entries())


def test_a_cancelled_job_detaches_and_followers_take_over_from_each_other(shop: Shop, box: Box) -> None:
    box.follow("box-1")
    run = shop.push(on_cancel="detach")
    rollout = shop.rollout()
    until_rollout(shop.api, rollout.id, lambda one: one.share > 0)

    run.signal(signal.SIGINT)

    assert run.code() == 130, run.log
    assert run.state == {"rollout": rollout.id, "detached": "true"}
    assert (run.outputs["decision"], run.outputs["reason"]) == ("unfinished", "detached")
    until_rollout(shop.api, rollout.id, lambda one: driven_by("box-1", one))
    post = shop.after(run)
    assert post.code() == 0, post.log
    assert driven_by("box-1", shop.api.rollout(rollout.id)), "the post run left it alone"
    second = box.follow("box-2")
    box.stop(box.programs[0])
    until_rollout(shop.api, rollout.id, lambda one: driven_by("box-2", one) and one.share > 0)
    second.kill()
    lost = until_rollout(shop.api, rollout.id, lambda one: one.state.needs_hands)
    assert (lost.share, lost.state.reason) == (0, Reason.GATE_LOST)
    box.follow("box-3")
    until_rollout(shop.api, rollout.id, lambda one: one.state.phase is Phase.REVERTED and not one.state.actions)
    assert shop.room.running == {"blue": "v1"}
    check_users(shop.entries(), shop.room, 6.0)


def test_without_a_follower_nothing_is_begun_and_a_cancelled_job_takes_its_users_back(shop: Shop) -> None:
    refused = shop.push(detach="true")
    assert refused.code() == 2, refused.log
    assert "no follower is there" in refused.log
    assert len(shop.room.lines()) == 1
    run = shop.push(on_cancel="detach")
    rollout = shop.rollout()
    until_rollout(shop.api, rollout.id, lambda one: one.share > 0)

    run.signal(signal.SIGTERM)

    assert run.code() == 143, run.log
    now = shop.api.rollout(rollout.id)
    assert (now.share, now.state.reason) == (0, Reason.CANCELLED)
    assert "No follower is there" in now.state.text
    assert "detached" not in run.state
