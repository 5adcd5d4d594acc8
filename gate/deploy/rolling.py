"""A rolling deployment: any deployer, target by target, the next one only once this one is healthy.

It remembers nothing: what a target runs is asked of the target, so whoever takes over in the middle goes on there.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from math import ceil
from typing import Protocol

from gate.deploy.deployer import DeployAction, Deployer, Deployment, Done, Failed, NotUp, Stopped, Work
from gate.foreign import cut, harmless
from rampgate.plan import targets_of

ASKED_AT_ONCE = 8
"""Targets that are looked at side by side, at least: looking takes none away."""
_ROUNDS = 10
"""How often in a row targets are looked at, however many there are: a look must be over before the lease is."""
_SHOWN = 5


class Look(Protocol):
    """Looks at one target's slot; ``Done`` when it is up and healthy."""

    def __call__(self, work: Work, keep_going: Callable[[], bool]) -> Deployment: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingDeployer:
    """Replaces what targets run, in their order, and puts the old version back in the opposite one.

    ``inner`` does one target's work, ``healthy`` looks at a new one with every check, ``restored`` at one that was
    put back. ``at_once``: how many targets may be away at a time; targets that are down anyhow are among them.
    """

    inner: Deployer
    healthy: Look
    restored: Look
    targets: tuple[str, ...]
    at_once: int = 1
    every: float = 1.0
    say: Callable[[str], None] = lambda _: None
    now: Callable[[], float] = time.monotonic

    @property
    def asked_at_once(self) -> int:
        """How many targets are looked at side by side."""
        return max(ASKED_AT_ONCE, ceil(len(self.targets) / _ROUNDS))

    def run(self, work: Work, keep_going: Callable[[], bool]) -> Deployment:
        """Do one piece of work on all targets.

        ``ensure`` with a share: the first targets, as many as make up the share, run the version. ``ensure`` of no
        share, and ``retire``: none does. ``status`` with a share: do they? Without one: what runs there?
        """
        turn = _Turn(rolling=self, work=work, keep_going=keep_going, until=self.now() + work.seconds)
        runs = turn.look(self.targets)
        if any(isinstance(one, Stopped) for one in runs.values()) or len(runs) < len(self.targets):
            return Stopped(text=f"{work.action} was stopped while the targets were looked at")
        match work.action:
            case DeployAction.STATUS:
                return _status(work, runs, self.at_once)
            case DeployAction.ENSURE if work.share:
                return turn.forward(runs)
            case _:
                return turn.back(runs)


