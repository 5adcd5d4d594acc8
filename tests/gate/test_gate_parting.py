"""When a job leaves its rollout to a follower, and what it says where none is there."""

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from gate.errors import FlagServerUnreachableError, MisuseError
from gate.flagserver_api import FlagServer
from gate.parting import JobEnd, Parting, least
from rampgate.followers import Follower
from rampgate.machine.state import Phase
from rampgate.plan import Step, Strategy
from rampgate.rollout import Rollout
from tests.fakes.flag_server import FakeClock, FakeFlagServer
from tests.flagserver.inside import PLAN

HOUR = 3600.0
BOX = Follower(name="box-1", environment="production", flags=("shop",), since=0.0, until=1.0)


@dataclass
class Followed:
    """A flag server that knows these followers."""

    known: list[Follower] = field(default_factory=list)
    away: bool = False

    def followers(self, environment: str, flag: str) -> tuple[Follower, ...]:
        if self.away:
            raise FlagServerUnreachableError("It is away.")
        return tuple(one for one in self.known if (one.environment, flag) == (environment, *one.flags))


@dataclass
class Job:
    """A job of six hours, its clock, and all it said."""

    clock: FakeClock = field(default_factory=FakeClock)
    server: Followed = field(default_factory=Followed)
    said: list[str] = field(default_factory=list)

    def end(self, **changes: Any) -> JobEnd:
        given: dict[str, Any] = {
            "server": cast(FlagServer, self.server), "monotonic": self.clock.monotonic, "warn": self.said.append,
            "began": self.clock.now, "limit": 6 * HOUR, "at_once": False, "then": "users are taken back",
        }  # fmt: skip
        return JobEnd(**{**given, **changes})


def rollout(phase: Phase) -> Rollout:
    record = FakeFlagServer(clock=FakeClock(), plan=PLAN).record
    return replace(record, state=replace(record.state, phase=phase))


RAMPING = rollout(Phase.PROGRESSING)


def test_half_an_hour_before_its_end_a_job_offers_its_rollout_to_a_follower() -> None:
    job = Job(server=Followed([BOX]))
    end = job.end()
    job.clock.advance(5.4 * HOUR)
    assert end(RAMPING, True) is Parting.STAY
    job.clock.advance(0.11 * HOUR)
    assert end(RAMPING, False) is Parting.STAY, "it is somebody else's"
    assert end(RAMPING, True) is Parting.OFFER
    assert end(RAMPING, True) is Parting.STAY, "it asks once a minute"
    job.clock.advance(61)
    assert end(RAMPING, True) is Parting.OFFER
    assert job.said == []


def test_without_a_follower_the_end_is_announced_once_with_what_happens_and_what_to_do() -> None:
    job = Job()
    end = job.end()
    job.clock.advance(5.5 * HOUR)
    assert end(RAMPING, True) is Parting.STAY
    job.clock.advance(120)
    assert end(RAMPING, True) is Parting.STAY
    (said,) = job.said
    for part in ("in about 30m", "users are taken back", "/promote full", "v2", "follower", "run again"):
        assert part in said
    job.server.known = [BOX]
    job.clock.advance(61)
    assert end(RAMPING, True) is Parting.OFFER, "one that came after the announcement is taken"


def test_where_users_follow_the_machines_nobody_is_said_to_be_taken_back() -> None:
    job = Job()
    end = job.end()
    job.clock.advance(5.5 * HOUR)
    rolling = replace(RAMPING, plan=replace(RAMPING.plan, strategy=Strategy.ROLLING, targets=("a", "b")))
    assert end(rolling, True) is Parting.STAY
    (said,) = job.said
    assert "every target keeps what it runs" in said
    assert "users are taken back" not in said


@pytest.mark.parametrize("phase", [Phase.REVERTING, Phase.REVERTED, Phase.PROMOTED])
def test_what_is_over_or_on_its_way_back_is_not_handed_over(phase: Phase) -> None:
    job = Job(server=Followed([BOX]))
    end = job.end(at_once=True)
    job.clock.advance(5.9 * HOUR)
    assert end(rollout(phase), True) is Parting.STAY


def test_a_job_that_detaches_does_so_once_its_version_is_up_dark() -> None:
    job = Job(server=Followed([BOX]))
    end = job.end(at_once=True)
    assert end(rollout(Phase.DEPLOYING), True) is Parting.STAY
    assert end(rollout(Phase.VERIFYING), True) is Parting.STAY
    assert end(rollout(Phase.DARK), True) is Parting.OFFER


def test_a_job_that_shall_detach_begins_nothing_where_nobody_would_go_on() -> None:
    with pytest.raises(MisuseError, match="no follower is there for shop in production"):
        Job().end(at_once=True).foretell(PLAN)
    with pytest.raises(MisuseError):
        Job(server=Followed([BOX], away=True)).end(at_once=True).foretell(PLAN)
    Job(server=Followed([BOX])).end(at_once=True).foretell(PLAN)


def test_a_plan_that_does_not_fit_into_the_job_is_told_at_the_start() -> None:
    plan = replace(PLAN, steps=(Step(share=10_000, bake=4 * HOUR), Step(share=100_000, bake=2 * HOUR)))
    assert least(plan) == 6 * HOUR + PLAN.scale_down_delay
    job = Job()
    job.end().foretell(plan)
    assert "at least 6h2m" in job.said[0]
    assert "No follower" in job.said[0]
    job.server.known = [BOX]
    job.end().foretell(plan)
    assert "The follower box-1 goes on" in job.said[1]
    job.end(limit=24 * HOUR).foretell(plan)
    job.end().foretell(PLAN)
    assert len(job.said) == 2


def test_a_short_job_hands_over_in_its_last_quarter() -> None:
    job = Job(server=Followed([BOX]))
    end = job.end(limit=600.0)
    job.clock.advance(440)
    assert end(RAMPING, True) is Parting.STAY
    job.clock.advance(20)
    assert end(RAMPING, True) is Parting.OFFER
