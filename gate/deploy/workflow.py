"""The deployer that dispatches a workflow of the repository, finds its run, and waits for it.

A run is known by a correlation in its name: a gate that takes over waits for a run instead of beginning another.
"""

import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import quote

from gate.deploy.command import values
from gate.deploy.deployer import DeployAction, Deployer, Deployment, Done, Failed, NotUp, Stopped, Work, Workplace
from gate.deploy.holes import filled, unknown
from gate.deploy.hook import HURRIED
from gate.deploy.patient import NotWantedError, OverdueError, Patient, last_word, may_pass
from gate.deploy.webhook import found
from gate.fetch import Got, NotGot, Trouble, origin
from gate.foreign import Secrets, cut, harmless
from gate.keys import As, Key
from rampgate.plan import seconds
from rampgate.problem import Problem

OWN_INPUTS = ("action", "slot", "version", "fence", "correlation", "target", "share", "drain")
NOT_UP = "not up"
"""The name of a step, or a job, that runs only where a status finds nothing in the slot."""
_CORRELATION = re.compile(r"rampgate-([0-9a-f]{10})-([0-9a-f]{10})-(\d{1,18})(?!\d)")
_FILE = re.compile(r"[\w][\w.-]*\.ya?ml|\d+", re.ASCII)
_LOOKS = 3
"""How often a run is looked for after a dispatch without an answer, before it is dispatched again."""


class _NoAnswerError(Exception):
    """GitHub's answer is not what was asked for; its text says so. Never leaves this file."""


class WorkflowDeployer:
    """Runs one workflow for every action; its inputs tell it which."""

    def __init__(self, options: "WorkflowOptions", workplace: Workplace) -> None:
        self._options = options
        self._workplace = workplace

    def run(self, work: Work, keep_going: Callable[[], bool]) -> Deployment:
        if not keep_going():
            return Stopped(text=f"{work.action} of slot {work.slot} was stopped before it began")
        patient = Patient(workplace=self._workplace, keep_going=keep_going, until=time.monotonic() + work.seconds)
        environ = self._workplace.environ
        try:
            if work.action is DeployAction.STATUS and self._options.status_url is not None:
                return _page(self._options.status_url, work, patient)
            known = {
                "the repository (GITHUB_REPOSITORY)": environ.get("GITHUB_REPOSITORY", ""),
                "the ref (`ref`)": self._options.ref or environ.get("GITHUB_REF_NAME", ""),
                "the token": environ.get(self._options.token or "INPUT_GITHUB-TOKEN", ""),
            }
            if missing := [name for name, value in known.items() if not value.strip()]:
                return Failed(text=f"the workflow cannot be dispatched without {missing[0]}")
            repository, ref, token = (value.strip() for value in known.values())
            api = environ.get("GITHUB_API_URL", "https://api.github.com").rstrip("/")
            where = f"{api}/repos/{quote(repository)}/actions"
            task = _Task(options=self._options, work=work, patient=patient, where=where, ref=ref, token=token)
        except NotWantedError:
            return Stopped(text=f"{work.action} of slot {work.slot} was stopped")
        except OverdueError:
            return Failed(text=f"{work.action} of slot {work.slot} has no time left")
        return task.run()


