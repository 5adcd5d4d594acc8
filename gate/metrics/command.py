"""The source that is a program of the user's own: it prints both arms' counters as one JSON object.

Values reach it by its environment, never by interpolation. When time is up it is ended, with its process group.
"""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from gate.foreign import Secrets, cut, harmless
from gate.keys import As, Key
from gate.metrics.asking import (
    ARMS,
    Down,
    count_of,
    empty,
    number_of,
    parsed,
    source_down,
    timeout_problems,
    unreachable,
    unreadable,
)
from gate.metrics.queries import Placeholder, has
from gate.metrics.source import Gauge, Means, Question, Source, Wanted
from gate.metrics.store import FIGURES, measure_of, measured
from rampgate.criteria import ERRORS, MetricKind
from rampgate.evidence import ArmName, Counters, Histogram, Measure, Measured, Reading, SourceDown
from rampgate.problem import Problem

MOST_BYTES = 1 << 20
MOST_BOUNDS = 100
_HISTOGRAM = ("bounds", "counts", "total")
Read = TypeVar("Read")
_SCRUBBED = ("INPUT_", "STATE_", "ACTIONS_", "RAMPGATE_", "FLAGSERVER_", "GITHUB_TOKEN", "GH_TOKEN")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOptions:
    """A program that prints ``{"stable": {"requests": 9000, "errors": 27}, "canary": {…} or null}``.

    ``secret_env`` are the environment variables whose values no log may show; hooks do not get them.
    """

    command: Annotated[str | tuple[str, ...], Key(As.COMMAND, "A line for the shell, or a program and its arguments.")]
    secret_env: Annotated[str | None, Key(As.VARIABLE, "The variable that holds its credentials, if any.")] = None
    timeout: Annotated[float, Key(As.DURATION, "The longest that one reading may take.")] = 10.0

    gives: ClassVar[frozenset[MetricKind]] = frozenset(MetricKind)
    past: ClassVar[bool] = False

    def problems_of(self, wanted: Wanted, path: str) -> Iterator[Problem]:
        yield from self.problems(path)
        for figure in wanted.queries:
            yield Problem(f"{path}.queries.{figure}", "a query", "no queries: the command is told RAMPGATE_METRIC")

    def problems(self, path: str) -> Iterator[Problem]:
        texts = (self.command,) if isinstance(self.command, str) else self.command
        if any(has(text, *Placeholder) for text in texts):
            allowed = 'its values from its environment: "$RAMPGATE_CANARY_VERSION", "$RAMPGATE_STABLE_VERSION" and more'
            yield Problem(f"{path}.command", "a placeholder", allowed)
        yield from timeout_problems(self.timeout, path)

    def credentials(self) -> tuple[str, ...]:
        return () if self.secret_env is None else (self.secret_env,)

    def source(self, means: Means) -> Source:
        return CommandSource(self, means.environ, means.folder)

    def gauge(self, means: Means, wanted: Wanted) -> Gauge:
        return CommandGauge(CommandSource(self, means.environ, means.folder, metric=wanted.name), wanted.kind)


class CommandSource:
    """Runs the program once a reading. Only exit code 0 and one JSON object on its standard output count."""

    def __init__(
        self, options: CommandOptions, environ: Mapping[str, str], folder: Path, *, metric: str = ERRORS
    ) -> None:
        self._metric = metric
        self._folder = folder
        self._options = options
        self._environ = environ

    def read(self, question: Question) -> Reading | SourceDown:
        return self.printed(question, _reading)

    def printed(self, question: Question, read: Callable[[bytes, Question], Read]) -> Read | SourceDown:
        """What ``read`` makes of the program's output."""
        environ = {name: value for name, value in self._environ.items() if not name.upper().startswith(_SCRUBBED)}
        secrets = Secrets(self._environ.get(name, "") for name in self._options.credentials())
        try:
            told_now = told(question) | {"RAMPGATE_METRIC": self._metric}
            return read(self._output(environ | told_now), question)
        except Down as down:
            return source_down("command", question, secrets, down)

    def _output(self, environ: Mapping[str, str]) -> bytes:
        command = self._options.command
        argv = ("/bin/sh", "-c", command) if isinstance(command, str) else command
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self._folder,
                env=environ,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise unreachable(f"the command cannot be started: {getattr(error, 'strerror', None) or error}") from None
        try:
            out, err = _both_streams(process, time.monotonic() + self._options.timeout)
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        if process.returncode != 0:
            last = harmless(err.decode("utf-8", "replace").strip().rpartition("\n")[2])
            raise unreachable(f"the command ended with {process.returncode}: {cut(last, 300) or 'it says nothing'}")
        return out


