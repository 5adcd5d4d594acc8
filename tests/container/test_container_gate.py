"""The gate's image, run as GitHub's runner runs it."""

import gzip
import json
import socket
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from tests.container.engine import ROOT, Image, ask, compiled_at_start
from tests.container.runner import RUNNER_UID, GitHubRunner

PYTHON = "/opt/rampgate/bin/python"
KEY = "rg_operator_abcdefgh_" + "s" * 43
PLAN = """\
flag: shop
environment: production
deploy: {command: "true"}
steps: [10, 50, 100]
metrics: [{errors: flagserver}]
"""
LARGEST = 60_000_000
"""Bytes of all layers that are ours, unpacked."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path / "job"


def test_the_image_starts_the_action_without_a_shell_as_root_and_nowhere(gate_image: Image) -> None:
    config = gate_image.config["Config"]
    assert config["Entrypoint"] == [yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["entrypoint"]]
    assert config.get("User", "") in {"", "root", "0"}
    assert config.get("WorkingDir", "") in {"", "/"}


def test_inputs_keep_their_dashes_and_files_of_another_owner_can_be_written(gate_image: Image, folder: Path) -> None:
    runner = GitHubRunner(folder=folder, inputs={"flag-server-url": "http://127.0.0.1:1"})
    code = (
        "import os, pathlib\n"
        "with open(os.environ['GITHUB_OUTPUT'], 'a') as out: out.write('url=' + os.environ['INPUT_FLAG-SERVER-URL'])\n"
        "print(os.getpid(), os.getcwd(), pathlib.Path(os.environ['GITHUB_OUTPUT']).stat().st_uid)\n"
    )
    done = runner.run(gate_image.tag, "-I", "-c", code, entrypoint=PYTHON)
    assert done.code == 0, done.log
    assert done.log.split() == ["1", "/github/workspace", str(RUNNER_UID)]
    assert done.files["GITHUB_OUTPUT"] == "url=http://127.0.0.1:1"


def test_a_missing_plan_ends_with_exit_code_2_and_says_which_file(gate_image: Image, folder: Path) -> None:
    runner = GitHubRunner(
        folder=folder,
        inputs={"flag-server-url": "http://127.0.0.1:9", "flag-server-key": KEY, "mode": "run"},
    )
    done = runner.run(gate_image.tag)
    assert done.code == 2, done.log
    assert ".github/rampgate.yml" in done.log
    assert "decision" in done.files["GITHUB_OUTPUT"]
    assert "Traceback" not in done.log


def test_foreign_code_in_the_workspace_or_on_pythonpath_is_never_imported(gate_image: Image, folder: Path) -> None:
    (folder / "workspace/gate").mkdir(parents=True)
    for name in ("gate/__init__.py", "yaml.py", "requests.py", "sitecustomize.py"):
        (folder / "workspace" / name).write_text("raise SystemExit('foreign code ran')\n")
    runner = GitHubRunner(folder=folder, env={"PYTHONPATH": "/github/workspace", "PYTHONSTARTUP": "yaml.py"})
    assert "foreign code ran" not in runner.run(gate_image.tag).log
    post = yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["post-entrypoint"]
    assert "foreign code ran" not in runner.run(gate_image.tag, entrypoint=post).log


def test_the_post_step_has_nothing_to_do_where_the_step_began_nothing(gate_image: Image, folder: Path) -> None:
    post = yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["post-entrypoint"]
    done = GitHubRunner(folder=folder).run(gate_image.tag, entrypoint=post)
    assert done.code == 0, done.log


def test_sigterm_ends_the_gate_as_first_process_while_the_flag_server_hangs(gate_image: Image, folder: Path) -> None:
    (folder / "workspace/.github").mkdir(parents=True)
    (folder / "workspace/.github/rampgate.yml").write_text(PLAN)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        hanging.settimeout(30)
        url = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        inputs = {"flag-server-url": url, "flag-server-key": KEY, "mode": "run"}
        with GitHubRunner(folder=folder, inputs=inputs).start(gate_image.tag) as step:
            caller, _ = hanging.accept()
            with caller:
                step.signal("TERM")
                assert step.process.wait(timeout=10) == 143


def test_the_image_can_speak_to_github_and_to_chats(gate_image: Image, folder: Path) -> None:
    code = (
        "import apprise\n"
        "from gate.github.api import GitHubApi\n"
        "GitHubApi.at(api_url='http://127.0.0.1:9', token='t', repository='acme/shop', say=print)\n"
        "for url in ('slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ', 'json://127.0.0.1', 'mailto://u:p@h.example'):\n"
        "    assert apprise.Apprise().add(url), url\n"
        "print('both')\n"
    )
    done = GitHubRunner(folder=folder).run(gate_image.tag, "-I", "-c", code, entrypoint=PYTHON)
    assert done.log.split() == ["both"]


def test_what_the_image_cannot_tell_is_on_the_page(gate_image: Image, folder: Path) -> None:
    code = (
        "import apprise\n"
        "for one in apprise.Apprise().details(show_requirements=True, show_disabled=True)['schemas']:\n"
        "    if not one['enabled'] and one['requirements']['packages_required']:\n"
        "        print((one['protocols'] or one['secure_protocols'])[0])\n"
    )
    done = GitHubRunner(folder=folder).run(gate_image.tag, "-I", "-c", code, entrypoint=PYTHON)
    page = (ROOT / "docs/notifications.md").read_text().casefold()
    missing = set(done.log.split()) - {"blink1"}
    assert {"fcm", "mqtt"} < missing
    assert [one for one in sorted(missing) if one not in page] == []


def test_the_image_can_sign_in_to_aws_and_ask_it_for_metrics(gate_image: Image, folder: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "eu-central-1"}
    services = ("cloudwatch", "sts", "sso", "sso-oidc")
    code = f"import boto3\nfor each in {services}: print(boto3.client(each).meta.endpoint_url)"
    done = GitHubRunner(folder=folder, env=keys).run(gate_image.tag, "-I", "-c", code, entrypoint=PYTHON)
    assert done.code == 0, done.log
    assert "https://monitoring.eu-central-1.amazonaws.com" in done.log


def test_nothing_is_compiled_when_the_gate_starts(gate_image: Image) -> None:
    assert compiled_at_start(gate_image, "gate.app", "gate.github.api") == ""


def test_what_the_image_adds_to_its_base_is_small(gate_image: Image, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    ask("save", "-o", str(archive), gate_image.tag, timeout=120)
    ours = {layer.removeprefix("sha256:") for layer in gate_image.own_layers()}
    assert ours
    with tarfile.open(archive) as opened:
        names = json.loads(content(opened, "manifest.json"))[0]["Layers"]
        layers = {sha256(layer).hexdigest(): len(layer) for layer in (content(opened, name) for name in names)}
    assert ours <= layers.keys()
    assert sum(size for name, size in layers.items() if name in ours) < LARGEST


def content(archive: tarfile.TarFile, name: str) -> bytes:
    """A file of an archive, unpacked: engines differ in whether they save layers compressed."""
    found = archive.extractfile(name)
    assert found is not None
    data = found.read()
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