@dataclass(slots=True, kw_only=True)
class _Task:
    """One piece of work under way, and the run that does it, once there is one."""

    options: "WorkflowOptions"
    work: Work
    patient: Patient
    where: str
    ref: str
    token: str = field(repr=False)
    id: int | None = None
    page: str = ""

    def run(self) -> Deployment:
        work = self.work
        what = f"{work.action} of {cut(harmless(work.version), 80)} in slot {work.slot} by {self.options.file}"
        try:
            return self._done(what)
        except NotWantedError:
            return Stopped(text=self._shown(f"{what} was stopped{self._cancel(self.patient.workplace.grace)}"))
        except OverdueError:
            limit = seconds(work.seconds)
            said = f"{what} was not done within {limit}, its deadline{self._cancel(self.patient.workplace.grace)}"
            return Failed(text=self._shown(said))
        except _NoAnswerError as error:
            return Failed(text=self._shown(f"{what} failed: {error}"))
        except BaseException:
            self._cancel(HURRIED)
            raise

    def _done(self, what: str) -> Deployment:
        wanted = correlation(self.work)
        if self.work.action is not DeployAction.STATUS:
            newer = self._settled(wanted)
            if newer is not None:
                return Failed(text=f"{what} is refused: a newer gate (fence {newer}) has taken over")
        if self.id is None:
            self._dispatch(wanted)
        self.patient.workplace.say(self._shown(f"{what}: {self.page}"))
        run = self._ended(self.id or 0)
        conclusion = run.get("conclusion")
        if conclusion == "success":
            version = self.work.version if self.work.action is DeployAction.STATUS and self.work.version else None
            return Done(text=self._shown(f"{what} is done: {self.page}"), version=version)
        if self.work.action is DeployAction.STATUS and self._says_not_up():
            return NotUp(text=self._shown(f"slot {self.work.slot} is not up, says {self.page}"))
        return Failed(text=self._shown(f"{what} ended as {cut(str(conclusion), 40)}: {self.page}"))

    def _settled(self, wanted: str) -> int | None:
        """Take up a run that does this already; end others in the same place. A newer gate's fence, if there is one."""
        mine = _CORRELATION.fullmatch(wanted)
        assert mine is not None
        others: list[int] = []
        for run in self._runs():
            there = _CORRELATION.search(str(run.get("display_title", "")))
            if there is None or there[1] != mine[1]:
                continue
            if int(there[3]) > self.work.fence:
                return int(there[3])
            if run.get("status") == "completed":
                continue
            if there[2] == mine[2] and self.id is None:
                self._take(run)
            else:
                others.append(int(run["id"]))
        for number in others:
            self.patient.ask("POST", f"{self.where}/runs/{number}/cancel", b"", self._headers)
        for number in others:
            self._ended(number)
        return None

    def _dispatch(self, wanted: str) -> None:
        """Begin a run, and find it. Where an answer is lost, look for the run before dispatching again."""
        inputs = {**self.options.inputs, **_inputs(self.work), "correlation": wanted}
        body = json.dumps({"ref": self.ref, "inputs": inputs, "return_run_details": True}).encode()
        url = f"{self.where}/workflows/{quote(self.options.file)}/dispatches"
        while self.id is None:
            got = self.patient.once("POST", url, body, self._headers())
            lost = may_pass(got)
            if not lost:
                said = self._read(got, "the dispatch")
                if isinstance(number := said.get("workflow_run_id"), int):
                    self._take({"id": number, "html_url": said.get("html_url")})
                    return
            looks = 0
            while self.id is None and (not lost or looks < _LOOKS):
                self.patient.pause(2 * self.patient.workplace.every)
                looks += 1
                for run in self._runs():
                    if wanted in str(run.get("display_title", "")):
                        self._take(run)
                        break

    def _take(self, run: Mapping[str, Any]) -> None:
        self.id, self.page = int(run["id"]), str(run.get("html_url") or f"run {run['id']}")

    def _runs(self) -> list[Mapping[str, Any]]:
        url = f"{self.where}/workflows/{quote(self.options.file)}/runs?event=workflow_dispatch&per_page=100"
        return self._listed(url, "workflow_runs")

    def _listed(self, url: str, name: str) -> list[Mapping[str, Any]]:
        listed = self._read(self.patient.ask("GET", url, None, self._headers), name).get(name)
        return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []

    def _ended(self, number: int) -> Mapping[str, Any]:
        """The run, once it has ended."""
        while True:
            got = self.patient.ask("GET", f"{self.where}/runs/{number}", None, self._headers)
            run = self._read(got, f"run {number}")
            if run.get("status") == "completed":
                return run
            self.patient.pause(10 * self.patient.workplace.every)

    def _says_not_up(self) -> bool:
        jobs = self._listed(f"{self.where}/runs/{self.id}/jobs?per_page=100", "jobs")
        steps = [step for job in jobs for step in (job, *(job.get("steps") or ())) if isinstance(step, dict)]
        return any(step.get("name") == NOT_UP and step.get("conclusion") in ("success", "failure") for step in steps)

    def _read(self, got: Got | NotGot, what: str) -> Mapping[str, Any]:
        if isinstance(got, NotGot):
            raise _NoAnswerError(got.text)
        try:
            said = json.loads(got.body) if got.body else {}
        except (ValueError, RecursionError):
            said = None
        if got.status >= 300:
            told = said.get("message") if isinstance(said, dict) else None
            advice = "; the job needs `actions: write`" if got.status == 403 else ""
            raise _NoAnswerError(
                f"GitHub answers {what} with {got.status}: {cut(str(told or 'no reason'), 300)}{advice}"
            )
        if not isinstance(said, dict):
            raise _NoAnswerError(f"GitHub's answer to {what} cannot be read")
        return said

    def _headers(self) -> Mapping[str, str]:
        return {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {self.token}",
            "User-Agent": "rampgate",
        }

    def _cancel(self, limit: float) -> str:
        """Cancel the run; what came of it, for a sentence's end. One that is not known yet is ended by what follows."""
        if self.id is None:
            return ""
        url = f"{self.where}/runs/{self.id}/cancel"
        taken = last_word("POST", url, self._headers(), seconds=min(limit, 10.0))
        return f"; {self.page} was cancelled" if taken else f"; whether {self.page} ended is not known"

    def _shown(self, text: str) -> str:
        return Secrets((*self.patient.workplace.secrets, self.token)).shown(text)


