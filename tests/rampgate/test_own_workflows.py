"""Our own workflows are an example, too: what they hand the gate exists, and nothing holds an abort up."""

import os
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
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


def test_a_release_can_be_run_again_after_its_tag_was_moved() -> None:
    for name, job in jobs("release.yml").items():
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["ref"] == "${{ github.sha }}", name


def test_a_platform_that_is_not_the_runners_is_emulated_before_it_is_built() -> None:
    steps = jobs("release.yml")["images"]["steps"]
    used = [step.get("uses", "").split("@")[0] for step in steps]
    (built,) = (step["with"] for step in steps if step.get("id") == "push")
    assert "linux/arm64" in built["platforms"]
    assert used.index("docker/setup-qemu-action") < used.index("docker/setup-buildx-action")


DIGEST = "ghcr.io/rampgate/rampgate/gate@sha256:" + "a" * 64


@dataclass(frozen=True, kw_only=True)
class Releasing:
    """The release's last job, its steps run by bash in a clone of a repository of our own."""

    origin: Path
    folder: Path
    environ: Mapping[str, str]

    def git(self, *arguments: str, where: Path | None = None) -> str:
        command = ["git", "-C", str(where or self.folder), *arguments]
        ran = subprocess.run(command, env=self.environ, check=True, capture_output=True, text=True)
        return ran.stdout.strip()

    def tags(self) -> dict[str, str]:
        lines = self.git("for-each-ref", "--format=%(refname:short) %(objectname)", "refs/tags", where=self.origin)
        return dict(line.split() for line in lines.splitlines())

    def step(self, word: str, **environ: str) -> dict[str, str]:
        """Run the step that holds a word; its outputs."""
        (script,) = (one["run"] for one in jobs("release.yml")["tag"]["steps"] if word in one.get("run", ""))
        output = self.folder / "output"
        output.write_text("")
        whole = {**self.environ, **environ, "GITHUB_OUTPUT": str(output)}
        subprocess.run(["bash", "-eo", "pipefail", "-c", script], cwd=self.folder, env=whole, check=True)
        return dict(line.split("=", 1) for line in output.read_text().splitlines())


def tagged(folder: Path, *versions: str) -> Releasing:
    """A repository with a commit for each version, its tag on it; the clone is at the first."""
    origin, clone, programs = (folder / name for name in ("origin", "clone", "programs"))
    config = folder / "gitconfig"
    token = "https://x-access-token:t@github.example/rampgate/rampgate"
    config.write_text(f'[url "file://{origin}"]\ninsteadOf = {token}\n[user]\nname = a\nemail = a@b.example\n')
    programs.mkdir()
    (programs / "gh").write_text(f'#!/bin/sh\necho "$@" >>"{folder}/gh.log"\n[ "$2" = create ]\n')
    (programs / "gh").chmod(0o755)
    environ = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "GIT_CONFIG_GLOBAL": str(config),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_REPOSITORY": "rampgate/rampgate",
        "GITHUB_REF_NAME": versions[0],
        "TOKEN": "t",
    }
    releasing = Releasing(origin=origin, folder=clone, environ=environ)
    origin.mkdir()
    releasing.git("init", "-q", "-b", "main", where=origin)
    for name in ("action.yml", "CHANGELOG.md"):
        (origin / name).write_bytes((ROOT / name).read_bytes())
    for version in versions:
        releasing.git("add", ".", where=origin)
        releasing.git("commit", "-q", "--allow-empty", "-m", version, where=origin)
        releasing.git("tag", version, where=origin)
    releasing.git("clone", "-q", "--no-tags", str(origin), str(clone), where=folder)
    releasing.git("checkout", "-q", "--detach", releasing.tags()[versions[0]])
    (clone / "digest-gate.txt").write_text(f"{DIGEST}\n")
    return releasing


def test_the_tags_of_a_release_lead_to_a_commit_that_names_the_image_and_nothing_is_built_at_use(
    tmp_path: Path,
) -> None:
    version = "v" + tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    major = version.partition(".")[0]
    releasing = tagged(tmp_path, version)
    before = releasing.tags()[version]
    outputs = releasing.step("git push")
    assert releasing.tags() == {version: outputs["commit"], major: outputs["commit"]}
    assert releasing.git("rev-parse", f"{major}^", where=releasing.origin) == before
    whole = yaml.safe_load(releasing.git("show", f"{major}:action.yml", where=releasing.origin))
    assert whole["runs"]["image"] == f"docker://{DIGEST}"
    assert whole["inputs"] == yaml.safe_load((ROOT / "action.yml").read_text())["inputs"]

    releasing.step("gh release", COMMIT=outputs["commit"])
    notes = (releasing.folder / "notes.md").read_text()
    assert f"uses: rampgate/rampgate@{outputs['commit']} # {version}" in notes
    assert "### Added" in notes
    assert f"release create {version} --verify-tag" in (tmp_path / "gh.log").read_text()


@pytest.mark.parametrize("newer", ["v0.2.0", "v0.10.0"])
def test_an_older_release_that_is_run_again_leaves_the_major_tag_where_it_is(newer: str, tmp_path: Path) -> None:
    releasing = tagged(tmp_path, "v0.9.0" if newer == "v0.10.0" else "v0.1.0", newer)
    outputs = releasing.step("git push")
    tags = releasing.tags()
    assert outputs["commit"] in tags.values()
    assert "v0" not in tags
