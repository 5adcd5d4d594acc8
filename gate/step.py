"""One run of the Action: what it was given, what it speaks to, and what it writes to. What it does, `app.py` says."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from os.path import realpath
from pathlib import Path

from gate import config as configuration
from gate.config import Config
from gate.errors import InputError, RampgateError
from gate.flagserver_api import FlagServer
from gate.foreign import harmless
from gate.github.no_github import NoGitHub
from gate.github.oidc import IdTokens
from gate.github.port import GitHub
from gate.inputs import Inputs, OnCancel, Runner
from gate.metrics import Means
from gate.parting import Asked, JobEnd, never
from gate.release import Gate
from gate.report import page
from gate.runner_files import Level, RunnerFiles, annotation, mask
from gate.session import JobSession
from gate.telling import Audience, Telling
from gate.world import RealClock, Surroundings, hands
from rampgate.problem import Problem


@dataclass
class Step:
    """One run of the Action: what it was given, and what it has to write to."""

    environ: Mapping[str, str]
    runner: Runner
    inputs: Inputs
    files: RunnerFiles
    handed_on: bool = False
    """Whether the step has its outputs."""

    @classmethod
    def begin(cls, environ: Mapping[str, str]) -> "Step":
        """Read what the runner gives.

        Raises:
            InputError: everything that is wrong with it.
        """
        runner = Runner.from_environ(environ)
        files = RunnerFiles(
            output_path=runner.output_path, state_path=runner.state_path, summary_path=runner.summary_path, say=say
        )
        return cls(environ=environ, runner=runner, inputs=Inputs.from_environ(environ), files=files)

    @cached_property
    def server(self) -> FlagServer:
        access = self.inputs.flag_server()
        if access.key:
            say(mask(access.key.reveal()))
            return FlagServer(access.url, access.key.reveal())
        tokens = IdTokens.of_job(self.environ)
        return FlagServer(access.url, JobSession(access.url, tokens, self._environment, say))

    @property
    def may_ask(self) -> bool:
        """Whether there is a flag server to ask, and something to ask it with."""
        key = self.inputs.flag_server_key or IdTokens.are_given(self.environ)
        return self.inputs.flag_server_url is not None and bool(key)

    def _environment(self) -> str | None:
        """The environment that this run is about, where that can be told."""
        try:
            return self.inputs.environment or self.config().plan.environment
        except RampgateError:
            return None

    def github(self) -> GitHub:
        """A connection to GitHub, for the thread that asks."""
        if not self.inputs.github_token:
            return NoGitHub(say)
        # Late, because PyGithub takes a third of a second to load.
        from gate.github.api import GitHubApi  # noqa: PLC0415

        return GitHubApi.at(
            api_url=self.runner.api_url,
            token=self.inputs.github_token.reveal(),
            repository=self.runner.repository,
            say=say,
        )

    def config(self, environment: str | None = None) -> Config:
        """The configuration in the workspace, for this environment or the input's.

        Raises:
            ConfigError: everything that is wrong with it.
            InputError: it is a link that leads out of the repository.
            MisuseError: it is missing.
        """
        file = self.runner.workspace / self.inputs.config
        if not Path(realpath(file)).is_relative_to(realpath(self.runner.workspace)):
            # A message shows what is wrong with a file: through a link it would show files of the runner.
            text = "a file of the repository, no link that leads out of it"
            raise InputError((Problem("config", str(self.inputs.config), text),))
        return configuration.read(file, environment=environment or self.inputs.environment)

    def job_end(self) -> JobEnd:
        """When this job's driver leaves. The job began a little before its step: the notice is long enough for both."""
        return JobEnd(
            server=self.server,
            monotonic=time.monotonic,
            warn=lambda text: say(annotation(Level.WARNING, text, title="Rampgate")),
            began=time.monotonic(),
            limit=self.inputs.job_timeout,
            at_once=self.inputs.detach,
            then=_THEN[self.inputs.on_cancel],
        )

    def gate(self, config: Config, telling: Telling, parting: Asked = never) -> Gate:
        secrets = (self.inputs.flag_server_key.reveal(), self.inputs.github_token.reveal())
        around = Surroundings(
            folder=self.runner.workspace,
            environ=self.environ,
            secrets=tuple(one for one in secrets if one),
            say=say,
        )
        return Gate(
            server=self.server,
            hands=hands(config, around, self.server),
            clock=RealClock(),
            report=telling,
            waits=telling.waits,
            holder=self.holder,
            replaces=self._is_earlier_attempt,
            say=say,
            parting=parting,
        )

    def means(self) -> Means:
        """What sources may use, before a rollout."""
        return Means(telemetry=self.server, environ=self.environ, folder=self.runner.workspace)

    def telling(self, config: Config, outlook: tuple[str, ...] = ()) -> Telling:
        links = page.Links(run=self.runner.run_url, outlook=outlook)
        audience = Audience(
            say=say, files=self.files, server=self.server, github=self.github, links=links, wishes=config.github
        )
        return Telling(audience, time.monotonic)

    def _is_earlier_attempt(self, holder: str) -> bool:
        # GitHub begins a run's next attempt only after the one before has ended.
        return holder in map(self._holder, range(1, self.runner.run_attempt))

    @property
    def holder(self) -> str:
        return self._holder(self.runner.run_attempt)

    def _holder(self, attempt: int) -> str:
        # Two jobs of one run may release to the same environment: each is a holder of its own.
        return f"run {self.runner.run_id} job {self.environ.get('GITHUB_JOB') or 'unnamed'} attempt {attempt}"


_THEN = {
    OnCancel.REVERT: "users are taken back to the stable version",
    OnCancel.HOLD: "the plan's `onGateLost` decides once the lease has lapsed",
    OnCancel.DETACH: "users are taken back to the stable version, as no follower is there",
}


def say(text: str) -> None:
    """A line of the log, at once, and whatever lines follow it in the same text.

    The runner obeys a line that begins with `::`, and `##[…]` anywhere. Only a first line may be a command of ours;
    what a comment, a server or an exception said is none.
    """
    first, *further = text.splitlines() or [""]
    lines = (first.replace("##[", "## ["), *map(harmless, further))
    # One write: `print` makes two, and a thread that speaks between them would end up in the middle of a line.
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
