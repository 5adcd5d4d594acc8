"""The fake GitHub's workflows: dispatched, listed, looked at and cancelled. What a run does, a test says."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.fakes import github_shapes as shapes
from tests.fakes.github_shapes import Json


class Refusal(Exception):  # noqa: N818 - an answer, not an error
    """What GitHub answers instead of doing what it was asked."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message


Workflow = Callable[[Json], tuple[str, Json] | None]
"""Told a run's inputs each time that somebody looks: its conclusion and its steps, or ``None`` while it runs."""


class WorkflowRuns:
    """A part of the memory. ``declared`` are the inputs that a workflow has, by its file."""

    clock: Callable[[], float]
    _ids: Iterator[int]
    _repository: Callable[[], Json]

    def __init__(self) -> None:
        self.workflow: Workflow = lambda _: ("success", {})
        self.declared: dict[str, frozenset[str]] = {}
        self.runs: dict[int, Json] = {}
        self.inputs: dict[int, Json] = {}
        self.steps: dict[int, Json] = {}
        self.tells_run = True
        self.run_again: list[tuple[int, str]] = []

    def begin_run(self, file: str, inputs: Json, ref: str = "main") -> int:
        """A run begins, whose name holds its correlation; its id."""
        number = next(self._ids)
        title = f"Deploy {inputs.get('version', '')} ({inputs.get('correlation', '')})"
        self.runs[number] = shapes.workflow_run(self._repository(), number, file, title, ref, self.clock())
        self.inputs[number] = dict(inputs)
        return number

    def run(self, number: int, conclusion: str | None) -> None:
        """A run that was not dispatched; without a conclusion it is not over."""
        begun = shapes.workflow_run(self._repository(), number, "release.yml", "A change", "main", self.clock())
        over = {"status": "completed", "conclusion": conclusion} if conclusion else {}
        self.runs[number], self.inputs[number] = begun | over, {}
        self.workflow = lambda _: None

    def _run_again(self, _login: str, number: str, how: str, **_: Any) -> tuple[int, Any]:
        there = self.runs[int(number)]
        if there["status"] != "completed":
            raise Refusal(403, "This workflow is already running")
        self.runs[int(number)] = there | {"status": "queued", "conclusion": None}
        self.run_again.append((int(number), how))
        return 201, {}

    def _dispatch(self, _login: str, file: str, *, body: Any, **_: Any) -> tuple[int, Any]:
        if file not in self.declared:
            raise Refusal(404, "Not Found")
        if unexpected := sorted(set(body.get("inputs", {})) - self.declared[file]):
            raise Refusal(422, f"Unexpected inputs provided: {unexpected}")
        number = self.begin_run(file, body.get("inputs", {}), body["ref"])
        if not (self.tells_run and body.get("return_run_details")):
            return 204, None
        run = self.runs[number]
        return 200, {"workflow_run_id": number, "run_url": run["url"], "html_url": run["html_url"]}

    def _list_runs(self, _login: str, file: str, *, query: Mapping[str, str], **_: Any) -> tuple[int, Any]:
        found = [self._looked_at(number) for number in sorted(self.runs, reverse=True)]
        found = [run for run in found if run["path"].endswith(f"/{file}")][: int(query.get("per_page", "30"))]
        return 200, {"total_count": len(found), "workflow_runs": found}

    def _read_run(self, _login: str, number: str, **_: Any) -> tuple[int, Any]:
        if int(number) not in self.runs:
            raise Refusal(404, "Not Found")
        return 200, self._looked_at(int(number))

    def _cancel_run(self, _login: str, number: str, **_: Any) -> tuple[int, Any]:
        run = self.runs[int(number)]
        if run["status"] == "completed":
            raise Refusal(409, "Cannot cancel a workflow run that is completed.")
        self.runs[int(number)] = run | {"status": "completed", "conclusion": "cancelled"}
        return 202, {}

    def _list_jobs(self, _login: str, number: str, **_: Any) -> tuple[int, Any]:
        jobs = [shapes.job(self.runs[int(number)], self.steps.get(int(number), {}))]
        return 200, {"total_count": len(jobs), "jobs": jobs}

    def _looked_at(self, number: int) -> Json:
        run = self.runs[number]
        if run["status"] != "completed" and (ended := self.workflow(self.inputs[number])) is not None:
            conclusion, self.steps[number] = ended
            run = self.runs[number] = run | {"status": "completed", "conclusion": conclusion}
        return run


RUN_CALLS: tuple[tuple[str, str, Callable[..., tuple[int, Any]]], ...] = (
    ("POST", r"/actions/workflows/([^/]+)/dispatches", WorkflowRuns._dispatch),
    ("GET", r"/actions/workflows/([^/]+)/runs", WorkflowRuns._list_runs),
    ("GET", r"/actions/runs/(\d+)", WorkflowRuns._read_run),
    ("POST", r"/actions/runs/(\d+)/(rerun)", WorkflowRuns._run_again),
    ("POST", r"/actions/runs/(\d+)/(rerun-failed-jobs)", WorkflowRuns._run_again),
    ("POST", r"/actions/runs/(\d+)/cancel", WorkflowRuns._cancel_run),
    ("GET", r"/actions/runs/(\d+)/jobs", WorkflowRuns._list_jobs),
)
