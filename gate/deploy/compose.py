"""The deployer for Docker Compose, here or on a host by SSH: a project for each slot, or a service for each in one.

Every program is run by its arguments, never by a shell. The fence is an empty, labelled volume: it outlives containers.
"""

import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from gate.deploy.command import ending, values
from gate.deploy.deployer import DeployAction, Deployer, Deployment, Done, Failed, NotUp, Stopped, Work, Workplace
from gate.deploy.holes import filled, unknown
from gate.deploy.hook import Ending, Ran, run_hook
from gate.deploy.webhook import found
from gate.foreign import cut, harmless
from gate.keys import As, Key
from rampgate.problem import Problem

VERSION = re.compile(r"[\w][\w.:@/+~-]{0,199}", re.ASCII)
"""What may stand in a label, an image's tag or an environment file without meaning anything else there."""
_HOST = re.compile(r"ssh://[\w.@:\[\]{}-]+", re.ASCII)
_SIGN = "rampgate:"
_DEAD = ("exited", "dead", "unhealthy", "removing")
_LOOK = (
    _SIGN + "{{.State.Status}}|{{if .State.Health}}{{.State.Health.Status}}{{end}}"
    '|{{index .Config.Labels "rampgate.version"}}'
)


class _EndedError(Exception):
    """A program did not do what it was to do; carries the answer. Never leaves this file."""

    def __init__(self, answer: Deployment) -> None:
        self.answer = answer


