"""Messages to people: what is worth one, what it says, and that none of them shows the address it goes to."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from gate.cli import main
from gate.config import NotifyConfig, Topic, load
from gate.notify import Messenger, hands_message, message_of, topic_of
from gate.release import Gate
from gate.world import Hands
from rampgate.evidence import ArmName
from rampgate.machine.events import Created, Locked, Told
from rampgate.machine.state import Action, ActionKind, Because, Lock, Order, Phase, Reason
from rampgate.rollout import Entry
from tests.gate.drive.worlds import Scene
from tests.gate.metrics.scripted import Reply, ScriptedServer, scripted
from tests.gate.report.story import STORIES

MINIMUM = {"flag": "shop", "environment": "production", "deploy": {"none": True}, "metrics": [{"errors": "flagserver"}]}
MASKED = "hunter2"


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedServer]:
    with scripted() as server:
        yield server


@pytest.fixture
def receiver(running: ScriptedServer) -> ScriptedServer:
    running.script = lambda _: Reply()
    running.asked.clear()
    return running


def address(receiver: ScriptedServer) -> str:
    return f"json://ann:{MASKED}@127.0.0.1:{receiver.server_port}/"


def messages(receiver: ScriptedServer) -> list[tuple[str, str, str]]:
    sent = [json.loads(one.body) for one in receiver.asked]
    return [(one["type"], one["title"], one["message"]) for one in sent]


def line(phase: Phase, reason: Reason = Reason.HEALTHY, event: object = None, text: str = "So.") -> Entry:
    scene = Scene()
    scene.server.post("r1", Told(order=Order.PAUSE, by="@ann"), "1")
    because = (Because(reason=reason, text=text),)
    return replace(
        scene.server.history[-1],
        phase=phase,
        because=because,
        refusal=None,
        event=event or Told(order=Order.PAUSE, by="x"),
    )


@pytest.mark.parametrize(
    ("before", "entry", "topic"),
    [
        (None, line(Phase.DEPLOYING, event=Created(baseline=True, by="x")), Topic.START),
        (Phase.PROGRESSING, line(Phase.PROGRESSING), None),
        (Phase.DARK, line(Phase.PROGRESSING), None),
        (Phase.PROGRESSING, line(Phase.WAITING), Topic.NEEDS_PERSON),
        (Phase.PROGRESSING, line(Phase.PAUSED, Reason.INCONCLUSIVE), Topic.NEEDS_PERSON),
        (Phase.PROGRESSING, line(Phase.PAUSED, Reason.PAUSED_BY_PERSON), None),
        (Phase.PROGRESSING, line(Phase.PROGRESSING, event=Locked(lock=Lock(reason="x", by="y"))), Topic.NEEDS_PERSON),
        (Phase.PROGRESSING, line(Phase.REVERTING, Reason.REGRESSED), Topic.DECISION),
        (Phase.DEPLOYING, line(Phase.REVERTING, Reason.DEPLOY_FAILED), Topic.FAILED),
        (Phase.REVERTING, line(Phase.REVERTED), None),
        (Phase.REVERTING, line(Phase.FAILED), None),
        (Phase.DEPLOYING, line(Phase.FAILED), Topic.FAILED),
        (Phase.COMPLETING, line(Phase.PROMOTED), Topic.DECISION),
        (Phase.PROGRESSING, line(Phase.SUPERSEDED), Topic.DECISION),
    ],
)
def test_what_is_worth_a_message(before: Phase | None, entry: Entry, topic: Topic | None) -> None:
    assert topic_of(line(before) if before else None, entry) is topic


def test_a_message_says_what_happened_and_why_and_calls_nobody() -> None:
    rollout = replace(Scene().server.rollout("r1"), version="<!channel>", run_url="https://ci/1")
    entry = line(Phase.WAITING, text="@everyone <script>\x1b[31m::error::x\nsecond !channel")
    message = message_of(Topic.NEEDS_PERSON, rollout, entry)
    assert message.title.startswith("production: ")
    whole = message.title + message.text
    assert not any(sign in whole for sign in ("@everyone", "<script", "<!", "!channel", "\x1b"))
    assert "/promote" in message.text
    assert message.text.splitlines()[-1] == "https://ci/1"


def test_a_message_asks_for_commands_as_the_repository_writes_them() -> None:
    rollout = replace(Scene().server.rollout("r1"), config={"commands": {"prefix": "ship"}})
    message = message_of(Topic.NEEDS_PERSON, rollout, line(Phase.WAITING))
    assert "`ship promote`, or `ship abort`" in message.text
    assert "/promote" not in message.text


def test_where_users_follow_the_machines_the_end_of_the_way_back_is_news_too() -> None:
    story = STORIES["batch-reverted"]()
    rollout, end, before = story.rollout(), story.entries[-1], story.entries[-2]
    assert topic_of(before, end) is None
    assert topic_of(before, end, in_place=True) is Topic.DECISION
    message = message_of(Topic.DECISION, rollout, end, story.entries)
    assert message.title == "production: every target is back on v1"
    assert "Time to safe: 1m1s, from the first bad sample" in message.text
    begun = message_of(Topic.DECISION, rollout, story.entries[-3], story.entries[:-2])
    assert begun.title == "production: targets are being put back on v1"
    left = STORIES["batch-left"]()
    assert topic_of(left.entries[-2], left.entries[-1], in_place=True) is None
    assert "Users of these are on the new version" in hands_message(left.rollout()).text


def test_what_is_left_to_do_is_named() -> None:
    rollout = Scene().server.rollout("r1")
    left = Action(number=3, kind=ActionKind.UNDO, arm=ArmName.CANARY)
    rollout = replace(rollout, state=replace(rollout.state, actions=(left,)))
    message = hands_message(rollout)
    assert message.title == "production: v2 needs hands"
    assert "undo green" in message.text


def test_a_whole_rollout_is_told_to_each_by_what_it_wants_to_hear(receiver: ScriptedServer) -> None:
    scene, said = Scene(), []
    scene.users.fails["canary"] = 0.3
    world = scene.world("gate 1")
    messenger = Messenger(
        to=(NotifyConfig(to="ALL"), NotifyConfig(to="PAGER", on=frozenset({Topic.NEEDS_HANDS}))),
        environ={"ALL": address(receiver), "PAGER": address(receiver)},
        say=said.append,
    )
    hands = Hands(
        deployer=world.deployer, verify=world.verify, source=world.source, listeners=(messenger,),
        needs_hands=messenger.needs_hands,
    )  # fmt: skip
    gate = Gate(server=scene.server, hands=hands, clock=scene.clock, report=scene.report, holder="gate 1")  # type: ignore[arg-type]
    ended = gate.drive(scene.server.rollout("r1"))
    assert ended.state.phase is Phase.REVERTED
    ((kind, title, text),) = messages(receiver)
    assert (kind, title) == ("info", "production: everybody is back on v1")
    assert scene.server.history[-1].phase is Phase.REVERTED
    assert (
        text.splitlines()[0]
        == next(one for one in scene.server.history if one.phase is Phase.REVERTING).because[0].text
    )
    assert text.splitlines()[1].startswith("Time to safe: 1s, from the first bad sample (")
    assert text.splitlines()[2] == "Flag shop: v1 → v2, rollout r1."
    assert said == []


def test_an_unfinished_deployment_is_told_before_and_after_a_driver_that_could_not_finish_it(
    receiver: ScriptedServer,
) -> None:
    scene = Scene()
    scene.users.fails["canary"] = 0.3
    scene.slots.broken = lambda work: work.action == "retire"
    world = scene.world("gate 1")
    messenger = Messenger(
        to=(NotifyConfig(to="A", on=frozenset({Topic.NEEDS_HANDS})),), environ={"A": address(receiver)}, say=print
    )
    hands = Hands(deployer=world.deployer, verify=world.verify, source=world.source, needs_hands=messenger.needs_hands)
    gate = Gate(server=scene.server, hands=hands, clock=scene.clock, report=scene.report, holder="gate 1")  # type: ignore[arg-type]
    left = gate.drive(scene.server.rollout("r1"))
    assert left.state.needs_hands
    assert [title for _, title, _ in messages(receiver)] == ["production: v2 needs hands"]
    scene.slots.broken = lambda _: False
    assert not gate.drive(scene.server.rollout("r1")).state.needs_hands
    assert len(messages(receiver)) == 2


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "is empty"),
        ("no address", "no address that apprise knows"),
        ("mqtt://broker/shop", "it needs paho-mqtt"),
        ("json://127.0.0.1:9/", "did not take it"),
    ],
)
def test_who_cannot_be_told_is_named_without_the_address(value: str, words: str) -> None:
    said: list[str] = []
    messenger = Messenger(to=(NotifyConfig(to="SLACK_URL"),), environ={"SLACK_URL": value}, say=said.append)
    messenger.needs_hands(Scene().server.rollout("r1"))
    (text,) = said
    assert text.startswith("SLACK_URL was not told (needs_hands): ")
    assert words in text
    assert "127.0.0.1" not in text


def test_a_service_that_refuses_is_no_error_of_ours(
    receiver: ScriptedServer, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver.script = lambda _: Reply(status=403, body=MASKED.encode())
    messenger = Messenger(to=(NotifyConfig(to="A"),), environ={"A": address(receiver)}, say=print)
    assert messenger.test() == {"A": "the service did not take it"}
    messenger.needs_hands(Scene().server.rollout("r1"))
    shown = capsys.readouterr()
    assert MASKED not in shown.out + shown.err + caplog.text + repr(messenger)


def test_a_chat_service_gets_plain_text(receiver: ScriptedServer) -> None:
    value = f"ntfy://127.0.0.1:{receiver.server_port}/releases"
    messenger = Messenger(to=(NotifyConfig(to="A"),), environ={"A": value}, say=print)
    assert messenger.test() == {"A": None}
    sent = json.loads(receiver.asked[0].body)
    assert (sent["topic"], sent["title"]) == ("releases", "Rampgate: a test")


def test_the_command_sends_a_test_to_everybody_and_fails_where_one_is_deaf(
    receiver: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rampgate.yml"
    file.write_text(yaml.safe_dump({**MINIMUM, "notify": [{"to": "GOOD_URL"}, {"to": "BAD_URL"}]}))
    monkeypatch.setenv("GOOD_URL", address(receiver))
    monkeypatch.delenv("BAD_URL", raising=False)
    answer = CliRunner().invoke(main, ["notify", "--test", str(file)])
    assert answer.exit_code == 5
    assert "GOOD_URL: told" in answer.output
    assert "BAD_URL: the variable is empty" in answer.output
    monkeypatch.setenv("BAD_URL", address(receiver))
    assert CliRunner().invoke(main, ["notify", "--test", str(file)]).exit_code == 0
    file.write_text(yaml.safe_dump(MINIMUM))
    nobody = CliRunner().invoke(main, ["notify", "--test", str(file)])
    assert nobody.exit_code == 2
    assert "Name somebody" in nobody.output


def test_the_configuration_names_variables_and_what_each_hears() -> None:
    keys = [{"to": "SLACK_URL"}, {"to": "PAGER_URL", "on": ["failed", "needs_hands"]}]
    found = load(yaml.safe_dump({**MINIMUM, "notify": keys}), where="x")
    assert found.notify == (
        NotifyConfig(to="SLACK_URL"),
        NotifyConfig(to="PAGER_URL", on=frozenset({Topic.FAILED, Topic.NEEDS_HANDS})),
    )