class _CutError(Exception):
    """The gate itself is told to end; never leaves this file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """One piece of work under way; ``until`` is its deadline on its own clock."""

    rolling: RollingDeployer
    work: Work
    keep_going: Callable[[], bool]
    until: float

    def look(self, targets: Sequence[str]) -> Mapping[str, Deployment]:
        """What each target runs, by its deployer's word."""

        def ask(target: str, going: Callable[[], bool]) -> Deployment:
            work = replace(self.work, action=DeployAction.STATUS, version="", target=target, share=None)
            found = self.rolling.inner.run(replace(work, seconds=self._left()), going)
            if isinstance(found, Done) and found.version is None:
                return Failed(text=f"{target} is up, but its status does not say which version it runs")
            return found

        return self._each(targets, ask, at_once=self.rolling.asked_at_once, go_on=True)

    def forward(self, runs: Mapping[str, Deployment]) -> Deployment:
        """The first targets get the version, those that are down already before the others."""
        work, rolling = self.work, self.rolling
        batch = rolling.targets[: targets_of(work.share or 0, len(rolling.targets))]
        new = [one for one in batch if _version(runs[one]) == work.version]
        todo = sorted((one for one in batch if one not in new), key=lambda one: isinstance(runs[one], Done))
        away = [one for one in rolling.targets if one not in todo and not isinstance(runs[one], Done)]
        room = rolling.at_once - len(away)
        if todo and room < 1:
            text = f"{_names(away)} not known to be up, and at most {rolling.at_once} may be away at once"
            return Failed(text=f"no further target is replaced: {text}")
        answers = dict(self._each(new, self._healthy, at_once=rolling.asked_at_once))
        if all(isinstance(one, Done) for one in answers.values()):
            answers |= self._each(todo, self._replaced, at_once=room)
        return self._came_of(answers, batch, f"{len(batch)} of {len(rolling.targets)} targets run {_short(work)}")

    def back(self, runs: Mapping[str, Deployment]) -> Deployment:
        """Every target runs the old version again, the newest first. One that cannot keeps no other from it."""
        work, rolling = self.work, self.rolling
        old = work.former.version if work.former is not None else None
        touched = rolling.targets[: targets_of(work.share or 0, len(rolling.targets))]
        if old is None:
            todo = [one for one in reversed(rolling.targets) if not isinstance(runs[one], NotUp)]
        else:
            todo = [one for one in reversed(rolling.targets) if _version(runs[one]) != old]
        must = [one for one in todo if isinstance(runs[one], Done) or one in touched]
        answers = self._each(todo, self._put_back, at_once=rolling.at_once, go_on=True)
        done = f"no target runs {_short(work)}" if old is None else f"every target runs {cut(harmless(old), 80)}"
        others = [one for one in todo if one not in must and not isinstance(answers.get(one), Done)]
        return self._came_of(answers, must, done + (f"; {_names(others)} down, as before" if others else ""))

    def _replaced(self, target: str, going: Callable[[], bool]) -> Deployment:
        work = replace(self.work, target=target, seconds=self._left())
        done = self.rolling.inner.run(work, going)
        return self._healthy(target, going) if isinstance(done, Done) else done

    def _healthy(self, target: str, going: Callable[[], bool]) -> Deployment:
        work = replace(self.work, action=DeployAction.STATUS, target=target, seconds=self._left())
        found = self.rolling.healthy(work, going)
        word = "healthy with" if isinstance(found, Done) else "not healthy with"
        self.rolling.say(f"{target}: {word} {_short(work)}")
        return found

    def _put_back(self, target: str, going: Callable[[], bool]) -> Deployment:
        former = self.work.former
        work = replace(self.work, target=target, share=None, seconds=self._left())
        if former is None or former.version is None:
            return self.rolling.inner.run(replace(work, action=DeployAction.RETIRE), going)
        work = replace(work, slot=former.name, version=former.version)
        done = self.rolling.inner.run(replace(work, action=DeployAction.ENSURE), going)
        if isinstance(done, Done):
            done = self.rolling.restored(replace(work, action=DeployAction.STATUS, seconds=self._left()), going)
        self.rolling.say(f"{target}: {'back on' if isinstance(done, Done) else 'not back on'} {_short(work)}")
        return done

    def _came_of(self, answers: Mapping[str, Deployment], must: Sequence[str], done: str) -> Deployment:
        failed = {one: answers[one] for one in must if isinstance(answers.get(one), Failed | NotUp)}
        if failed:
            text = "; ".join(f"{one}: {answer.text}" for one, answer in list(failed.items())[:_SHOWN])
            tail = next((one.tail for one in failed.values() if isinstance(one, Failed)), ())
            return Failed(text=text, tail=tail)
        if any(isinstance(one, Stopped) for one in answers.values()):
            return Stopped(text=f"{self.work.action} was stopped after {_names(_done(answers)) or 'no target'}")
        return Done(text=done)

    def _each(
        self,
        targets: Sequence[str],
        do: Callable[[str, Callable[[], bool]], Deployment],
        *,
        at_once: int,
        go_on: bool = False,
    ) -> Mapping[str, Deployment]:
        """Do it to each target, some at once, begun in this order; after a failure none is begun, unless ``go_on``."""
        answers: dict[str, Deployment] = {}
        over, halt, stop = threading.Event(), threading.Event(), threading.Event()

        def going() -> bool:
            if over.is_set():
                raise _CutError
            return not stop.is_set()

        def one(target: str) -> None:
            if halt.is_set() and not stop.is_set():
                return
            answers[target] = Stopped(text="stopped before it began") if stop.is_set() else do(target, going)
            if not isinstance(answers[target], Done) and not go_on:
                halt.set()

        if not self.keep_going():
            stop.set()
        with ThreadPoolExecutor(max(1, at_once)) as pool:
            begun = [pool.submit(one, target) for target in targets]
            try:
                while not stop.is_set() and wait(begun, timeout=self.rolling.every).not_done:
                    if not self.keep_going():
                        stop.set()
            except BaseException:
                stop.set()
                over.set()
                raise
        for future in begun:
            future.result()
        return answers

    def _left(self) -> float:
        return max(0.001, self.until - self.rolling.now())


def _status(work: Work, runs: Mapping[str, Deployment], at_once: int) -> Deployment:
    away = {one: found for one, found in runs.items() if not isinstance(found, Done)}
    unknown = [one for one, found in away.items() if isinstance(found, Failed)]
    up = {one: found.version or "" for one, found in runs.items() if isinstance(found, Done)}
    if not up or (work.share is not None and len(away) > at_once):
        text = "; ".join(f"{one}: {found.text}" for one, found in list(away.items())[:_SHOWN])
        return Failed(text=text) if unknown else NotUp(text=text)
    beside = f"; {_names(away)} not known to be up" if away else ""
    if work.share is not None:
        first = list(runs)[: targets_of(work.share, len(runs))]
        others = [one for one in first if one in up and up[one] != work.version]
        if others:
            return NotUp(text=f"{_names(others)} not on {_short(work)} but on {_names({up[one] for one in others})}")
        return Done(text=f"{len(up)} of {len(runs)} targets are up{beside}", version=work.version or None)
    versions = sorted(set(up.values()))
    if len(versions) > 1:
        text = f"the targets run different versions, {_names(versions)}: nobody knows which of them to go back to"
        return Failed(text=text)
    return Done(text=f"{len(up)} of {len(runs)} targets run {_names(versions)}{beside}", version=versions[0])


def _version(found: Deployment) -> str | None:
    return found.version if isinstance(found, Done) else None


def _done(answers: Mapping[str, Deployment]) -> list[str]:
    return [one for one, found in answers.items() if isinstance(found, Done)]


def _short(work: Work) -> str:
    return cut(harmless(work.version), 80)


def _names(names: Iterable[str]) -> str:
    """``web-1, web-2 and 7 more``."""
    every = [cut(harmless(one), 80) for one in names]
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more
