"""Jobs that are cancelled, killed and handed over, in the gate's image, signalled as GitHub's runner does."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from gate.flagserver_api import FlagServer as Api
from rampgate.machine.state import Phase, Reason
from rampgate.rollout import Rollout
from tests.container.container_town import own_environment
from tests.container.engine import ENGINE, ROOT, Image, engine
from tests.container.runner import GitHubRunner, Step
from tests.flagserver.process import FlagServer
from tests.scenarios.action import parsed
from tests.scenarios.waiting import until, until_rollout

ACTION = yaml.safe_load((ROOT / "action.yml").read_text())["runs"]
PLAN = """\
flag: shop
environment: production
deploy: {none: true}
metrics: [{errors: flagserver}]
poll: 1s
lease: 9s
staleAfter: 9s
heartbeat: 3s
scaleDownDelay: 18s
"""
PATIENCE = 60


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FlagServer]:
    with FlagServer(tmp_path, log_level="warning") as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    made = tmp_path / "job"
    (made / "workspace/.github").mkdir(parents=True)
    (made / "workspace/.github/rampgate.yml").write_text(PLAN)
    return made


def job(server: FlagServer, folder: Path, **inputs: str) -> GitHubRunner:
    named = {name.replace("_", "-"): value for name, value in inputs.items()}
    given = {"flag-server-url": server.url, "flag-server-key": server.key("operator"), "mode": "run", **named}
    return GitHubRunner(folder=folder, inputs=given)


def ramping(server: FlagServer) -> tuple[Api, Rollout]:
    """The rollout, once a gate judges it."""
    api = Api(server.url, server.key("operator"), timeout=30.0)
    rollout = until(lambda: api.find(flag="shop"))[0]
    return api, until_rollout(api, rollout.id, lambda one: one.state.phase is Phase.PROGRESSING)


def post(image: Image, runner: GitHubRunner) -> str:
    """The post run of a step that has ended; its log."""
    state = parsed((runner.folder / "file_commands/save_state").read_text())
    after = GitHubRunner(
        folder=runner.folder, inputs=runner.inputs, env={f"STATE_{name}": value for name, value in state.items()}
    )
    done = after.run(image.tag, entrypoint=ACTION["post-entrypoint"], timeout=PATIENCE)
    assert done.code == 0, done.log
    return done.log


def cancel(step: Step) -> int:
    """As the runner cancels: SIGINT, SIGTERM after 7.5 s, SIGKILL after 2.5 s more; the exit code."""
    for signal, seconds in (("INT", 7.5), ("TERM", 2.5)):
        step.signal(signal)
        try:
            return step.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            continue
    step.signal("KILL")
    return step.process.wait(timeout=PATIENCE)


def test_a_cancelled_step_is_out_of_the_users_way_before_it_is_killed(
    gate_image: Image, folder: Path, server: FlagServer
) -> None:
    runner = job(server, folder)
    with runner.start(gate_image.tag) as step:
        api, rollout = ramping(server)
        assert cancel(step) == 130
    outputs = parsed((folder / "file_commands/set_output").read_text())
    assert (outputs["decision"], outputs["reason"], outputs["percentage"]) == ("reverted", "cancelled", "0")
    assert "The job was cancelled" in (folder / "file_commands/step_summary").read_text()
    now = api.rollout(rollout.id)
    assert (now.share, now.state.reason) == (0, Reason.CANCELLED)
    post(gate_image, runner)
    assert api.rollout(rollout.id).state.phase is Phase.REVERTED


def test_what_a_killed_step_leaves_is_undone_by_its_post_run(
    gate_image: Image, folder: Path, server: FlagServer
) -> None:
    runner = job(server, folder)
    with runner.start(gate_image.tag) as step:
        api, rollout = ramping(server)
        step.signal("KILL")
        step.process.wait(timeout=PATIENCE)
    until_rollout(api, rollout.id, lambda one: one.state.reason is Reason.GATE_LOST and one.state.needs_hands)
    post(gate_image, runner)
    ended = api.rollout(rollout.id)
    assert (ended.state.phase, ended.state.actions) == (Phase.REVERTED, ())


@contextmanager
def follower(image: Image, folder: Path, server: FlagServer) -> Iterator[subprocess.Popen[str]]:
    """The same image beside the flag server; its name there and as a container is the same."""
    name = f"rampgate-follower-{uuid4().hex[:12]}"
    settings = {"RAMPGATE_URL": server.url, "RAMPGATE_KEY": server.key("operator")}
    names = [part for key in settings for part in ("-e", key)]
    fixed = ["run", "--rm", "--name", name, "--network", "host", "-v", f"{folder / 'workspace'}:/checkouts:ro"]
    command = [ENGINE, *fixed, *names, "--entrypoint", "rampgate", image.tag, "drive", "--follow"]
    process = subprocess.Popen(
        [*command, "--config-dir", "/checkouts", "--name", name],
        env=settings | own_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    try:
        api = Api(server.url, settings["RAMPGATE_KEY"], timeout=30.0)
        until(lambda: api.followers("production", "shop") or process.poll() is not None)
        yield process
        engine("kill", "--signal", "TERM", name)
        log, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, log
        assert api.followers("production", "shop") == ()
    finally:
        engine("rm", "-f", name)
        process.wait(timeout=20)


def test_a_job_hands_over_to_a_follower_in_the_same_image_which_lets_go_when_stopped(
    gate_image: Image, folder: Path, server: FlagServer
) -> None:
    runner = job(server, folder, detach="true")
    with follower(gate_image, folder, server):
        done = runner.run(gate_image.tag, timeout=PATIENCE)
        assert done.code == 0, done.log
        assert parsed(done.files["GITHUB_OUTPUT"])["reason"] == "detached"
        api, rollout = ramping(server)
        assert rollout.state.lease is not None
        assert rollout.state.lease.holder.startswith("follower ")
        post(gate_image, runner)
        assert api.rollout(rollout.id).state.phase is Phase.PROGRESSING
