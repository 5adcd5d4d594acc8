"""A service of the user's own, asked by signed POST: that it can trust what it is asked, and that it is followed."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from gate.config import load
from gate.deploy import Done, Failed, NotUp, WebhookOptions, Workplace
from gate.deploy.deployer import Deployer
from gate.errors import ConfigError
from tests.gate.deploy.contract import RETIRE, SECRET, STATUS, WORK, ActingContract, Manner, Site, always
from tests.gate.metrics.scripted import Asked, Reply, ScriptedServer, scripted

KEY = "whsec_" + base64.b64encode(b"a key of thirty-two bytes or so.").decode()


class Service:
    """What a team might run: it checks signature and fence, and does each thing in a job of its own."""

    def __init__(self, server: ScriptedServer) -> None:
        self.server = server
        self.environ = {"DEPLOY_KEY": KEY, "DEPLOY_TOKEN": "Bearer 1234"}
        self.manner = Manner.WELL
        self.slots: dict[str, str] = {}
        self.fence = 0
        self.jobs: dict[str, dict[str, Any]] = {}
        self.done: dict[str, str] = {}
        self.cancelled: list[str] = []
        self.polls: dict[str, int] = {}
        server.script = self.answer

    def deployer(self, workplace: Workplace) -> Deployer:
        options = WebhookOptions(
            url=self.server.url + "/shop", secret="DEPLOY_KEY", headers={"Authorization": "DEPLOY_TOKEN"}
        )
        return options.deployer(workplace)

    def behave(self, manner: Manner) -> None:
        self.manner = manner

    def begun(self) -> bool:
        return bool(self.jobs)

    def quiet(self) -> bool:
        return set(self.cancelled) == set(self.jobs)

    def half_done(self) -> None:
        self.fence = 6
        self.jobs["/jobs/0"] = {"action": "ensure", "slot": "green", "version": "v2"}

    def answer(self, asked: Asked) -> Reply:
        assert is_signed(asked), "everything is signed"
        assert asked.headers["authorization"] == "Bearer 1234"
        if asked.method == "DELETE":
            assert asked.headers["webhook-id"].endswith(".cancel")
            self.cancelled.append(asked.path)
            return Reply(status=204)
        if asked.method == "GET":
            return self._job(asked)
        body = json.loads(asked.body)
        if body["action"] == "status":
            runs = self.slots.get(body["slot"])
            return says(up=runs is not None, version=runs, text=self._text())
        if body["fence"] < self.fence:
            return says(409, text="a newer gate has taken over")
        self.fence = body["fence"]
        message = asked.headers["webhook-id"]
        if self.manner is not Manner.HANGS and message in self.done and self.slots.get("green") == "v2":
            return says(200)
        job = f"/jobs/{len(self.jobs)}"
        self.jobs[job] = body
        return Reply(status=202, headers={"Location": job})

    def _job(self, asked: Asked) -> Reply:
        assert asked.headers["webhook-id"].endswith(".read")
        seen = self.polls[asked.path] = self.polls.get(asked.path, 0) + 1
        if self.manner is Manner.HANGS or seen < 2:
            return says(202)
        if self.manner is Manner.FAILS:
            return says(failed=True, text="no space left")
        body = self.jobs[asked.path]
        if body["action"] == "retire":
            self.slots.pop(body["slot"], None)
        elif self.manner is not Manner.LIES:
            self.slots[body["slot"]] = body["version"]
        return says(text=self._text())

    def _text(self) -> str:
        return f"token {SECRET} {KEY}" if self.manner is Manner.TELLS else "as asked"


def says(status: int = 200, **said: Any) -> Reply:
    return Reply(status=status, body=json.dumps(said).encode())


def is_signed(asked: Asked) -> bool:
    """As Standard Webhooks 1.0 has it: by what the receiver knows, and not by our own code."""
    told = asked.headers
    content = f"{told['webhook-id']}.{told['webhook-timestamp']}.".encode() + asked.body
    key = base64.b64decode(KEY.removeprefix("whsec_"))
    good = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return abs(time.time() - int(told["webhook-timestamp"])) < 60 and told["webhook-signature"] == f"v1,{good}"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted() as server:
        yield server


class TestWebhook(ActingContract):
    @pytest.fixture
    def site(self, server: ScriptedServer) -> Site:
        return Service(server)


@pytest.fixture
def service(server: ScriptedServer) -> Service:
    return Service(server)


@pytest.fixture
def webhook(service: Service) -> Deployer:
    return service.deployer(Workplace(environ=service.environ, every=0.01, secrets=[SECRET]))


def posts(server: ScriptedServer) -> list[Asked]:
    return [asked for asked in server.asked if asked.method == "POST"]


def test_the_body_says_all_that_a_hook_is_told(webhook: Deployer, server: ScriptedServer) -> None:
    webhook.run(replace(WORK, share=12_500, target="web-1"), always)
    assert json.loads(server.asked[0].body) == {
        **{"action": "ensure", "slot": "green", "version": "v2", "fence": 7, "environment": "production"},
        **{"flag": "shop", "rollout": "r1", "share": "12.5", "target": "web-1"},
    }


def test_the_same_work_has_the_same_id_and_other_work_another(webhook: Deployer, server: ScriptedServer) -> None:
    for work in (WORK, WORK, RETIRE, replace(WORK, fence=8), replace(WORK, target="web-1"), STATUS, STATUS):
        webhook.run(work, always)
    first, again, *others = [asked.headers["webhook-id"] for asked in posts(server)]
    assert first == again
    assert len({first, *others}) == 6


def in_turn(server: ScriptedServer, *replies: Reply) -> None:
    """Answers one after the other; the last for ever."""
    left = list(replies)
    server.script = lambda _: left.pop(0) if len(left) > 1 else left[0]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_trouble_that_may_pass_is_asked_again_with_the_same_id(
    webhook: Deployer, server: ScriptedServer, status: int
) -> None:
    in_turn(server, Reply(status=status), Reply(status=status, headers={"Retry-After": "0"}), says())
    assert isinstance(webhook.run(WORK, always), Done)
    assert len({asked.headers["webhook-id"] for asked in server.asked}) == 1
    assert len(server.asked) == 3


def test_as_long_as_it_asks_to_wait_nothing_is_asked(webhook: Deployer, server: ScriptedServer) -> None:
    in_turn(server, Reply(status=503, headers={"Retry-After": "3600"}), says())
    failed = webhook.run(WORK, always)
    assert isinstance(failed, Failed)
    assert "HTTP 503" in failed.text
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [301, 400, 401, 404, 409, 422])
def test_a_refusal_is_the_answer(webhook: Deployer, server: ScriptedServer, status: int) -> None:
    in_turn(server, says(status, text="no such slot"), says())
    failed = webhook.run(WORK, always)
    assert isinstance(failed, Failed)
    assert f"HTTP {status}" in failed.text
    assert "no such slot" in failed.text
    assert len(server.asked) == 1


@pytest.mark.parametrize("where", ["http://127.0.0.1:1/job", "https://evil.example/job", "", "http://[/"])
def test_a_job_on_another_host_is_not_followed(webhook: Deployer, server: ScriptedServer, where: str) -> None:
    in_turn(server, Reply(status=202, headers={"Location": where}))
    failed = webhook.run(WORK, always)
    assert isinstance(failed, Failed)
    assert "its own host" in failed.text
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (says(up=True, version="v2"), Done),
        (says(up=True), Done),
        (says(up=True, version="v1"), NotUp),
        (says(up=False), NotUp),
        (says(), Failed),
        (says(up="yes"), Failed),
        (says(up=True, version=2), Failed),
        (Reply(body=b"up"), Failed),
        (Reply(body=b"[" * 100_000), Failed),
        (says(404, up=False), Failed),
    ],
)
def test_only_a_clear_word_makes_a_slot_up_or_not(
    webhook: Deployer, server: ScriptedServer, reply: Reply, kind: type
) -> None:
    in_turn(server, reply)
    assert type(webhook.run(STATUS, always)) is kind


def test_a_body_without_end_is_not_read(webhook: Deployer, server: ScriptedServer) -> None:
    in_turn(server, Reply(body=b"x" * (2 << 20)))
    assert "more than" in webhook.run(WORK, always).text


def test_without_its_key_nothing_is_sent(service: Service, server: ScriptedServer) -> None:
    failed = service.deployer(Workplace(environ={"DEPLOY_KEY": " "})).run(WORK, always)
    assert isinstance(failed, Failed)
    assert "DEPLOY_KEY" in failed.text
    assert server.asked == []


def reading(webhook: str) -> Callable[[], object]:
    text = f"flag: shop\nenvironment: e\nmetrics: [{{errors: flagserver}}]\ndeploy: {{webhook: {webhook}}}\n"
    return lambda: load(text, where="x")


def test_the_file_is_read_and_everything_wrong_is_said_at_once() -> None:
    found: Any = reading("{url: 'https://d.example', secret: KEY, headers: {X-A: TOKEN}}")()
    assert found.deploy == WebhookOptions(url="https://d.example", secret="KEY", headers={"X-A": "TOKEN"})
    assert found.deploy.credentials() == ("KEY", "TOKEN")
    with pytest.raises(ConfigError) as refused:
        reading("{url: 'http://d.example', secret: KEY, headers: {Webhook-Id: TOKEN}}")()
    assert [one.path for one in refused.value.problems] == ["deploy.webhook.url", "deploy.webhook.headers.Webhook-Id"]
    with pytest.raises(ConfigError) as refused:
        reading("{ulr: 'https://d.example', secret: GITHUB_TOKEN}")()
    assert {one.path for one in refused.value.problems} == {
        *("deploy.webhook.ulr", "deploy.webhook.url", "deploy.webhook.secret"),
    }
