"""The user's own hook: what it is told, how it ends, and that nothing of it is left when it must end."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate.deploy import (
    CommandOptions,
    DeployAction,
    Deployer,
    Deployment,
    Done,
    Failed,
    NotUp,
    Stopped,
    Workplace,
    command,
)
from gate.deploy import hook as hooks
from tests.gate.deploy.contract import STATUS, WORK, ActingContract, Site, always
from tests.gate.deploy.programs import Programs

FLEET = """
set -eu
cd "$root"; mkdir -p slots
newest() {
  [ "$RAMPGATE_FENCE" -ge "$(cat fence 2>/dev/null || echo 0)" ] || { echo "a newer gate has taken over" >&2; exit 75; }
  echo "$RAMPGATE_FENCE" >fence
}
case $RAMPGATE_ACTION in
  ensure) newest; act; printf '%s' "$RAMPGATE_VERSION" >"slots/$RAMPGATE_SLOT" ;;
  retire) newest; act; rm -f "slots/$RAMPGATE_SLOT" ;;
  status) [ -e "slots/$RAMPGATE_SLOT" ] || exit 1; cat "slots/$RAMPGATE_SLOT" ;;
esac
"""


class _Team(Programs):
    """Somebody with a hook that keeps versions in files."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {"fleet": FLEET})

    def deployer(self, workplace: Workplace) -> Deployer:
        return CommandOptions(command=("fleet",)).deployer(workplace)

    def half_done(self) -> None:
        self.file("fence", "6\n")


class TestCommand(ActingContract):
    @pytest.fixture
    def site(self, tmp_path: Path) -> Site:
        return _Team(tmp_path)

    def test_a_slot_that_runs_another_version_is_not_up(self, deployer: Deployer) -> None:
        deployer.run(replace(WORK, version="v1"), always)
        answer = deployer.run(STATUS, always)
        assert isinstance(answer, NotUp)
        assert "runs v1 and not v2" in answer.text


class Shop:
    """A folder in which hooks run, and what they said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.workplace = Workplace(
            folder=folder, environ={"PATH": os.environ["PATH"]}, say=self.said.append, every=0.02, grace=5.0
        )

    def run(
        self, command: str | tuple[str, ...], work: Any = WORK, keep_going: Callable[[], bool] = always, **more: Any
    ) -> Deployment:
        return CommandOptions(command=command).deployer(replace(self.workplace, **more)).run(work, keep_going)

    def until(self, name: str) -> Callable[[], bool]:
        """Goes on until a hook has made this file, and something is in it."""
        return lambda: not ((self.folder / name).exists() and (self.folder / name).read_text().endswith("\n"))

    def pids(self, name: str = "pids") -> list[int]:
        return [int(word) for word in (self.folder / name).read_text().split()]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


@pytest.fixture
def orphans() -> Iterator[list[int]]:
    """Processes that a test leaves behind on purpose; they end with it."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


class TestWhatItIsTold:
    def test_values_come_by_the_environment(self, shop: Shop) -> None:
        shop.run("env | grep ^RAMPGATE_ | sort", replace(WORK, share=12_500))
        assert shop.said == [
            "RAMPGATE_ACTION=ensure",
            "RAMPGATE_ENVIRONMENT=production",
            "RAMPGATE_FENCE=7",
            "RAMPGATE_FLAG=shop",
            "RAMPGATE_ROLLOUT=r1",
            "RAMPGATE_SHARE=12.5",
            "RAMPGATE_SLOT=green",
            "RAMPGATE_VERSION=v2",
        ]

    def test_only_a_rolling_deployment_has_a_share(self, shop: Shop) -> None:
        shop.run('echo "${RAMPGATE_SHARE-none}"')
        assert shop.said == ["none"]

    def test_work_on_one_of_several_targets_names_it(self, shop: Shop) -> None:
        shop.run('echo "${RAMPGATE_TARGET-none}"')
        shop.run('echo "${RAMPGATE_TARGET-none}"', replace(WORK, target="web-1"))
        assert shop.said == ["none", "web-1"]

    def test_it_is_told_how_long_requests_under_way_have(self, shop: Shop) -> None:
        shop.run('echo "${RAMPGATE_DRAIN-none}"')
        shop.run('echo "${RAMPGATE_DRAIN-none}"', replace(WORK, drain=90.0))
        assert shop.said == ["none", "90"]

    def test_a_program_with_arguments_meets_no_shell(self, shop: Shop) -> None:
        shop.run(("printf", "%s\\n", "$RAMPGATE_SLOT; $(id)"))
        assert shop.said == ["$RAMPGATE_SLOT; $(id)"]

    def test_it_works_in_the_workspace_and_has_no_input(self, shop: Shop) -> None:
        shop.run("pwd -P; cat")
        assert shop.said == [str(shop.folder.resolve())]

    def test_what_is_the_gates_alone_does_not_reach_it(self, shop: Shop) -> None:
        kept = {"PATH": os.environ["PATH"], "FLY_API_TOKEN": "fly", "GITHUB_SHA": "abc", "HOME": "/h"}
        names = "INPUT_CONFIG INPUT_FLAG-SERVER-KEY GITHUB_TOKEN GH_TOKEN ACTIONS_ID_TOKEN_REQUEST_TOKEN"
        names += " ACTIONS_ID_TOKEN_REQUEST_URL ACTIONS_RUNTIME_TOKEN RAMPGATE_KEY RAMPGATE_URL FLAGSERVER_ADMIN_KEY"
        names += " GITHUB_OUTPUT GITHUB_ENV GITHUB_STEP_SUMMARY GITHUB_STATE GITHUB_PATH PROM_TOKEN"
        environ = kept | dict.fromkeys(names.split(), "private")
        shop.run("env", environ=environ, hidden=("PROM_TOKEN",))
        assert "private" not in "\n".join(shop.said)
        assert {f"{name}={value}" for name, value in kept.items()} <= set(shop.said)