def correlation(work: Work) -> str:
    """What a run is found by: where it works, what it does there, and for which gate."""
    place = [work.environment, work.flag, work.slot, work.target]
    task: list[object] = [*place, work.rollout_id, work.action, work.version, work.share]
    if work.action is DeployAction.STATUS:
        task.append(secrets.token_hex(8))
    return f"rampgate-{_short(place)}-{_short(task)}-{work.fence}"


def _short(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:10]


def _inputs(work: Work) -> dict[str, str]:
    told = {name.removeprefix("RAMPGATE_").lower(): value for name, value in values(work).items()}
    return {name: told[name] for name in OWN_INPUTS if name in told}


def _page(address: str | Mapping[str, str], work: Work, patient: Patient) -> Deployment:
    """The status that the slot's own page gives: 200, and the version it runs."""
    place = work.target or work.slot
    url = address if isinstance(address, str) else address.get(place)
    if url is None:
        return Failed(text=f"`statusUrl` has no address for {cut(harmless(place), 80)}")
    known = {"slot": work.slot, "version": work.version, "target": work.target or ""}
    url = filled(url, known, lambda value: quote(value, safe="", errors="replace"))
    got = patient.once("GET", url, None, {"User-Agent": "rampgate"})
    where = Secrets(patient.workplace.secrets).shown(origin(url))
    if isinstance(got, NotGot):
        return (NotUp if got.trouble is Trouble.NOBODY else Failed)(text=got.text)
    if got.status in (404, 503):
        return NotUp(text=f"slot {work.slot} is not up: {where} answers HTTP {got.status}")
    if got.status != 200:
        return Failed(text=f"nobody knows whether slot {work.slot} is up: {where} answers HTTP {got.status}")
    text = got.body[:4096].decode("utf-8", "replace").strip()
    try:
        said = json.loads(text)
        runs = said.get("version") if isinstance(said, dict) else text
    except (ValueError, RecursionError):
        runs = text.partition("\n")[0]
    return found(work, Secrets(patient.workplace.secrets).shown(str(runs or "")), f"says {where}")


def _parts_slots(url: str) -> bool:
    named = set(unknown(url, ()))
    return "target" not in named and bool(named & {"slot", "version"})


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowOptions:
    """Another workflow of the repository."""

    file: Annotated[str, Key(As.TEXT, "The workflow's file in .github/workflows, such as deploy.yml.")]
    ref: Annotated[str | None, Key(As.TEXT, "The branch or tag to run it from; left out, this run's own.")] = None
    inputs: Annotated[Mapping[str, str], Key(As.TEXT_BY_NAME, "Further inputs of it.")] = field(default_factory=dict)
    token: Annotated[
        str | None, Key(As.VARIABLE, "The variable that holds a token for it; left out, the input github-token.")
    ] = None
    status_url: Annotated[
        str | Mapping[str, str] | None,
        Key(As.SLOT_ADDRESS, "A page of the slot that answers with the version it runs; else a run is asked."),
    ] = None

    def problems(self, path: str, *, targets: Sequence[str] | None) -> Iterator[Problem]:
        if not _FILE.fullmatch(self.file):
            yield Problem(f"{path}.file", repr(cut(self.file, 60)), "the name of a file in .github/workflows")
        for name in self.inputs:
            if name in OWN_INPUTS:
                yield Problem(f"{path}.inputs.{name}", "this input", "an input that is not Rampgate's own")
        url, at = self.status_url, f"{path}.statusUrl"
        if isinstance(url, Mapping):
            if missing := [one for one in targets or () if one not in url]:
                yield Problem(at, f"no address for {cut(missing[0], 60)}", "an address for each target")
        elif targets is not None and (url is None or "target" not in unknown(url, ())):
            why = "a run cannot say which version a target runs"
            yield Problem(
                at, repr(cut(url or "nothing", 60)), f"an address with {{{{target}}}}, or one for each: {why}"
            )
        elif url is not None and targets is None and not _parts_slots(url):
            yield Problem(at, repr(cut(url, 60)), "an address with {{slot}}, or one for each: both slots are asked")

    def credentials(self) -> tuple[str, ...]:
        return () if self.token is None else (self.token,)

    def deployer(self, workplace: Workplace) -> Deployer:
        return WorkflowDeployer(self, workplace)
