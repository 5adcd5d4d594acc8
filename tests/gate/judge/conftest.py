"""A rollout's counters, as a source would keep them, fed to the judge poll by poll."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from gate.judge import JudgeState, Situation, begin, judge
from rampgate.criteria import JudgeSettings
from rampgate.evidence import Counters, Look, Reading, SourceDown, VerdictReason, VerdictWord

SHARES = (0, 10_000, 50_000, 95_000)


@dataclass
class Ramp:
    """Two arms that count, a step that they are at, and the judge that looks on."""

    settings: JudgeSettings = field(default_factory=JudgeSettings)
    state: JudgeState = field(init=False)
    stable: list[int] = field(default_factory=lambda: [0, 0])
    canary: list[int] = field(default_factory=lambda: [0, 0])
    now: float = 1000.0
    step: int = 1
    share: int = 10_000
    settled_at: float = 0.0
    looks: list[Look] = field(default_factory=list)
    situations: list[Situation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = begin(self.settings, steps=3, planned_polls=60)

    def go_to(self, step: int, *, share: int | None = None, settles: float = 0.0) -> Look:
        """Widen, and take the first reading there."""
        self.step, self.settled_at = step, self.now + settles
        self.share = SHARES[step] if share is None else share
        return self.look()

    def add(self, stable: tuple[int, int] = (0, 0), canary: tuple[int, int] = (0, 0)) -> Look:
        """Requests and errors of both arms come in, and a poll follows."""
        self.now += 15.0
        for arm, (requests, errors) in ((self.stable, stable), (self.canary, canary)):
            arm[0] += requests
            arm[1] += errors
        return self.look()

    def reading(self, *, stable: bool = True, canary: bool = True) -> Reading:
        return Reading(
            at=self.now,
            stable=Counters(requests=self.stable[0], errors=self.stable[1]) if stable else None,
            canary=Counters(requests=self.canary[0], errors=self.canary[1]) if canary else None,
        )

    def look(self, reading: Reading | SourceDown | None = None) -> Look:
        situation = Situation(step=self.step, share=self.share, last=self.step == 3, settled_at=self.settled_at)
        self.state, look = judge(self.state, situation, reading or self.reading())
        self.looks.append(look)
        self.situations.append(situation)
        return look

    def without(self, *, stable: bool = True, canary: bool = True) -> Look:
        """A poll at which a series is missing."""
        self.now += 15.0
        return self.look(self.reading(stable=stable, canary=canary))

    def down(self) -> Look:
        self.now += 15.0
        text = "The source did not answer."
        return self.look(SourceDown(at=self.now, reason=VerdictReason.SOURCE_UNREACHABLE, text=text))

    @property
    def word(self) -> VerdictWord:
        return self.looks[-1].verdict.word


@pytest.fixture
def ramp() -> Ramp:
    """A ramp at its first step, with the first reading taken."""
    ramp = Ramp()
    ramp.look()
    return ramp


@pytest.fixture
def ramp_of() -> type[Ramp]:
    return Ramp


@pytest.fixture
def traffic() -> Callable[..., tuple[tuple[int, int], tuple[int, int]]]:
    """One poll's requests and errors of both arms, by chance: ``traffic(rng, requests, share, rate, ratio)``."""

    def poll(
        rng: random.Random, requests: int, share: int, rate: float, ratio: float = 1.0
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        def binomial(tries: int, chance: float) -> int:
            return sum(rng.random() < chance for _ in range(tries))

        canary = binomial(requests, share / 100_000)
        stable = requests - canary
        return (stable, binomial(stable, rate)), (canary, binomial(canary, min(1.0, rate * ratio)))

    return poll