class TestHowItEnds:
    @pytest.mark.parametrize(("code", "words"), [(1, "exit code 1"), (127, "exit code 127")])
    def test_a_hook_that_fails_says_how_and_keeps_its_last_lines(self, shop: Shop, code: int, words: str) -> None:
        failed = shop.run(f"seq 1 50; echo no space left >&2; exit {code}")
        assert isinstance(failed, Failed)
        assert words in failed.text
        assert len(failed.tail) == 20
        assert "no space left" in failed.tail

    def test_a_hook_that_is_killed_from_outside_failed(self, shop: Shop) -> None:
        assert "SIGKILL" in shop.run("kill -9 $$").text

    @pytest.mark.parametrize("command", [("/nonexistent/deploy",), ("./not-executable",), "./nothing-there"])
    def test_a_hook_that_cannot_start_failed(self, shop: Shop, command: str | tuple[str, ...]) -> None:
        (shop.folder / "not-executable").write_text("")
        assert isinstance(shop.run(command), Failed)

    def test_a_workspace_that_is_gone_is_a_failure(self, shop: Shop) -> None:
        assert isinstance(shop.run("true", folder=shop.folder / "gone"), Failed)

    @pytest.mark.parametrize(
        ("command", "kind"),
        [
            ("echo v2", Done),
            ("echo checking; echo v2; echo noise >&2", Done),
            ("echo v2 >/dev/stdout", Done),
            ("true", Done),
            ("echo v1", NotUp),
            ("echo v2; echo warming up", NotUp),
            ("exit 1", NotUp),
            ("echo v2; exit 1", NotUp),
            ("exit 2", Failed),
            ("echo v2; exit 75", Failed),
            ("echo v2; kill -9 $$", Failed),
        ],
    )
    def test_status_is_up_not_up_or_unknown(self, shop: Shop, command: str, kind: type) -> None:
        assert type(shop.run(command, STATUS)) is kind

    def test_where_the_version_is_not_known_any_will_do(self, shop: Shop) -> None:
        assert shop.run("echo v1", replace(STATUS, version="")) == Done(
            text="slot green is up and runs v1", version="v1"
        )


