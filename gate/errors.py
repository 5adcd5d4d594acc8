"""What can go wrong with the gate, as one family of errors, and how a run ends.

    RampgateError
    ├── MisuseError                 the person must change something: exit 2
    │   ├── ProblemsError           several things at once, each with its place
    │   │   ├── ConfigError         .github/rampgate.yml
    │   │   └── InputError          the Action's inputs, the runner's variables
    │   ├── PreflightError          a source answers with what cannot be judged
    │   └── EventError              the event file is not what GitHub sends
    ├── FlagServerUnreachableError  no answer from the flag server: exit 3
    ├── FlagServerRefusedError      the flag server will not do what was asked: exit 4
    ├── StableNotUpError            the version to go back to is not up: exit 4
    └── GitHubError                 GitHub did not answer, or refused; never ends a rollout

Each says what happened, why it matters and what to do; ``str(error)`` is the one rendering of it.
"""

from enum import IntEnum, StrEnum

from rampgate.problem import Problem


class Exit(IntEnum):
    """How a run of the gate ends. docs/exit-codes.md has a row for each."""

    DONE = 0
    """Promoted, handed over to a follower, obeyed, or nothing to do."""
    REVERTED = 1
    """Users are back on the stable version (0 when `fail-on-revert` is false)."""
    MISUSE = 2
    """The configuration, an input or the command line is wrong; nothing was started."""
    UNREACHABLE = 3
    """The flag server could not be reached; it ends the rollout by itself when the lease lapses."""
    NOT_RELEASED = 4
    """Deployment or verification failed, or the rollout was refused: no user met the version."""
    UNFINISHED = 5
    """The gate ended and something is left to do."""
    FAULT = 70
    """A fault in Rampgate itself; the flag server ends the rollout when the lease lapses."""
    INTERRUPTED = 130
    """SIGINT: the job was cancelled."""
    TERMINATED = 143
    """SIGTERM: the job was ended."""


class ErrorReason(StrEnum):
    """Why a run ended in an error, as the output `reason` says it. docs/reasons.md has a row for each."""

    CONFIG_INVALID = "config_invalid"
    INPUT_INVALID = "input_invalid"
    EVENT_UNREADABLE = "event_unreadable"
    MISUSE = "misuse"
    FLAG_SERVER_UNREACHABLE = "flag_server_unreachable"
    FLAG_SERVER_REFUSED = "flag_server_refused"
    GITHUB_FAILED = "github_failed"
    FAULT = "fault"


class RampgateError(Exception):
    """Something that ends what the gate was doing.

    Args:
        what: what happened, as one sentence that holds no secret.
        why: why it matters, or an empty string.
        do: what the reader can do about it, or an empty string.
    """

    exit: Exit = Exit.FAULT
    reason: ErrorReason = ErrorReason.FAULT

    def __init__(self, what: str, *, why: str = "", do: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.do = do

    def __str__(self) -> str:
        return " ".join(part for part in (self.what, self.why, self.do) if part)


class MisuseError(RampgateError):
    """The person who set this up must change something."""

    exit = Exit.MISUSE
    reason = ErrorReason.MISUSE


class ProblemsError(MisuseError):
    """Everything that is wrong with one text, at once."""

    def __init__(self, what: str, problems: tuple[Problem, ...], *, why: str = "", do: str = "") -> None:
        super().__init__(what, why=why, do=do)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *(f"  {problem}" for problem in self.problems)])


class ConfigError(ProblemsError):
    """The configuration file cannot be used; nothing was deployed."""

    reason = ErrorReason.CONFIG_INVALID

    def __init__(self, where: str, problems: tuple[Problem, ...]) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{where}: {count}.", problems, why="Nothing was deployed.")
        self.where = where


class InputError(ProblemsError):
    """Inputs of the Action, or variables of the runner, are missing or wrong."""

    reason = ErrorReason.INPUT_INVALID

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"Inputs: {count}.", problems, why="Nothing was started.")


class PreflightError(MisuseError):
    """What the sources answer cannot be judged. ``findings`` are sentences, each with its path."""

    reason = ErrorReason.CONFIG_INVALID

    def __init__(self, where: str, findings: tuple[str, ...]) -> None:
        super().__init__(f"{where}: the sources cannot be judged by.", do="Change the queries, or what they ask.")
        self.findings = findings

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *(f"  {finding}" for finding in self.findings)])


class EventError(MisuseError):
    """The event that started the workflow cannot be read, or means nothing to the gate."""

    reason = ErrorReason.EVENT_UNREADABLE


class FlagServerUnreachableError(RampgateError):
    """The flag server gave no usable answer."""

    exit = Exit.UNREACHABLE
    reason = ErrorReason.FLAG_SERVER_UNREACHABLE


class FlagServerRefusedError(RampgateError):
    """The flag server understood, and said no; asking again is no use.

    Args:
        code: the server's own word for it, such as ``version_refused``.
        message: the server's sentence.
        problems: what is wrong with what was sent, where the server says so.
        position: the place in the line of those who wait, from 1, where the server gave one.
    """

    reason = ErrorReason.FLAG_SERVER_REFUSED

    def __init__(
        self, *, code: str, message: str, problems: tuple[Problem, ...] = (), position: int | None = None
    ) -> None:
        super().__init__(message, do=_WHAT_TO_DO.get(code, ""))
        self.code = code
        self.problems = problems
        self.position = position
        self.exit = Exit.NOT_RELEASED if code in _NOT_RELEASED else Exit.MISUSE

    def __str__(self) -> str:
        # Of a single problem the server's sentence is that problem.
        further = (f"  {problem}" for problem in self.problems if str(problem) != self.what)
        return "\n".join([super().__str__(), *further])


_NOT_RELEASED = frozenset({"version_refused", "rollout_in_progress", "slots_changed", "replaced_in_queue"})
_OPERATOR_KEY = "Give `flag-server-key` (RAMPGATE_KEY) a key from `flagserver keys create --role operator`."
_TRUST = "Change the workflow, or the trust policy on the flag server: docs/trust.md."
_WHAT_TO_DO = {
    "version_refused": "Release another version, or comment `override` with a reason (`rampgate run --override`).",
    "unknown_key": _OPERATOR_KEY,
    "slow_down": _OPERATOR_KEY,
    "role": _OPERATOR_KEY,
    "token_refused": _TRUST,
    "session": _TRUST,
    "session_environment": _TRUST,
    "session_flag": _TRUST,
    "no_public_url": "Set it on the flag server, or give `flag-server-key`: docs/trust.md.",
    "environment": "Use a key of the environment that is released to.",
    "rollout_in_progress": "Wait for it to end, or abort it.",
    "no_follower": "Start one beside the flag server: docs/operating.md.",
    "slots_changed": "Another rollout ended meanwhile: run this one again.",
}


class StableNotUpError(RampgateError):
    """The stable slot is down, or nobody knows: nothing was started."""

    exit = Exit.NOT_RELEASED


class GitHubError(RampgateError):
    """GitHub gave no usable answer. Judging and reverting go on without it.

    ``lasting``: asking again as things are is of no use.
    """

    reason = ErrorReason.GITHUB_FAILED
    lasting = False
