"""The deployer for Docker Compose, here or on a host by SSH: a project for each slot, or a service for each in one.

On a host its own compose is run; nothing of Docker is needed where the gate is. The fence is an empty, labelled volume:
it outlives containers.
"""

import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from gate.deploy import ssh
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
        options, workplace = self._options, self._workplace
        task = _Task(options=options, work=work, workplace=workplace, keep_going=keep_going, until=until)
        try:
            if options.host is None:
                return task.run()
            with ssh.program(workplace.environ, key=options.key, known_hosts=options.known_hosts) as program:
                host = filled(options.host, {"target": work.target or ""})
                return replace(task, reach=(*program, "--", host)).run()
        except ssh.KeyMissingError as error:
            return Failed(text=str(error))
        except _EndedError as ended:
            return ended.answer


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """One piece of work under way, until ``until`` on the monotonic clock. ``reach``: ssh, with all but the command."""

    options: "ComposeOptions"
    work: Work
    workplace: Workplace
    keep_going: Callable[[], bool]
    until: float
    reach: tuple[str, ...] = ()

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
            return NotUp(text=f"slot {self.work.slot} is not up: {what}, says {self._who}")
        versions = sorted({version for _, _, version in there})
        if len(versions) > 1:
            return NotUp(text=f"slot {self.work.slot} runs {' and '.join(versions)} at once, says {self._who}")
        return found(self.work, versions[0], f"says {self._who}")

    def _ensured(self) -> Deployment:
        what = f"{self.work.version} in slot {self.work.slot}"
        if isinstance(self._status(), Done):
            return Done(text=f"{what} ran already")
        labels = {"rampgate.version": self.work.version, "rampgate.fence": str(self.work.fence)}
        marks = json.dumps({"services": {self._service: {"labels": labels}}}).encode()
        self._compose("up", "-d", *self._drained, self._service, marks=marks)
        while not isinstance(status := self._status(), Done):
            there = self._containers()
            if not there or any(state in _DEAD or health in _DEAD for state, health, _ in there):
                raise _EndedError(Failed(text=f"{what} did not come up: {status.text}", tail=self._last_words()))
            self._pause()
        return Done(text=f"{what} is up, says {self._who}")

    def _retired(self) -> Deployment:
        if self._ids():
            own = "{{" in self.options.project
            self._compose(*(("down", *self._drained) if own else ("stop", *self._drained, self._service)))
        if isinstance(there := self._status_of_any(), Done):
            return Failed(text=f"slot {self.work.slot} could not be retired: {there.text}")
        return Done(text=f"nothing runs in slot {self.work.slot}, says {self._who}")

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

    @property
    def _who(self) -> str:
        return f"{self._engine} on {self.reach[-1].removeprefix('ssh://')}" if self.reach else self._engine

    @property
    def _drained(self) -> tuple[str, ...]:
        """How long compose lets a container end its requests; without it, as long as the compose file says."""
        return ("--timeout", str(ceil(self.work.drain))) if self.work.drain else ()

    def _compose(self, *words: str, marks: bytes | None = None) -> None:
        """Run compose. ``marks`` is a compose file of our own, read after the user's. Raises ``_EndedError``."""
        env = filled(self.options.env_file or "", {"slot": self.work.slot})
        own = re.sub(r"[^\w.-]", "_", f"rampgate.{self._service}.json")
        if self.reach:
            # An absolute path is the host's own; what is in the checkout is brought there.
            brought = {Path(name).name: self._read(name) for name in (self.options.file, env) if _ours(name)}
            brought |= {own: marks} if marks is not None else {}
            file, env = (Path(name).name if _ours(name) else name for name in (self.options.file, env))
            self._do(*self._files(file, own if marks else "", env), *words, brought=brought)
            return
        with tempfile.TemporaryDirectory(prefix="rampgate-") as folder:
            if marks is not None:
                Path(folder, own).write_bytes(marks)
            self._do(*self._files(self.options.file, str(Path(folder, own)) if marks else "", env), *words)

    def _files(self, file: str, own: str, env: str) -> tuple[str, ...]:
        more, env_file = (("-f", own) if own else ()), (("--env-file", env) if env else ())
        return (*self.options.program, "-f", file, *more, "-p", self._project, *env_file)

    def _read(self, name: str) -> bytes:
        try:
            return (self.workplace.folder / name).read_bytes()
        except OSError as error:
            text = f"{name} cannot be read from the checkout, to be brought to the host: {error.strerror}"
            raise _EndedError(Failed(text=text)) from error

    def _do(self, *argv: str, brought: Mapping[str, bytes] = MappingProxyType({})) -> None:
        """Run a program for what it does. Raises ``_EndedError`` where it fails."""
        ran = self._ran(self.workplace, argv, brought)
        if ran.ending is not Ending.EXITED or ran.code != 0:
            what = f"{self.work.action} of slot {self.work.slot} failed: {self._ended(ran, *self.options.program)}"
            raise _EndedError(Failed(text=what, tail=ran.tail))

    def _asked(self, *argv: str) -> list[str]:
        """Run a program for what it says: the lines with our sign, without it. Raises ``_EndedError``."""
        lines: list[str] = []
        ran = self._ran(replace(self.workplace, say=lines.append), argv)
        if ran.ending is not Ending.EXITED or ran.code != 0:
            what = f"nobody knows how slot {self.work.slot} is: {self._ended(ran, *argv[:2])}"
            raise _EndedError(Failed(text=what, tail=ran.tail))
        return [line.removeprefix(_SIGN).strip() for line in lines if line.startswith(_SIGN)]

    def _ended(self, ran: Ran, *words: str) -> str:
        if self.reach and ran.ending is Ending.EXITED and ran.code == ssh.LOST:
            return f"ssh could not reach {self.reach[-1]}, or lost it"
        how = ending(ran, self.work.seconds).removeprefix("the hook ").replace("its deadline", "the deadline")
        return f"{' '.join(words)} {how}" + (" (no such program there)" if self.reach and ran.code == 127 else "")

    def _ran(
        self, workplace: Workplace, argv: Sequence[str], brought: Mapping[str, bytes] = MappingProxyType({})
    ) -> Ran:
        told, given = values(self.work), None
        left = max(0.0, self.until - time.monotonic())
        if self.reach:
            folder = (self.options.folder or f"rampgate/{self._project}") if brought else "."
            script = ssh.remote(tuple(argv), told, seconds=left, folder=folder, names=tuple(brought))
            argv, given = (*self.reach, script), ssh.carried(tuple(brought.values()))
        ran = run_hook(tuple(argv), told, workplace, seconds=left, keep_going=self.keep_going, given=given)
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