class ComposeDeployer:
    """Keeps one service of one project as it is asked to."""

    def __init__(self, options: "ComposeOptions", workplace: Workplace) -> None:
        self._options = options
        self._workplace = workplace

    def run(self, work: Work, keep_going: Callable[[], bool]) -> Deployment:
        if not keep_going():
            return Stopped(text=f"{work.action} of slot {work.slot} was stopped before it began")
        if not is_plain(work):
            shown = cut(harmless(work.version), 60)
            return Failed(
                text=f"the version {shown!r} cannot stand in a label: letters, digits and . _ - : @ / + ~ can"
            )
        if work.target is None and "target" in unknown(self._options.host or "", ()):
            return Failed(text="`host` names {{target}}, and this work is not about one target")
        until = time.monotonic() + work.seconds
        task = _Task(options=self._options, work=work, workplace=self._workplace, keep_going=keep_going, until=until)
        try:
            return task.run()
        except _EndedError as ended:
            return ended.answer


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """One piece of work under way, until ``until`` on the monotonic clock."""

    options: "ComposeOptions"
    work: Work
    workplace: Workplace
    keep_going: Callable[[], bool]
    until: float

    def run(self) -> Deployment:
        match self.work.action:
            case DeployAction.STATUS:
                return self._status()
            case DeployAction.ENSURE:
                self._refuse_older()
                return self._ensured()
            case DeployAction.RETIRE:
                self._refuse_older()
                return self._retired()

    def _status(self) -> Done | NotUp:
        there = self._containers()
        bad = [f"{state} {health}".strip() for state, health, _ in there if (state, health) not in _UP]
        if not there or bad:
            what = f"its container is {bad[0]}" if bad else "it has no container"
            return NotUp(text=f"slot {self.work.slot} is not up: {what}, says {self._engine}")
        versions = sorted({version for _, _, version in there})
        if len(versions) > 1:
            return NotUp(text=f"slot {self.work.slot} runs {' and '.join(versions)} at once, says {self._engine}")
        return found(self.work, versions[0], f"says {self._engine}")

    def _ensured(self) -> Deployment:
        what = f"{self.work.version} in slot {self.work.slot}"
        if isinstance(self._status(), Done):
            return Done(text=f"{what} ran already")
        labels = {"rampgate.version": self.work.version, "rampgate.fence": str(self.work.fence)}
        with tempfile.TemporaryDirectory(prefix="rampgate-") as folder:
            marks = Path(folder, "labels.json")
            marks.write_text(json.dumps({"services": {self._service: {"labels": labels}}}))
            self._do(*self._compose(str(marks)), "up", "-d", self._service)
        while not isinstance(status := self._status(), Done):
            there = self._containers()
            if not there or any(state in _DEAD or health in _DEAD for state, health, _ in there):
                raise _EndedError(Failed(text=f"{what} did not come up: {status.text}", tail=self._last_words()))
            self._pause()
        return Done(text=f"{what} is up, says {self._engine}")

    def _retired(self) -> Deployment:
        if self._ids():
            own = "{{" in self.options.project
            self._do(*self._compose(), *(("down",) if own else ("stop", self._service)))
        if isinstance(there := self._status_of_any(), Done):
            return Failed(text=f"slot {self.work.slot} could not be retired: {there.text}")
        return Done(text=f"nothing runs in slot {self.work.slot}, says {self._engine}")

    def _status_of_any(self) -> Done | NotUp:
        return replace(self, work=replace(self.work, version=""))._status()

    def _refuse_older(self) -> None:
        """Leave this gate's number, and end where there is a higher one."""
        place = f"{self._project}.{self._service}"
        label, name = f"rampgate.place={place}", f"rampgate.{place}.fence."

        def seen() -> set[int]:
            lines = self._asked(
                self._engine, "volume", "ls", "--filter", f"label={label}", "--format", _SIGN + "{{.Name}}"
            )
            numbers = (line.removeprefix(name) for line in lines)
            return {int(number) for number in numbers if number.isascii() and number.isdigit()}

        def refuse(highest: int) -> None:
            if highest > self.work.fence:
                text = (
                    f"a newer gate (fence {highest}) has taken over slot {self.work.slot} from fence {self.work.fence}"
                )
                raise _EndedError(Failed(text=text))

        there = seen()
        refuse(max(there, default=0))
        if self.work.fence not in there:
            self._asked(self._engine, "volume", "create", "--label", label, f"{name}{self.work.fence}")
            there = seen()
            refuse(max(there, default=0))
        older = [f"{name}{number}" for number in sorted(there) if number < self.work.fence]
        if older:
            self._asked(self._engine, "volume", "rm", *older)

    def _ids(self) -> list[str]:
        labels = (f"project={self._project}", f"service={self._service}")
        filters = [part for label in labels for part in ("--filter", f"label=com.docker.compose.{label}")]
        return self._asked(self._engine, "ps", "-a", *filters, "--format", _SIGN + "{{.ID}}")

    def _containers(self) -> list[tuple[str, str, str]]:
        """State, health and version of each container of the service."""
        ids = self._ids()
        lines = self._asked(self._engine, "inspect", "--format", _LOOK, *ids) if ids else []
        parts = [line.split("|", 2) for line in lines]
        return [(one[0], one[1], one[2].replace("<no value>", "")) for one in parts if len(one) == 3]

    def _last_words(self) -> tuple[str, ...]:
        ids = self._ids()
        return self._ran(self.workplace, (self._engine, "logs", "--tail", "20", ids[0])).tail if ids else ()

    @property
    def _engine(self) -> str:
        return self.options.program[0].removesuffix("-compose")

    @property
    def _project(self) -> str:
        return filled(self.options.project, {"slot": self.work.slot})

    @property
    def _service(self) -> str:
        return filled(self.options.service, {"slot": self.work.slot})

    def _compose(self, *more: str) -> tuple[str, ...]:
        files = tuple(part for file in (self.options.file, *more) for part in ("-f", file))
        env = self.options.env_file
        env_file = () if env is None else ("--env-file", filled(env, {"slot": self.work.slot}))
        return (*self.options.program, *files, "-p", self._project, *env_file)

    def _do(self, *argv: str) -> None:
        """Run a program for what it does. Raises ``_EndedError`` where it fails."""
        ran = self._ran(self.workplace, argv)
        if ran.ending is not Ending.EXITED or ran.code != 0:
            name = " ".join(self.options.program)
            what = f"{self.work.action} of slot {self.work.slot} failed: {name} {_ended(ran, self.work.seconds)}"
            raise _EndedError(Failed(text=what, tail=ran.tail))

    def _asked(self, *argv: str) -> list[str]:
        """Run a program for what it says: the lines with our sign, without it. Raises ``_EndedError``."""
        lines: list[str] = []
        ran = self._ran(replace(self.workplace, say=lines.append), argv)
        if ran.ending is not Ending.EXITED or ran.code != 0:
            what = f"nobody knows how slot {self.work.slot} is: {argv[0]} {argv[1]} {_ended(ran, self.work.seconds)}"
            raise _EndedError(Failed(text=what, tail=ran.tail))
        return [line.removeprefix(_SIGN).strip() for line in lines if line.startswith(_SIGN)]

    def _ran(self, workplace: Workplace, argv: Sequence[str]) -> Ran:
        told = values(self.work)
        if self.options.host is not None:
            host = filled(self.options.host, {"target": self.work.target or ""})
            told |= {"DOCKER_HOST": host, "CONTAINER_HOST": host}
        left = max(0.0, self.until - time.monotonic())
        ran = run_hook(tuple(argv), told, workplace, seconds=left, keep_going=self.keep_going)
        if ran.ending is Ending.STOPPED:
            raise _EndedError(Stopped(text=f"{self.work.action} of slot {self.work.slot} was stopped", tail=ran.tail))
        return ran

    def _pause(self) -> None:
        end = min(self.until, time.monotonic() + self.workplace.every)
        while time.monotonic() < end:
            time.sleep(0.01)


