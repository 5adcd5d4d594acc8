"""Verification in the dark: is the slot that nobody is sent to yet up, and does it do what its checks ask?

Whatever the checks, the deployer's own word comes first: a slot counts as up only if its deployer says so.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never
from urllib.parse import quote, urlsplit

from gate.deploy import DeployAction, Deployer, Deployment, Done, Failed, NotUp, Stopped, Work, Workplace
from gate.deploy.command import ending, values
from gate.deploy.holes import filled
from gate.deploy.hook import Ending, run_hook
from gate.errors import MisuseError, RampgateError
from gate.fetch import Got, NotGot, Visit, attended, origin
from gate.foreign import Secrets, cut
from rampgate.wire import FORCE

PATIENCE = 30.0
"""Seconds for which a slot may still be coming up, unless a check says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One GET that must be answered as expected within ``within`` seconds; tried again for ``patience`` seconds.

    ``url`` is one address with placeholders in it, or an address for each slot or target. ``headers`` are
    sent, ``answers`` are headers that the answer must have; their values and ``contains`` may hold the same
    placeholders. Redirects are not followed. ``forced``: it carries a tester token, which sends it to the new version
    through the door that users have.
    """

    url: str | Mapping[str, str]
    status: int = 200
    within: float = 5.0
    contains: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    patience: float = PATIENCE
    forced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandCheck:
    """A command that must end with exit code 0. It is told what hooks are told, and ``RAMPGATE_ACTION=verify``."""

    command: str | tuple[str, ...]


Check = Probe | CommandCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What came of one check, in a sentence."""

    passed: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What came of all checks, in their order. ``stopped``: not all were made."""

    checked: tuple[Checked, ...]
    stopped: bool = False

    @property
    def passed(self) -> bool:
        return not self.stopped and bool(self.checked) and all(one.passed for one in self.checked)


class _Stop(Exception):  # noqa: N818
    """``keep_going`` said no; never leaves this file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DarkVerification:
    """Verifies one slot, within the work's time. Calling it answers as a deployer does.

    ``tester`` makes the token that forced probes carry; it raises a ``RampgateError`` where it cannot.
    """

    deployer: Deployer
    workplace: Workplace
    checks: tuple[Check, ...] = ()
    tester: Callable[[Work], str] | None = None
    now: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def __call__(self, work: Work, keep_going: Callable[[], bool]) -> Deployment:
        """``Done`` when the slot is up and every check passes."""
        verification = self.verify(work, keep_going)
        if verification.stopped:
            return Stopped(text=f"verification of slot {work.slot} was stopped")
        if verification.passed:
            return Done(text="; ".join(one.text for one in verification.checked))
        return Failed(text="; ".join(one.text for one in verification.checked if not one.passed))

    def verify(self, work: Work, keep_going: Callable[[], bool]) -> Verification:
        """Ask the deployer, then make every check. Raises only what ``keep_going`` raises."""
        turn = _Turn(verification=self, work=work, keep_going=keep_going, until=self.now() + work.seconds)
        checked: list[Checked] = []
        try:
            checked.append(turn.status())
            if checked[0].passed:
                if any(isinstance(one, Probe) and one.forced for one in self.checks):
                    turn = replace(turn, token=self._token(work))
                for check in self.checks:
                    checked.append(turn.probe(check) if isinstance(check, Probe) else turn.command(check))
        except _Stop:
            return Verification(checked=tuple(checked), stopped=True)
        except RampgateError as error:
            checked.append(Checked(passed=False, text=f"no tester token was to be had: {error.what}"))
        return Verification(checked=tuple(checked))

    def _token(self, work: Work) -> str:
        if self.tester is None:
            raise MisuseError("Nobody here makes tester tokens.")
        return self.tester(work)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """One verification under way; ``until`` is its deadline on its own clock."""

    verification: DarkVerification
    work: Work
    keep_going: Callable[[], bool]
    until: float
    token: str = field(default="", repr=False)

    def status(self) -> Checked:
        """The deployer's word, asked again while the slot may still be coming up."""

        def ask(left: float) -> Checked:
            asked = replace(self.work, action=DeployAction.STATUS, seconds=left)
            answer = self.verification.deployer.run(asked, self.keep_going)
            match answer:
                case Done():
                    return Checked(passed=True, text=answer.text)
                case NotUp() | Failed():
                    return Checked(passed=False, text=answer.text)
                case Stopped():
                    raise _Stop
                case _:
                    assert_never(answer)

        return self._until_passed(ask, PATIENCE)

    def probe(self, probe: Probe) -> Checked:
        """One address, asked again while it does not answer as expected."""
        known = {"slot": self.work.slot, "version": self.work.version, "target": self.work.target or ""}
        place = self.work.target or self.work.slot
        url = probe.url if isinstance(probe.url, str) else probe.url.get(place)
        if url is None:
            return Checked(passed=False, text=f"the probe has no address for {place}")
        target = filled(url, {name: quote(value, safe="", errors="replace") for name, value in known.items()})
        sent = {"User-Agent": "rampgate"} | {name: filled(value, known) for name, value in probe.headers.items()}
        if probe.forced:
            sent[FORCE] = self.token
        expected = {name.lower(): filled(value, known) for name, value in probe.answers.items()}
        contains = None if probe.contains is None else filled(probe.contains, known)

        def ask(left: float) -> Checked:
            got = self._asked(target, sent, min(probe.within, left))
            wrong = got.text if isinstance(got, NotGot) else _unexpected(got, probe.status, expected, contains)
            if wrong is not None:
                return Checked(passed=False, text=self._shown(f"probe {_address(target)}: {wrong}"))
            return Checked(passed=True, text=self._shown(f"probe {_address(target)} answers as expected"))

        return self._until_passed(ask, probe.patience)

    def _asked(self, url: str, headers: Mapping[str, str], limit: float) -> Got | NotGot:
        """One GET, asking ``keep_going`` all along: a slow answer must not cost the lease."""
        with Visit(seconds=limit, headers=headers, retries=0) as visit:
            got = attended(
                visit,
                lambda: visit.get(url, follow=False),
                every=self.verification.workplace.every,
                keep_going=self.keep_going,
            )
        if got is None:
            raise _Stop
        return got

    def command(self, check: CommandCheck) -> Checked:
        """One command, run once."""
        left = self._left()
        name = f"check {_command(check)}"
        if left <= 0:
            return Checked(passed=False, text=self._shown(f"{name} was not run: the verification's time is over"))
        told = values(self.work) | {"RAMPGATE_ACTION": "verify"}
        ran = run_hook(check.command, told, self.verification.workplace, seconds=left, keep_going=self.keep_going)
        if ran.ending is Ending.STOPPED:
            raise _Stop
        if ran.ending is Ending.EXITED and ran.code == 0:
            return Checked(passed=True, text=self._shown(f"{name} passes"))
        said = f" (last line: {cut(ran.tail[-1], 200)})" if ran.tail else ""
        return Checked(passed=False, text=self._shown(f"{name} fails: {ending(ran, left)}{said}"))

    def _until_passed(self, ask: Callable[[float], Checked], patience: float) -> Checked:
        now, every = self.verification.now, self.verification.workplace.every
        until = min(self.until, now() + patience)
        while True:
            if not self.keep_going():
                raise _Stop
            left = self._left()
            if left <= 0:
                return Checked(passed=False, text=f"slot {self.work.slot}: no time was left to verify it")
            checked = ask(left)
            if checked.passed or now() + every >= until:
                return checked
            self.verification.pause(every)

    def _left(self) -> float:
        return self.until - self.verification.now()

    def _shown(self, text: str) -> str:
        secrets = self.verification.workplace.secrets
        return Secrets((*secrets, self.token) if self.token else secrets).shown(text)


def _address(url: str) -> str:
    """What of an address may be shown: its query may hold a secret."""
    where = origin(url)
    try:
        return where + cut(urlsplit(url).path, 120)
    except ValueError:
        return where


def _command(check: CommandCheck) -> str:
    line = check.command if isinstance(check.command, str) else " ".join(check.command)
    return cut(line.strip().partition("\n")[0], 80)


def _unexpected(got: Got, status: int, headers: Mapping[str, str], contains: str | None) -> str | None:
    """What of an answer is not as expected; ``None`` where all is."""
    if got.status != status:
        return f"answers HTTP {got.status}, not {status}"
    found = {name.lower(): value for name, value in got.headers.items()}
    for name, value in headers.items():
        if name not in found:
            return f"answers without the header {name}"
        if found[name] != value:
            return f"answers {name}: {cut(found[name], 80)}, not {cut(value, 80)}"
    if contains is not None and contains not in got.body.decode("utf-8", "replace"):
        return f"answers without {cut(contains, 80)!r} in its body"
    return None
