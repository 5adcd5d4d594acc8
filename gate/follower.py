"""The follower: goes on, beside the flag server, with rollouts that a job handed over or left behind.

It runs the hooks of its own checkouts alone, never a command that the flag server keeps. Several do not fight: the
lease is one's, and the others look elsewhere. Stopped, it lets go; started again under its name, it goes on.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from uuid import uuid4

from gate import config as configuration
from gate.config import Config
from gate.errors import FlagServerRefusedError, RampgateError
from gate.flagserver_api import FlagServer
from gate.inputs import INPUTS
from gate.parting import Asked, Parting
from gate.release import Gate, fitting
from gate.report.page import headline
from rampgate.followers import Following
from rampgate.machine.events import Attached, Detached, Resumed
from rampgate.machine.state import Phase
from rampgate.rollout import Entry, Rollout

EVERY = 2.0
"""Seconds between two looks for work, each of which also says that the follower is there."""

PATIENCE = 60.0
"""Seconds after which a rollout is taken up again that could not be brought to its end."""

FILE = Path(INPUTS["config"].default)

_TWIN = "follower_exists"
"""Said while another one has the name: one that was killed a moment ago, or one that should be called otherwise."""

Place = tuple[str, str]
"""An environment and a flag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A configuration, where it was read, and the folder in which its hooks run."""

    config: Config
    file: Path
    folder: Path


@dataclass(slots=True)
class Checkouts:
    """The configurations of ``under`` and of each folder in it, for these environments, or for their own.

    They are read again when a file has changed. One that cannot be read is said and left out: the others are followed.
    """

    under: Path
    environments: tuple[str, ...]
    say: Callable[[str], None]
    _seen: tuple[tuple[Path, int, int], ...] | None = None
    _found: Mapping[Place, Checkout] = field(default_factory=dict)

    def __call__(self) -> Mapping[Place, Checkout]:
        """What is there now."""
        files = [one / FILE for one in (self.under, *sorted(self.under.glob("*"))) if (one / FILE).is_file()]
        seen = tuple((file, stat.st_mtime_ns, stat.st_size) for file in files for stat in (file.stat(),))
        if seen != self._seen:
            self._seen, self._found = seen, self._read(files)
        return self._found

    def _read(self, files: list[Path]) -> Mapping[Place, Checkout]:
        found: dict[Place, Checkout] = {}
        for file, environment in product(files, self.environments or (None,)):
            try:
                config = configuration.read(file, environment=environment)
            except RampgateError as error:
                self.say(str(error))
                continue
            place = (config.plan.environment, config.plan.flag)
            if place in found:
                self.say(f"{file}: {place[1]} in {place[0]} is followed by {found[place].file} already.")
            else:
                found[place] = Checkout(config=config, file=file, folder=file.parent.parent)
        if not found:
            self.say(f"Nothing is followed: neither {self.under} nor a folder in it has a sound {FILE}.")
        return found


def is_free(rollout: Rollout, entries: Callable[[], tuple[Entry, ...]]) -> bool:
    """Whether a rollout waits for somebody to drive it.

    One that is being deployed and never let go of is about to be taken by the gate that asked for it.
    """
    state = rollout.state
    if state.lease is not None or (state.phase.is_final and not state.needs_hands):
        return False
    if state.phase not in (Phase.DEPLOYING, Phase.VERIFYING):
        return True
    said = [one.event for one in entries() if one.attempt == state.attempt and one.refusal is None]
    last = next((one for one in reversed(said) if isinstance(one, Attached | Detached | Resumed)), None)
    return isinstance(last, Detached)


@dataclass(slots=True)
class Follower:
    """Looks for work, and drives each rollout that it finds in a thread of its own.

    ``gate`` opens a gate for a rollout, with this holder and this parting, and closes it.
    """

    server: FlagServer
    name: str
    read: Callable[[], Mapping[Place, Checkout]]
    gate: Callable[[Checkout, Rollout, str, Asked], AbstractContextManager[Gate]]
    say: Callable[[str], None]
    every: float = EVERY
    instance: str = field(default_factory=lambda: uuid4().hex)
    stopped: threading.Event = field(default_factory=threading.Event)
    _driven: dict[str, threading.Thread] = field(default_factory=dict)
    _not_before: dict[str, float] = field(default_factory=dict)
    _registered: set[str] = field(default_factory=set)
    _said: str = ""

    @property
    def holder(self) -> str:
        return f"follower {self.name}"

    def run(self) -> None:
        """Follow until stopped, then let go of everything.

        Raises:
            FlagServerRefusedError: the flag server does not admit this follower at all.
        """
        while not self.stopped.is_set():
            try:
                self.look()
                self._said = ""
            except RampgateError as error:
                if isinstance(error, FlagServerRefusedError) and not self._registered and error.code != _TWIN:
                    raise
                self._say_once(str(error))
            self.stopped.wait(self.every)
        self._let_go()

    def look(self) -> None:
        """Say that it is there, and take up what waits.

        Raises:
            FlagServerUnreachableError: the flag server cannot be reached.
            FlagServerRefusedError: it does not admit this follower.
        """
        found = self.read()
        self._driven = {name: thread for name, thread in self._driven.items() if thread.is_alive()}
        environments = {environment for environment, _ in found}
        for gone in self._registered - environments:
            self.server.unfollow(gone, self.name)
        self._registered &= environments
        for environment in sorted(environments):
            flags = tuple(sorted(flag for where, flag in found if where == environment))
            self.server.follow(environment, self.name, Following(flags=flags, instance=self.instance))
            if environment not in self._registered:
                self.say(f"Following {', '.join(flags)} in {environment} as {self.name}.")
            self._registered.add(environment)
            for rollout in self._waiting(environment):
                if (environment, rollout.plan.flag) in found:
                    self._take_up(rollout, found[environment, rollout.plan.flag])

    def _waiting(self, environment: str) -> Iterator[Rollout]:
        listed = (
            *self.server.find(environment=environment, active=True, limit=200),
            *self.server.find(environment=environment, active=False, needs_hands=True, limit=200),
        )
        for rollout in listed:
            lease = rollout.state.lease
            mine = lease is not None and lease.holder == self.holder
            if mine or is_free(rollout, lambda one=rollout: self.server.entries(one.id)):  # type: ignore[misc]
                yield rollout

    def _take_up(self, rollout: Rollout, checkout: Checkout) -> None:
        if rollout.id in self._driven or time.monotonic() < self._not_before.get(rollout.id, 0.0):
            return
        fitting(checkout.config, rollout)
        thread = threading.Thread(target=self._drive, args=(rollout, checkout), name=rollout.id, daemon=True)
        self._driven[rollout.id] = thread
        thread.start()

    def _drive(self, rollout: Rollout, checkout: Checkout) -> None:
        left = True
        try:
            with self.gate(checkout, rollout, self.holder, self._parting) as gate:
                ended = gate.drive(rollout)
            left = ended.state.needs_hands
            if ended.state.phase.is_final:
                self.say(headline(ended, ended.now))
        except RampgateError as error:
            self.say(f"Rollout {rollout.id} is left to its lease. {error}")
        except Exception as error:
            # The other rollouts go on; the flag server ends this one by itself.
            self.say(f"Rollout {rollout.id}: a fault in Rampgate itself: {type(error).__name__}: {error}")
        finally:
            if left:
                self._not_before[rollout.id] = time.monotonic() + PATIENCE

    def _parting(self, rollout: Rollout, holds: bool) -> Parting:
        lease = rollout.state.lease
        taken = not holds and lease is not None and lease.holder != self.holder
        return Parting.GO if taken or self.stopped.is_set() else Parting.STAY

    def _let_go(self) -> None:
        """Within the ten seconds that a container has: another follower takes over, or this one when it is back."""
        hurried = self.server.hurried(1.0)
        for environment in sorted(self._registered):
            with suppress(RampgateError):
                hurried.unfollow(environment, self.name)
        until = time.monotonic() + 3.0
        for rollout_id, thread in self._driven.items():
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                with suppress(RampgateError):
                    self._detach(hurried, rollout_id)

    def _detach(self, server: FlagServer, rollout_id: str) -> None:
        lease = server.rollout(rollout_id).state.lease
        if lease is not None and lease.holder == self.holder:
            server.post(rollout_id, Detached(fence=lease.fence), f"{lease.fence}:detached")

    def _say_once(self, text: str) -> None:
        if text != self._said:
            self.say(text)
        self._said = text
