"""A workflow of the repository: dispatched once, found whatever GitHub answers, waited for, and cancelled."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from gate.config import load
from gate.deploy import Deployer, Done, Failed, NotUp, WorkflowOptions, Workplace
from gate.deploy.workflow import correlation
from gate.errors import ConfigError
from tests.fakes.github import FakeGitHub, Fault
from tests.fakes.github_contract import contract
from tests.fakes.github_shapes import Json
from tests.gate.deploy.contract import RETIRE, SECRET, STATUS, WORK, ActingContract, Manner, Site, always
from tests.gate.metrics.scripted import Reply, scripted

INPUTS = frozenset({"action", "slot", "version", "fence", "correlation", "target", "share", "drain", "region"})


class Repository:
    """A repository with a workflow that deploys, and what runs by it."""

    def __init__(self, github: FakeGitHub) -> None:
        self.github = github
        github.declared["deploy.yml"] = INPUTS
        github.workflow = self.works
        token = github.token("github-actions[bot]", reads_user=False)
        self.environ = {
            "GITHUB_API_URL": github.url,
            "GITHUB_REPOSITORY": github.repository,
            "GITHUB_REF_NAME": "main",
            "INPUT_GITHUB-TOKEN": token,
        }
        self.manner = Manner.WELL
        self.slots: dict[str, str] = {}

    def deployer(self, workplace: Workplace, **options: Any) -> Deployer:
        return WorkflowOptions(file="deploy.yml", inputs={"region": "eu"}, **options).deployer(workplace)

    def behave(self, manner: Manner) -> None:
        self.manner = manner

    def begun(self) -> bool:
        return bool(self.github.runs)

    def quiet(self) -> bool:
        return all(run["status"] == "completed" for run in self.github.runs.values())

    def half_done(self) -> None:
        older = replace(WORK, fence=6)
        self.github.begin_run("deploy.yml", {"correlation": correlation(older), **vars_of(older)})

    def works(self, inputs: Json) -> tuple[str, Json] | None:
        if self.manner is Manner.HANGS:
            return None
        slot, version = inputs["slot"], inputs["version"]
        runs = self.slots.get(slot)
        if inputs["action"] == "status":
            if runs is None:
                return "failure", {"look": "success", "not up": "failure"}
            return ("success" if version in ("", runs) else "failure"), {"look": "failure", "not up": "skipped"}
        if self.manner is Manner.FAILS:
            return "failure", {"deploy": "failure"}
        if inputs["action"] == "retire":
            self.slots.pop(slot, None)
        elif self.manner is not Manner.LIES:
            self.slots[slot] = version
        return "success", {SECRET: "success"}


def vars_of(work: Any) -> Json:
    return {"action": str(work.action), "slot": work.slot, "version": work.version, "fence": str(work.fence)}


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub() as github:
        yield github
        departures = [fault for one in github.exchanges for fault in contract().departures(one)]
        assert departures == [], "as GitHub describes it"


class TestWorkflow(ActingContract):
    @pytest.fixture
    def site(self, github: FakeGitHub) -> Site:
        return Repository(github)


@pytest.fixture
def repository(github: FakeGitHub) -> Repository:
    return Repository(github)


def dispatches(github: FakeGitHub) -> int:
    return len(github.sent("POST", "/dispatches"))


def at(repository: Repository, said: list[str] | None = None, **options: Any) -> Deployer:
    place = Workplace(environ=repository.environ, every=0.01, say=(said if said is not None else []).append)
    return repository.deployer(place, **options)


def test_its_run_is_named_in_the_log_and_in_the_answer(repository: Repository, github: FakeGitHub) -> None:
    said: list[str] = []
    done = at(repository, said).run(replace(WORK, target="web-1", share=12_500), always)
    (run,) = github.runs.values()
    assert isinstance(done, Done)
    assert run["html_url"] in done.text
    assert run["html_url"] in "\n".join(said)
    (inputs,) = github.inputs.values()
    assert inputs.pop("correlation").endswith("-7")
    assert inputs == {**vars_of(WORK), "target": "web-1", "share": "12.5", "region": "eu"}


def test_where_github_does_not_tell_the_run_it_is_found_by_its_name(repository: Repository, github: FakeGitHub) -> None:
    github.tells_run = False
    github.begin_run("deploy.yml", {"correlation": "somebody else's"})
    repository.manner = Manner.HANGS
    repository.github.workflow = lambda inputs: ("success", {}) if "region" in inputs else None
    assert isinstance(at(repository).run(WORK, always), Done)
    assert dispatches(github) == 1


def test_an_answer_that_was_lost_is_no_second_dispatch(repository: Repository, github: FakeGitHub) -> None:
    github.fail("POST", "/dispatches", Fault(reset=True, applied=True))
    assert isinstance(at(repository).run(WORK, always), Done)
    assert len(github.runs) == 1


def test_a_dispatch_that_was_lost_is_made_again(repository: Repository, github: FakeGitHub) -> None:
    github.fail("POST", "/dispatches", Fault(status=503))
    assert isinstance(at(repository).run(WORK, always), Done)
    assert len(github.runs) == 1
    assert dispatches(github) == 2


def test_while_github_is_down_it_waits(repository: Repository, github: FakeGitHub) -> None:
    github.fail("GET", "/actions/runs/", Fault(status=502), Fault(reset=True), Fault(status=429))
    assert isinstance(at(repository).run(WORK, always), Done)


def test_a_run_that_does_it_already_is_waited_for(repository: Repository, github: FakeGitHub) -> None:
    repository.half_done()
    looks = iter([None, None, ("success", {})])
    github.workflow = lambda _: next(looks)
    assert isinstance(at(repository).run(WORK, always), Done)
    assert dispatches(github) == 0


def test_a_run_that_does_something_else_in_the_slot_is_ended_first(repository: Repository, github: FakeGitHub) -> None:
    repository.half_done()
    github.workflow = lambda inputs: repository.works(inputs) if inputs["action"] == "retire" else None
    assert isinstance(at(repository).run(RETIRE, always), Done)
    assert [run["conclusion"] for run in github.runs.values()] == ["cancelled", "success"]


def test_runs_in_other_slots_are_left_alone(repository: Repository, github: FakeGitHub) -> None:
    other = replace(WORK, slot="blue", fence=99)
    github.begin_run("deploy.yml", {"correlation": correlation(other), **vars_of(other)})
    github.workflow = lambda inputs: repository.works(inputs) if inputs["slot"] == "green" else None
    assert isinstance(at(repository).run(WORK, always), Done)
    assert [run["conclusion"] for run in github.runs.values()] == [None, "success"]


@pytest.mark.parametrize(
    ("declared", "words"), [(frozenset({"slot"}), "Unexpected inputs"), (None, "404"), (INPUTS, "actions: write")]
)
def test_what_github_refuses_is_said(
    repository: Repository, github: FakeGitHub, declared: frozenset[str] | None, words: str
) -> None:
    github.declared = {} if declared is None else {"deploy.yml": declared}
    if declared == INPUTS:
        repository.environ["INPUT_GITHUB-TOKEN"] = github.token("bot", may=frozenset({"issues"}))
    failed = at(repository).run(WORK, always)
    assert isinstance(failed, Failed)
    assert words in failed.text


def test_a_status_that_fails_otherwise_is_not_known(repository: Repository, github: FakeGitHub) -> None:
    github.workflow = lambda _: ("failure", {"checkout": "failure", "not up": "skipped"})
    assert isinstance(at(repository).run(STATUS, always), Failed)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(body=b"v2\n"), Done),
        (Reply(body=b'{"version": "v2"}'), Done),
        (Reply(body=b"v1"), NotUp),
        (Reply(status=503), NotUp),
        (Reply(status=404), NotUp),
        (Reply(status=500), Failed),
        (Reply(status=302, headers={"Location": "/"}), Failed),
        (None, NotUp),
    ],
)
def test_a_page_of_the_slot_says_what_it_runs(repository: Repository, reply: Reply | None, kind: type) -> None:
    with scripted() as page:
        url = page.url + "/{{slot}}/version"
        if reply is not None:
            page.script = lambda _: reply
            assert type(at(repository, status_url=url).run(STATUS, always)) is kind
            assert page.asked[0].path == "/green/version"
    if reply is None:
        assert type(at(repository, status_url=url).run(STATUS, always)) is kind


def test_each_target_may_have_a_page_of_its_own(repository: Repository) -> None:
    with scripted() as page:
        page.script = lambda _: Reply(body=b"v2")
        for url in (page.url + "/{{target}}", {"web-1": page.url + "/web-1"}):
            assert isinstance(at(repository, status_url=url).run(replace(STATUS, target="web-1"), always), Done)
        assert [one.path for one in page.asked] == ["/web-1", "/web-1"]


def test_without_token_or_ref_nothing_is_sent(repository: Repository, github: FakeGitHub) -> None:
    for name, word in (("INPUT_GITHUB-TOKEN", "token"), ("GITHUB_REF_NAME", "ref"), ("GITHUB_REPOSITORY", "repo")):
        environ = {key: value for key, value in repository.environ.items() if key != name}
        failed = repository.deployer(Workplace(environ=environ)).run(WORK, always)
        assert isinstance(failed, Failed)
        assert word in failed.text
    assert github.exchanges == []


def test_the_file_is_read_and_everything_wrong_is_said_at_once() -> None:
    text = "flag: shop\nenvironment: e\nmetrics: [{errors: flagserver}]\ndeploy: {workflow: %s}\n"
    found = load(text % "{file: deploy.yml, inputs: {region: eu}, statusUrl: 'https://{{slot}}.x/v'}", where="x")
    assert found.deploy == WorkflowOptions(
        file="deploy.yml", inputs={"region": "eu"}, status_url="https://{{slot}}.x/v"
    )
    with pytest.raises(ConfigError) as refused:
        load(text % "{file: ../deploy.yml, inputs: {fence: '1'}}", where="x")
    assert [one.path for one in refused.value.problems] == ["deploy.workflow.file", "deploy.workflow.inputs.fence"]


@pytest.mark.parametrize(
    ("url", "targets", "sound"),
    [
        (None, None, True),
        ("https://{{slot}}.x/v", None, True),
        ({"blue": "https://b.x", "green": "https://g.x"}, None, True),
        ("https://x/v", None, False),
        ("https://{{target}}.x/v", None, False),
        (None, ["web-1"], False),
        ("https://{{slot}}.x/v", ["web-1"], False),
        ("https://{{target}}.x/v", ["web-1"], True),
        ({"web-1": "https://w.x/v"}, ["web-1"], True),
        ({"web-1": "https://w.x/v"}, ["web-1", "web-2"], False),
    ],
)
def test_a_status_page_must_tell_what_is_asked_from_its_neighbours(
    url: Any, targets: list[str] | None, sound: bool
) -> None:
    problems = list(WorkflowOptions(file="deploy.yml", status_url=url).problems("deploy", targets=targets))
    assert [one.path for one in problems] == ([] if sound else ["deploy.statusUrl"])


def test_how_long_requests_under_way_have_is_an_input_where_the_plan_says_it(
    repository: Repository, github: FakeGitHub
) -> None:
    at(repository).run(replace(WORK, drain=29.5), always)
    (inputs,) = github.inputs.values()
    assert inputs["drain"] == "29.5"