def _ours(name: str) -> bool:
    """Whether a path names a file of the checkout, and not one of the host."""
    return bool(name) and not Path(name).is_absolute()


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
    key: Annotated[
        str | None, Key(As.VARIABLE, "The variable that holds the private key; left out, the agent's or ssh's own.")
    ] = None
    known_hosts: Annotated[
        str | None, Key(As.VARIABLE, "The variable that holds the host's key, as ssh-keyscan prints it.")
    ] = None
    folder: Annotated[
        str | None,
        Key(As.TEXT, "The folder on the host for the files; left out, rampgate/PROJECT in the login's home."),
    ] = None
    program: Annotated[
        tuple[str, ...], Key(As.TEXTS, "Compose and its first arguments: [docker, compose] or [podman-compose].")
    ] = ("docker", "compose")

    def __post_init__(self) -> None:
        object.__setattr__(self, "program", tuple(self.program))

    def problems(self, path: str, *, targets: Sequence[str] | None) -> Iterator[Problem]:
        for name, text, known in (
            ("project", self.project, "slot"),
            ("service", self.service, "slot"),
            ("envFile", self.env_file or "", "slot"),
            ("host", self.host or "", "target"),
        ):
            if strange := unknown(text, (known,)):
                yield Problem(f"{path}.{name}", "{{" + strange[0] + "}}", "the placeholder {{" + known + "}}")
        slots = targets is None
        if slots is not ("{{" in self.project + self.service):
            parted = "{{slot}} in it, or in `service`: else both slots are the same containers"
            allowed = parted if slots else "no {{slot}} in it or in `service`: a target is replaced in its place"
            yield Problem(f"{path}.project", repr(cut(self.project, 60)), allowed)
        if self.host is not None and not _HOST.fullmatch(self.host):
            yield Problem(f"{path}.host", repr(cut(self.host, 60)), "an address such as ssh://deploy@shop.example.com")
        apart = "target" in unknown(self.host or "", ())
        if (slots and apart) or (len(targets or ()) > 1 and not apart):
            in_place = "an address with {{target}}: else all targets are the same containers"
            allowed = "one host for both slots; targets are for strategy: rolling" if slots else in_place
            yield Problem(f"{path}.host", repr(cut(self.host or "nothing", 60)), allowed)
        for name, given in (("key", self.key), ("knownHosts", self.known_hosts), ("folder", self.folder)):
            if self.host is None and given is not None:
                yield Problem(f"{path}.{name}", "what is said of a host", "`host` beside it, or no such key")
        if not self.program:
            yield Problem(f"{path}.program", "an empty list", "a program and its first arguments")

    def credentials(self) -> tuple[str, ...]:
        return () if self.key is None else (self.key,)

    def deployer(self, workplace: Workplace) -> Deployer:
        return ComposeDeployer(self, workplace)