class TestThatItCanBeEnded:
    def test_past_its_deadline_it_is_ended_and_failed(self, shop: Shop) -> None:
        failed = shop.run("echo $$ >pids; exec sleep 600", replace(WORK, seconds=0.3))
        assert isinstance(failed, Failed)
        assert "300ms, its deadline" in failed.text
        assert not any(alive(pid) for pid in shop.pids())

    def test_when_the_rollout_moves_on_everything_it_started_is_gone(self, shop: Shop) -> None:
        hook = "sleep 600 & a=$!; (sleep 600 & echo $! >b; wait) & echo $$ $a $! $(cat b 2>/dev/null) >pids; wait"
        stopped = shop.run(hook, keep_going=shop.until("pids"))
        assert isinstance(stopped, Stopped)
        assert not any(alive(pid) for pid in [*shop.pids(), *shop.pids("b")])

    def test_children_in_process_groups_of_their_own_are_gone_too(self, shop: Shop) -> None:
        shop.run("set -m; sleep 600 & echo $$ $! >pids; wait", keep_going=shop.until("pids"))
        assert not any(alive(pid) for pid in shop.pids())

    def test_it_has_its_grace_to_clean_up(self, shop: Shop) -> None:
        hook = "trap 'echo cleaned >cleaned; exit 0' TERM; echo $$ >pids; while :; do sleep 0.01; done"
        assert isinstance(shop.run(hook, keep_going=shop.until("pids")), Stopped)
        assert (shop.folder / "cleaned").exists()

    def test_after_its_grace_it_is_killed(self, shop: Shop) -> None:
        hook = "trap '' TERM; sleep 600 & echo $$ $! >pids; wait; sleep 600"
        assert isinstance(shop.run(hook, keep_going=shop.until("pids"), grace=0.1), Stopped)
        assert not any(alive(pid) for pid in shop.pids())

    def test_one_that_only_looks_is_broken_off(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(command, "HURRIED", 0.0)
        hook = "trap 'sleep 3; echo cleaned >cleaned; exit 0' TERM; echo $$ >pids; while :; do sleep 0.01; done"
        assert isinstance(shop.run(hook, STATUS, keep_going=shop.until("pids")), Stopped)
        assert not (shop.folder / "cleaned").exists()

    @pytest.mark.parametrize("error", [KeyboardInterrupt, ConnectionError])
    def test_an_exception_on_the_gates_side_ends_it_too(self, shop: Shop, error: type[BaseException]) -> None:
        def keep_going() -> bool:
            if not shop.until("pids")():
                raise error
            return True

        with pytest.raises(error):
            shop.run("echo $$ >pids; exec sleep 600", keep_going=keep_going)
        assert not any(alive(pid) for pid in shop.pids())

    def test_a_log_that_breaks_ends_it_too(self, shop: Shop) -> None:
        def say(_: str) -> None:
            raise BrokenPipeError

        with pytest.raises(BrokenPipeError):
            shop.run("echo $$ >pids; echo hello; exec sleep 600", say=say)
        assert not any(alive(pid) for pid in shop.pids())

    def test_output_without_end_does_not_keep_the_gate_from_asking(self, shop: Shop) -> None:
        asked = iter([True] * 5)
        stopped = shop.run("while :; do echo y; done", keep_going=lambda: next(asked, False))
        assert isinstance(stopped, Stopped)
        assert next(asked, None) is None

    def test_output_that_would_fill_the_disk_ends_it(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hooks, "MOST_BYTES", 1 << 20)
        failed = shop.run("exec yes")
        assert isinstance(failed, Failed)
        assert "MiB" in failed.text

    def test_a_gate_killed_in_the_middle_does_it_again(self, shop: Shop, orphans: list[int]) -> None:
        os.mkfifo(shop.folder / "begun")
        hook = 'if [ ! -e half ]; then touch half; echo $$ >begun; exec sleep 600; fi; echo "$RAMPGATE_VERSION" >whole'
        program = (
            "import sys; from pathlib import Path; from gate.deploy import CommandOptions, Workplace;"
            "from tests.gate.deploy.contract import WORK, always;"
            "CommandOptions(command=sys.argv[1]).deployer(Workplace(folder=Path(sys.argv[2]))).run(WORK, always)"
        )
        gate = subprocess.Popen([sys.executable, "-c", program, hook, str(shop.folder)], cwd=Path(__file__).parents[3])
        orphans.append(int((shop.folder / "begun").read_text()))
        gate.kill()
        assert gate.wait() == -signal.SIGKILL
        assert isinstance(shop.run(hook), Done)
        assert (shop.folder / "whole").read_text() == "v2\n"


class TestWhatItLeavesBehind:
    def test_a_server_that_it_starts_neither_hangs_the_gate_nor_dies_of_its_next_line(
        self, shop: Shop, orphans: list[int]
    ) -> None:
        os.mkfifo(shop.folder / "ask")
        os.mkfifo(shop.folder / "answer")
        server = "read line <ask && echo serving && echo serving >&2 && echo alive >answer"
        done = shop.run(f"({server}) & echo $! >pids; echo started")
        assert isinstance(done, Done)
        orphans.extend(shop.pids())
        (shop.folder / "ask").write_text("hello\n")
        assert (shop.folder / "answer").read_text() == "alive\n"

    def test_a_hook_that_lies_about_success_is_found_out_by_its_status(self, shop: Shop) -> None:
        hook = "[ $RAMPGATE_ACTION != status ] || exit 1"
        assert isinstance(shop.run(hook), Done)
        assert isinstance(shop.run(hook, STATUS), NotUp)

    def test_no_descriptor_is_left_open(self, shop: Shop) -> None:
        before = os.listdir("/proc/self/fd")
        shop.run("echo hello")
        shop.run(("/nonexistent",))
        shop.run("sleep 600", replace(WORK, seconds=0.05))
        assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("action", DeployAction)
def test_what_is_done_to_a_slot_is_said_with_slot_and_version(shop: Shop, action: DeployAction) -> None:
    text = shop.run("exit 9", replace(WORK, action=action)).text
    assert f"{action} of v2 in slot green failed" in text
