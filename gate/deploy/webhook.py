"""The deployer that asks a service of the user's own, by a signed POST, and follows the job that it begins.

What the service does is its own business; that it is asked once for each thing, by whom and when, is ours.
"""

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, Any
from urllib.parse import urljoin, urlsplit

from gate.deploy.command import values
from gate.deploy.deployer import DeployAction, Deployer, Deployment, Done, Failed, NotUp, Stopped, Work, Workplace
from gate.deploy.hook import HURRIED
from gate.deploy.patient import NotWantedError, OverdueError, Patient, last_word, retry_after
from gate.fetch import Got, NotGot, Trouble, origin, place
from gate.foreign import Secrets, cut, harmless
from gate.keys import As, Key
from gate.signing import signed
from rampgate.plan import seconds
from rampgate.problem import Problem

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_RESERVED = ("webhook-id", "webhook-timestamp", "webhook-signature", "content-type", "user-agent", "content-length")


class WebhookDeployer:
    """Asks one address for every action; the body tells it which."""

    def __init__(self, options: "WebhookOptions", workplace: Workplace) -> None:
        self._options = options
        self._workplace = workplace

    def run(self, work: Work, keep_going: Callable[[], bool]) -> Deployment:
        if not keep_going():
            return Stopped(text=f"{work.action} of slot {work.slot} was stopped before it began")
        environ = self._workplace.environ
        missing = [name for name in self._options.credentials() if not environ.get(name, "").strip()]
        if missing:
            return Failed(text=f"the environment variable {missing[0]} is not set: the webhook cannot be signed")
        patient = Patient(workplace=self._workplace, keep_going=keep_going, until=time.monotonic() + work.seconds)
        headers = {name: environ[variable].strip() for name, variable in self._options.headers.items()}
        key = environ[self._options.secret].strip()
        task = _Task(options=self._options, work=work, patient=patient, key=key, headers=headers)
        return task.run()


@dataclass(slots=True, kw_only=True)
class _Task:
    """One piece of work under way, and the address of the job that does it, once the service has named one."""

    options: "WebhookOptions"
    work: Work
    patient: Patient
    key: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    job: str | None = None

    def run(self) -> Deployment:
        what = f"{self.work.action} of {cut(harmless(self.work.version), 80)} in slot {self.work.slot}"
        try:
            return self._ended(self._asked())
        except NotWantedError:
            return Stopped(text=self._shown(f"{what} was stopped{self._cancel(self.patient.workplace.grace)}"))
        except OverdueError:
            limit = seconds(self.work.seconds)
            said = f"{what} was not done within {limit}, its deadline{self._cancel(self.patient.workplace.grace)}"
            return Failed(text=self._shown(said))
        except BaseException:
            self._cancel(HURRIED)
            raise

    def _asked(self) -> Got | NotGot:
        """The last answer: of the address itself, or of the job that it began."""
        body, message = _body(self.work), _message(self.work)
        got = self.patient.ask("POST", self.options.url, body, lambda: self._headers(body, message))
        while isinstance(got, Got) and got.status == 202:
            if self.job is None:
                self.job = _job(got, self.options.url)
                if self.job is None:
                    said = "accepts, but names no job on its own host to ask about (Location)"
                    return NotGot(trouble=Trouble.REFUSED, text=f"{origin(self.options.url)} {said}")
            job = self.job
            self.patient.pause(max(2 * self.patient.workplace.every, retry_after(got)))
            # Of a question the id is its own: a signature for reading must not serve to cancel.
            got = self.patient.ask("GET", job, None, lambda: self._headers(b"", f"{message}.read"))
        return got

    def _ended(self, got: Got | NotGot) -> Deployment:
        where = origin(self.options.url)
        if isinstance(got, NotGot):
            return Failed(text=self._shown(got.text))
        said = _said(got)
        text = f": {cut(str(said['text']), 300)}" if isinstance(said.get("text"), str) and said["text"] else ""
        if got.status in (409, 412):
            return Failed(
                text=self._shown(f"{where} refuses (HTTP {got.status}){text or ': a newer gate has taken over'}")
            )
        if got.status >= 300:
            return Failed(text=self._shown(f"{where} answers HTTP {got.status}{text}"))
        if said.get("failed") is True:
            return Failed(text=self._shown(f"{where} says that it failed{text}"))
        if self.work.action is DeployAction.STATUS:
            return self._status(said, text)
        done = f"{where} says that {self.work.action} of slot {self.work.slot} is done{text}"
        return Done(text=self._shown(done))

    def _status(self, said: Mapping[str, Any], text: str) -> Deployment:
        up, runs, slot = said.get("up"), said.get("version"), self.work.slot
        where = origin(self.options.url)
        if not isinstance(up, bool) or not isinstance(runs, str | None):
            return Failed(text=f'{where} does not say whether slot {slot} is up: {{"up": true, "version": "…"}} would')
        if not up:
            return NotUp(text=self._shown(f"slot {slot} is not up, says {where}{text}"))
        return found(self.work, self._shown(runs or ""), f"says {where}")

    def _headers(self, body: bytes, message: str) -> Mapping[str, str]:
        own = {"User-Agent": "rampgate", "Content-Type": "application/json"}
        return {**self.headers, **own, **signed(self.key, body, message=message, at=time.time())}

    def _cancel(self, limit: float) -> str:
        """Ask the service to stop the job; what came of it, for a sentence's end."""
        if self.job is None:
            return ""
        headers = self._headers(b"", f"{_message(self.work)}.cancel")
        taken = last_word("DELETE", self.job, headers, seconds=min(limit, 10.0))
        return "; its job was cancelled" if taken else "; whether its job stopped is not known"

    def _shown(self, text: str) -> str:
        return Secrets((*self.patient.workplace.secrets, self.key, *self.headers.values())).shown(text)