def is_plain(work: Work) -> bool:
    """Whether the version may be written where others read it. To take a slot away, none is needed."""
    needless = work.action is DeployAction.RETIRE or (work.action is DeployAction.STATUS and not work.version)
    return needless or VERSION.fullmatch(work.version) is not None


_UP = (("running", ""), ("running", "healthy"), ("running", "none"))


def _ended(ran: Ran, limit: float) -> str:
    return ending(ran, limit).removeprefix("the hook ").replace("its deadline", "the deadline")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeOptions:
    """Docker Compose, here or on a host by SSH."""

    project: Annotated[str, Key(As.TEXT, "The project, such as shop-{{slot}}.")]
    service: Annotated[str, Key(As.TEXT, "The service whose containers count, such as web, or web-{{slot}}.")]
    file: Annotated[str, Key(As.TEXT, "The compose file.")] = "compose.yml"
    env_file: Annotated[str | None, Key(As.TEXT, "A file of variables for the compose file, such as {{slot}}.env.")] = (
        None
    )
    host: Annotated[str | None, Key(As.TEXT, "The host by SSH, such as ssh://deploy@shop.example.com.")] = None
    program: Annotated[
        tuple[str, ...], Key(As.TEXTS, "Compose and its first arguments: [docker, compose] or [podman-compose].")
    ] = ("docker", "compose")

    def __post_init__(self) -> None:
        object.__setattr__(self, "program", tuple(self.program))

    def problems(self, path: str, *, slots: bool) -> Iterator[Problem]:
        for name, text, known in (
            ("project", self.project, "slot"),
            ("service", self.service, "slot"),
            ("envFile", self.env_file or "", "slot"),
            ("host", self.host or "", "target"),
        ):
            if strange := unknown(text, (known,)):
                yield Problem(f"{path}.{name}", "{{" + strange[0] + "}}", "the placeholder {{" + known + "}}")
        if slots is not ("{{" in self.project + self.service):
            parted = "{{slot}} in it, or in `service`: else both slots are the same containers"
            allowed = parted if slots else "no {{slot}} in it or in `service`: a target is replaced in its place"
            yield Problem(f"{path}.project", repr(cut(self.project, 60)), allowed)
        if self.host is not None and not _HOST.fullmatch(self.host):
            yield Problem(f"{path}.host", repr(cut(self.host, 60)), "an address such as ssh://deploy@shop.example.com")
        if not self.program:
            yield Problem(f"{path}.program", "an empty list", "a program and its first arguments")

    def credentials(self) -> tuple[str, ...]:
        return ()

    def deployer(self, workplace: Workplace) -> Deployer:
        return ComposeDeployer(self, workplace)
