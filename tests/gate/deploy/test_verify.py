"""Verification in the dark: who says that a slot is up, and what it must do before users meet it."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gate.deploy import CommandOptions, DeployAction, Deployment, Done, Failed, NotUp, Stopped, Work, Workplace
from gate.errors import FlagServerUnreachableError
from gate.verify import Check, CommandCheck, DarkVerification, Probe
from tests.gate.deploy.contract import WORK, always
from tests.gate.metrics.scripted import Reply, ScriptedServer, scripted

NEXT = replace(WORK, seconds=60.0)


@dataclass
class _Says:
    """A deployer that answers so, one after the other; the last for ever."""

    answers: list[Deployment]

    def __post_init__(self) -> None:
        self.asked: list[Work] = []

    def run(self, work: Work, keep_going: Callable[[], bool]) -> Deployment:
        self.asked.append(work)
        if not keep_going():
            return Stopped(text="stopped")
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


UP = Done(text="slot green is up and runs v2", version="v2")


class _Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.at = 1_000.0
        self.waits = 0

    def now(self) -> float:
        return self.at

    def pause(self, seconds: float) -> None:
        self.waits += 1
        self.at += seconds


class Bench:
    """A verification with everything around it."""

    def __init__(self, folder: Path) -> None:
        self.clock = _Clock()
        self.deployer = _Says([UP])
        self.workplace = Workplace(folder=folder, every=1.0, grace=0.2, secrets=["hunter2"])

    def of(self, *checks: Check) -> DarkVerification:
        return DarkVerification(
            deployer=self.deployer,
            workplace=self.workplace,
            checks=checks,
            now=self.clock.now,
            pause=self.clock.pause,
        )

    def answer(self, *checks: Check, keep_going: Callable[[], bool] = always) -> Deployment:
        return self.of(*checks)(NEXT, keep_going)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def app() -> Iterator[ScriptedServer]:
    with scripted() as server:
        server.script = lambda _: Reply(body=b"v2 is ready", content_type="text/plain", headers={"X-Version": "v2"})
        yield server


class TestStatus:
    def test_without_any_check_the_deployers_word_decides(self, bench: Bench) -> None:
        assert bench.answer() == Done(text=UP.text)
        assert bench.deployer.asked == [replace(NEXT, action=DeployAction.STATUS)]

    @pytest.mark.parametrize("answer", [NotUp(text="slot green is not up"), Failed(text="nobody knows")])
    def test_a_slot_that_is_not_known_to_be_up_never_passes(
        self, bench: Bench, app: ScriptedServer, answer: Deployment
    ) -> None:
        bench.deployer.answers = [answer]
        failed = bench.answer(Probe(url=app.url + "/{{slot}}"))
        assert isinstance(failed, Failed)
        assert answer.text in failed.text
        assert app.asked == []

    def test_a_slot_may_take_its_time_to_come_up(self, bench: Bench) -> None:
        bench.deployer.answers = [NotUp(text="starting")] * 5 + [UP]
        assert isinstance(bench.answer(), Done)
        assert bench.clock.waits == 5

    def test_patience_ends(self, bench: Bench) -> None:
        bench.deployer.answers = [NotUp(text="starting")]
        begun = bench.clock.at
        assert isinstance(bench.answer(), Failed)
        assert bench.clock.at - begun <= 30.0

    def test_the_verification_ends_with_its_deadline(self, bench: Bench) -> None:
        bench.deployer.answers = [NotUp(text="starting")]
        begun = bench.clock.at
        bench.of()(replace(NEXT, seconds=3.0), always)
        assert bench.clock.at - begun <= 3.0
        assert [work.seconds for work in bench.deployer.asked] == [3.0, 2.0, 1.0]

    def test_a_hook_that_lies_about_success_does_not_pass(self, bench: Bench) -> None:
        hook = CommandOptions(command='[ "$RAMPGATE_ACTION" = ensure ]').deployer(bench.workplace)
        assert isinstance(hook.run(NEXT, always), Done)
        failed = DarkVerification(
            deployer=hook, workplace=bench.workplace, now=bench.clock.now, pause=bench.clock.pause
        )(NEXT, always)
        assert isinstance(failed, Failed)
        assert "not up" in failed.text


class TestProbes:
    def test_the_slot_and_the_version_go_into_the_address(self, bench: Bench, app: ScriptedServer) -> None:
        passed = bench.of(Probe(url=app.url + "/{{slot}}/healthz?v={{ version }}"))(
            replace(NEXT, version="a/b c&d=?#"), always
        )
        assert isinstance(passed, Done)
        assert [(one.path, one.query) for one in app.asked] == [("/green/healthz", {"v": "a/b c&d=?#"})]

    def test_each_slot_may_have_its_own_address(self, bench: Bench, app: ScriptedServer) -> None:
        addresses = {"blue": app.url + "/b", "green": app.url + "/g"}
        assert isinstance(bench.answer(Probe(url=addresses)), Done)
        assert [one.path for one in app.asked] == ["/g"]

    def test_a_slot_without_an_address_does_not_pass(self, bench: Bench, app: ScriptedServer) -> None:
        assert "no address for green" in bench.answer(Probe(url={"blue": app.url})).text

    def test_headers_are_sent_and_expected(self, bench: Bench, app: ScriptedServer) -> None:
        probe = Probe(url=app.url, headers={"X-Slot": "{{slot}}"}, answers={"x-version": "{{version}}"})
        assert isinstance(bench.answer(probe), Done)
        assert app.asked[0].headers["x-slot"] == "green"

    @pytest.mark.parametrize(
        ("probe", "words"),
        [
            (Probe(url="", status=204), "HTTP 200, not 204"),
            (Probe(url="", contains="{{version}} is broken"), "'v2 is broken'"),
            (Probe(url="", answers={"X-Version": "v3"}), "x-version: v2, not v3"),
            (Probe(url="", answers={"X-Slot": "{{slot}}"}), "without the header x-slot"),
        ],
    )
    def test_what_is_not_as_expected_is_said(self, bench: Bench, app: ScriptedServer, probe: Probe, words: str) -> None:
        failed = bench.answer(replace(probe, url=app.url + "/{{slot}}"))
        assert isinstance(failed, Failed)
        assert words in failed.text
        assert f"{app.url}/green" in failed.text

    def test_an_answer_that_comes_too_late_does_not_pass(self, bench: Bench, app: ScriptedServer) -> None:
        app.hangs()
        failed = bench.answer(Probe(url=app.url, within=0.05, patience=0.0))
        assert isinstance(failed, Failed)
        assert "within 50ms" in failed.text

    @pytest.mark.parametrize("error", [None, ConnectionError])
    def test_while_an_answer_is_awaited_the_rollout_may_move_on(
        self, bench: Bench, app: ScriptedServer, error: type[Exception] | None
    ) -> None:
        app.hangs()
        bench.workplace = replace(bench.workplace, every=0.01)
        before = set(threading.enumerate())

        def keep_going() -> bool:
            if app.asked and error is not None:
                raise error
            return not app.asked

        probe = Probe(url=app.url, within=60.0)
        if error is None:
            assert isinstance(bench.answer(probe, keep_going=keep_going), Stopped)
        else:
            with pytest.raises(error):
                bench.answer(probe, keep_going=keep_going)
        app.released.set()
        assert not {one.name for one in set(threading.enumerate()) - before if "process_request" not in one.name}

    def test_a_redirect_is_an_answer_and_is_not_followed(self, bench: Bench, app: ScriptedServer) -> None:
        app.script = lambda _: Reply(status=302, headers={"Location": "/login"})
        assert isinstance(bench.answer(Probe(url=app.url, status=302)), Done)
        assert "HTTP 302, not 200" in bench.answer(Probe(url=app.url, patience=0.0)).text

    def test_an_app_that_is_still_starting_is_asked_again(self, bench: Bench, app: ScriptedServer) -> None:
        ready = app.script
        app.script = lambda asked: Reply(status=503) if len(app.asked) < 4 else ready(asked)
        assert isinstance(bench.answer(Probe(url=app.url)), Done)
        assert bench.clock.waits == 3

    def test_nobody_there_does_not_pass(self, bench: Bench) -> None:
        with scripted() as gone:
            url = gone.url
        assert isinstance(bench.answer(Probe(url=url, patience=0.0)), Failed)

    def test_neither_query_nor_secrets_are_said(self, bench: Bench, app: ScriptedServer) -> None:
        app.script = lambda _: Reply(status=500, headers={"X-Version": "hunter2"})
        for probe in (
            Probe(url=app.url + "/hunter2?key=private"),
            Probe(url=app.url, status=500, answers={"x-version": "1"}),
        ):
            text = bench.answer(replace(probe, patience=0.0)).text
            assert "hunter2" not in text
            assert "private" not in text

    @pytest.mark.parametrize("url", ["http://{{version}}.internal/", "{{version}}", "http://[{{version}}"])
    def test_a_version_that_makes_no_address_does_not_pass(self, bench: Bench, url: str) -> None:
        work = replace(NEXT, version="@evil.example/\x00#\ud800")
        assert isinstance(bench.of(Probe(url=url, patience=0.0))(work, always), Failed)


class TestForcedProbes:
    def test_they_carry_one_testers_token_and_ordinary_ones_none(self, bench: Bench, app: ScriptedServer) -> None:
        made: list[Work] = []

        def tester(work: Work) -> str:
            made.append(work)
            return "rgf1.token"

        plain, forced = Probe(url=app.url + "/plain"), Probe(url=app.url + "/front", forced=True, contains="v2")
        app.script = lambda _: Reply(body=b"v2")
        verification = replace(bench.of(plain, forced, replace(forced, url=app.url + "/again")), tester=tester)
        assert isinstance(verification(NEXT, always), Done)
        assert [one.headers.get("rampgate-force") for one in app.asked] == [None, "rgf1.token", "rgf1.token"]
        assert made == [NEXT]
        assert isinstance(replace(verification, checks=(plain,))(NEXT, always), Done)
        assert len(made) == 1

    def test_a_door_that_answers_with_stable_does_not_pass(self, bench: Bench, app: ScriptedServer) -> None:
        app.script = lambda _: Reply(body=b"v1 rgf1.token")
        probe = Probe(url=app.url, forced=True, contains="{{version}} rgf1.token", patience=0.0)
        failed = replace(bench.of(probe), tester=lambda _: "rgf1.token")(NEXT, always)
        assert isinstance(failed, Failed)
        assert "rgf1.token" not in failed.text

    def test_without_a_token_nothing_is_asked_and_nothing_passes(self, bench: Bench, app: ScriptedServer) -> None:
        def refuses(_: Work) -> str:
            raise FlagServerUnreachableError("the flag server is away")

        failed = replace(bench.of(Probe(url=app.url, forced=True)), tester=refuses)(NEXT, always)
        assert isinstance(failed, Failed)
        assert "no tester token was to be had: the flag server is away" in failed.text
        assert app.asked == []


class TestCommands:
    def test_a_command_is_told_what_hooks_are_told(self, bench: Bench, tmp_path: Path) -> None:
        check = CommandCheck(command='echo "$RAMPGATE_ACTION $RAMPGATE_SLOT $RAMPGATE_VERSION" >told')
        assert isinstance(bench.answer(check), Done)
        assert (tmp_path / "told").read_text() == "verify green v2\n"

    def test_a_command_that_fails_says_its_last_line(self, bench: Bench) -> None:
        failed = bench.answer(CommandCheck(command="echo smoke test broke; exit 4"))
        assert isinstance(failed, Failed)
        assert "exit code 4 (last line: smoke test broke)" in failed.text

    def test_a_command_that_hangs_ends_with_the_deadline(self, bench: Bench) -> None:
        failed = bench.of(CommandCheck(command="exec sleep 600"))(replace(NEXT, seconds=0.2), always)
        assert isinstance(failed, Failed)


def test_every_failing_check_is_said(bench: Bench, app: ScriptedServer) -> None:
    checks = (
        Probe(url=app.url + "/one", status=204, patience=0.0),
        Probe(url=app.url + "/two"),
        CommandCheck(command="exit 5"),
    )
    verification = bench.of(*checks).verify(NEXT, always)
    assert [one.passed for one in verification.checked] == [True, False, True, False]
    assert not verification.passed
    failed = bench.answer(*checks)
    assert isinstance(failed, Failed)
    assert "/one" in failed.text
    assert "/two" not in failed.text
    assert "exit 5" in failed.text


@pytest.mark.parametrize("turns", range(5))
def test_it_stops_when_the_rollout_moves_on(bench: Bench, app: ScriptedServer, turns: int) -> None:
    app.script = lambda _: Reply(status=503)
    bench.deployer.answers = [NotUp(text="starting"), UP]
    left = iter([True] * turns)
    answer = bench.answer(
        Probe(url=app.url), CommandCheck(command="exec sleep 600"), keep_going=lambda: next(left, False)
    )
    assert isinstance(answer, Stopped)