def found(work: Work, runs: str, who: str) -> Done | NotUp:
    """What a slot that is up answers to ``status``: it must run what is expected there. ``runs`` may be empty."""
    if not runs:
        return Done(text=f"slot {work.slot} is up, {who}, but not what it runs")
    if work.version and runs != work.version:
        expected = cut(harmless(work.version), 80)
        return NotUp(text=f"slot {work.slot} runs {cut(runs, 80)} and not {expected}, {who}")
    return Done(text=f"slot {work.slot} is up and runs {cut(runs, 80)}, {who}", version=runs)


def _body(work: Work) -> bytes:
    told = {name.removeprefix("RAMPGATE_").lower(): value for name, value in values(work).items()}
    return json.dumps({**told, "fence": work.fence}).encode()


def _message(work: Work) -> str:
    """What the work is called: the same for each try of it, so that the service does it once.

    A status is a new question each time, which no stored answer serves.
    """
    parts = [getattr(work, one.name) for one in fields(work) if one.name != "seconds"]
    nonce = [secrets.token_hex(8)] if work.action is DeployAction.STATUS else []
    digest = hashlib.sha256(json.dumps([*parts, *nonce], default=str).encode()).hexdigest()
    return f"{work.action}_{digest[:32]}"


def _job(got: Got, url: str) -> str | None:
    """Where the job can be asked about, if that is the same host: credentials go nowhere else."""
    told = got.headers.get("Location") or _said(got).get("status_url")
    try:
        target = urljoin(url, told) if isinstance(told, str) and told.strip() else None
        return target if target is not None and place(target) == place(url) else None
    except ValueError:
        return None


def _said(got: Got) -> Mapping[str, Any]:
    try:
        said = json.loads(got.body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookOptions:
    """A service of your own, asked by signed POST."""

    url: Annotated[str, Key(As.ADDRESS, "Where it is asked, such as https://deploy.example.com/shop.")]
    secret: Annotated[str, Key(As.VARIABLE, "The variable that holds the secret to sign with.")]
    headers: Annotated[
        Mapping[str, str], Key(As.VARIABLES, "Headers to send, each with the variable that holds its value.")
    ] = field(default_factory=dict)

    def problems(self, path: str, *, targets: Sequence[str] | None) -> Iterator[Problem]:  # noqa: ARG002
        parts = urlsplit(self.url)
        if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            yield Problem(f"{path}.url", origin(self.url), "https, except to this machine")
        for name in self.headers:
            if name.lower() in _RESERVED:
                yield Problem(f"{path}.headers.{name}", "this header", "a header that is not Rampgate's own")

    def credentials(self) -> tuple[str, ...]:
        return (self.secret, *self.headers.values())

    def deployer(self, workplace: Workplace) -> Deployer:
        return WebhookDeployer(self, workplace)