class CommandGauge:
    """The same program for a further metric, whose figures it prints in the place of the counters."""

    def __init__(self, source: CommandSource, kind: MetricKind) -> None:
        self._source = source
        self._kind = kind

    def read(self, question: Question) -> Measured | SourceDown:
        return self._source.printed(question, self._measured)

    def _measured(self, output: bytes, question: Question) -> Measured:  # noqa: ARG002
        answer = parsed(output)
        if not isinstance(answer, dict) or not {"stable", "canary"} <= answer.keys():
            raise unreadable('the command prints no {"stable": {…}, "canary": {…}}')
        return measured(lambda arm: _measure(answer[arm], arm, self._kind), "the command's output")


def _measure(figures: Any, arm: ArmName, kind: MetricKind) -> Measure | None:
    """One arm's figures, as they were printed."""
    if figures is None:
        return None
    names = _HISTOGRAM if kind is MetricKind.LATENCY else FIGURES[kind]
    if not isinstance(figures, dict) or figures.keys() != set(names):
        raise unreadable(f"the command's {arm} is not an object of {', '.join(names)}")
    if kind is not MetricKind.LATENCY:
        return measure_of(kind, {name: _number(figures[name], f"{arm}.{name}") for name in names}, str(arm))
    lists = [figures[name] for name in _HISTOGRAM[:2]]
    if not all(isinstance(one, list) and len(one) <= MOST_BOUNDS for one in lists) or len(set(map(len, lists))) != 1:
        raise unreadable(f"the command's {arm} has no bounds (seconds) with a count for each, at most {MOST_BOUNDS}")
    bounds, counts = ([_number(one, f"{arm}.{name}") for one in figures[name]] for name in _HISTOGRAM[:2])
    return Histogram(
        bounds=tuple(bounds),
        counts=tuple(count_of(one, f"{arm}.counts") for one in counts),
        total=count_of(_number(figures["total"], f"{arm}.total"), f"{arm}.total"),
    )


def _number(value: Any, name: str) -> float:
    return number_of(None if isinstance(value, str) else value, name)


def _both_streams(process: subprocess.Popen[bytes], until: float) -> tuple[bytes, bytes]:
    """What it writes, until it has ended. Raises ``Down`` where it takes too long or writes too much."""
    kept = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream in kept:
            assert stream is not None
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            # What it leaves running may hold the streams open: its own end is what counts.
            ended = process.poll() is not None
            ready = selector.select(0.0 if ended else max(0.0, min(0.05, until - time.monotonic())))
            for key, _ in ready:
                chunk = os.read(key.fd, 1 << 16)
                if not chunk:
                    selector.unregister(key.fileobj)
                kept[key.fileobj] += chunk  # type: ignore[index]
            if any(len(one) > MOST_BYTES for one in kept.values()):
                raise unreadable(f"the command writes more than {MOST_BYTES} bytes")
            if ended and not ready:
                break
            if time.monotonic() >= until:
                raise unreachable("the command did not end in time")
    try:
        process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise unreachable("the command did not end in time") from None
    return bytes(kept[process.stdout]), bytes(kept[process.stderr])


def told(question: Question) -> dict[str, str]:
    """What the program is told, beside the environment it inherits. A version that nobody knows is empty."""
    return {
        "RAMPGATE_ROLLOUT": question.rollout_id,
        "RAMPGATE_FLAG": question.flag,
        "RAMPGATE_ENVIRONMENT": question.environment,
        "RAMPGATE_STABLE_SLOT": question.stable.name,
        "RAMPGATE_STABLE_VERSION": question.stable.version or "",
        "RAMPGATE_CANARY_SLOT": question.canary.name,
        "RAMPGATE_CANARY_VERSION": question.canary.version or "",
        "RAMPGATE_SINCE": f"{question.since:.3f}",
        "RAMPGATE_AT": f"{question.at:.3f}",
    }


def _reading(output: bytes, question: Question) -> Reading:
    answer = parsed(output)
    if not isinstance(answer, dict) or not {"stable", "canary"} <= answer.keys():
        raise unreadable('the command prints no {"stable": {"requests": …, "errors": …}, "canary": …}')
    at = answer.get("at", question.at)
    if isinstance(at, bool) or not isinstance(at, int | float) or not question.since - 3600 <= at <= question.at + 1:
        raise unreadable("the command's moment (at) is none between the rollout's beginning and now")
    stable, canary = (_arm(answer[arm], arm) for arm in ARMS)
    if stable is None and canary is None:
        raise empty("the command has counts for neither arm")
    return Reading(at=float(at), stable=stable, canary=canary)


_KEYS = ("requests", "errors", "active_users", "affected_users")


def _arm(counts: Any, arm: ArmName) -> Counters | None:
    if counts is None:
        return None
    if not isinstance(counts, dict) or not set(_KEYS[:2]) <= counts.keys() <= set(_KEYS):
        raise unreadable(f"the command's {arm} is not an object of {', '.join(_KEYS[:2])}")
    found = {}
    for name, value in counts.items():
        found[name] = count_of(_number(value, f"{arm}.{name}"), f"{arm}.{name}")
    return Counters(**found)
