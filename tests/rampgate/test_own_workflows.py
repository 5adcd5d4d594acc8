"""Our own workflows are an example, too: what they hand the gate exists, and nothing holds an abort up."""

from typing import Any

import yaml

from gate.config import read
from gate.inputs import INPUTS, Mode
from tests.house.tree import ROOT

FOLDER = ROOT / ".github" / "workflows"


def jobs(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())["jobs"]
    return found


OURS = {name: jobs(name) for name in ("rampgate.yml", "rampgate-commands.yml", "rampgate-sweep.yml")}
JOBS = {f"{name}: {key}": job for name, found in OURS.items() for key, job in found.items()}


def test_our_own_configuration_is_sound() -> None:
    assert read(ROOT / ".github" / "rampgate.yml").plan.flag == "shop"


def test_every_job_checks_out_without_keeping_the_token_and_uses_inputs_that_exist() -> None:
    for where, job in JOBS.items():
        checkout, gate = job["steps"]
        assert checkout["with"]["persist-credentials"] is False, where
        assert gate["uses"] == "./", where
        assert set(gate["with"]) <= set(INPUTS), where
        assert gate["with"].get("mode", "auto") in set(Mode), where
        assert gate["with"].get("job-timeout-minutes", "15") == str(job["timeout-minutes"]), where


def test_an_abort_waits_for_no_queue_and_for_no_approval() -> None:
    (obey,) = OURS["rampgate-commands.yml"].values()
    assert not {"concurrency", "environment", "needs"} & set(obey)
    assert "concurrency" not in yaml.safe_load((FOLDER / "rampgate-commands.yml").read_text())
    assert "concurrency" in OURS["rampgate.yml"]["release"]


def test_nothing_runs_where_no_flag_server_is_named() -> None:
    assert all(job["if"].startswith("vars.RAMPGATE_URL != ''") for job in JOBS.values())


def test_a_pull_request_proves_nothing_about_itself() -> None:
    validate = OURS["rampgate.yml"]["validate"]
    assert "id-token" not in validate["permissions"]
    assert "secrets" not in str(validate)


def test_a_release_is_pinned_to_the_digest_of_an_image_that_says_its_version() -> None:
    steps = [step.get("run", "") for step in jobs("release.yml")["tag"]["steps"]]
    told, pinned = (next(number for number, run in enumerate(steps) if word in run) for word in ("--version", "sed -i"))
    assert told < pinned
    line = "  image: Dockerfile\n"
    assert f"s|^{line.strip(chr(10))}$|" in steps[pinned]
    assert line in (ROOT / "action.yml").read_text()
