"""The quick start and the troubleshooting page: what they show works, and what they quote is said."""

import ast
import os
import re
from typing import Any

import pytest
import yaml

from flagserver.settings import read_settings
from gate.config import load
from gate.inputs import INPUTS
from tests.house.tree import PACKAGES, ROOT, files, sources

START = (ROOT / "docs" / "quick-start.md").read_text()
TROUBLE = (ROOT / "docs" / "troubleshooting.md").read_text()
SERVER = ROOT / "examples" / "server"
# Code in a row's first cell; where it holds backticks itself, two stand around it.
QUOTED = re.compile(r"^\| (`+) ?(.+?) ?\1 \|", re.MULTILINE)


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def said() -> str:
    """Every text in the code, with … for what is put into it."""
    texts = []
    for _, module in sources(*PACKAGES):
        for node in ast.walk(module):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(re.sub(r"%[sd]", "…", node.value))
    return "\n".join(texts)


def test_every_message_of_the_troubleshooting_page_is_one_that_the_code_says() -> None:
    quoted = [text for _, text in QUOTED.findall(TROUBLE)]
    assert len(quoted) >= 30
    known = said()
    missing = [text for text in quoted if not all(part.strip() in known for part in text.split("…"))]
    assert missing == []


def test_the_first_plan_is_sound_and_the_first_workflows_use_inputs_that_exist() -> None:
    plan, *workflows = blocks(START, "yaml")
    assert load(plan, where="docs/quick-start.md").plan.flag == "new-checkout"
    assert len(workflows) == 2
    for text in workflows:
        (job,) = yaml.safe_load(text)["jobs"].values()
        checkout, gate = job["steps"]
        assert checkout["uses"].startswith("actions/checkout@")
        assert set(gate["with"]) <= set(INPUTS)


def test_the_trust_policy_names_the_workflows_that_the_page_writes() -> None:
    named = set(re.findall(r"--workflow (\S+)", START))
    assert named == set(re.findall(r"^`(\.github/workflows/\S+)`", START, re.MULTILINE))


@pytest.mark.parametrize(("value", "expected"), [("true", "the new checkout"), ("false", "the old checkout")])
def test_the_first_app_asks_for_its_flag(value: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAMPGATE_OVERRIDES", f"new-checkout={value}")
    for name in ("RAMPGATE_URL", "RAMPGATE_KEY"):
        monkeypatch.delenv(name, raising=False)
    (source,) = blocks(START, "python")
    page: dict[str, Any] = {"__name__": "quick_start"}
    exec(source, page)
    answer = page["app"].test_client().get("/checkout", headers={"X-User": "ann"})
    assert answer.get_data(as_text=True) == expected


@pytest.mark.parametrize("name", ["compose.yml", "compose.replicas.yml"])
def test_the_servers_to_copy_have_settings_that_exist_and_the_image_of_this_version(name: str) -> None:
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    composed = yaml.safe_load(
        re.sub(r"\$\{FLAGS_HOST[^}]*}", "flags.example.com", (SERVER / name).read_text()),
    )
    servers = [one for one in composed["services"].values() if "/flagserver:" in one["image"]]
    (subnet,) = (one["subnet"] for one in composed["networks"]["default"]["ipam"]["config"])
    caddy = composed["services"]["caddy"]["environment"]
    assert len(servers) == len(caddy["FLAG_SERVERS"].split())
    for server in servers:
        assert server["image"] == f"ghcr.io/rampgate/rampgate/flagserver:{version[1]}"
        settings = read_settings(server["environment"])
        assert [str(one) for one in settings.trusted_proxies] == [subnet]
        assert settings.public_url == "https://flags.example.com"
    assert set(re.findall(r"\{\$(\w+)}", (SERVER / "Caddyfile").read_text())) == set(caddy)
    volumes = {mount.split(":")[0] for one in composed["services"].values() for mount in one["volumes"]}
    assert {one for one in volumes if not one.startswith(".")} == set(composed["volumes"])


def test_every_page_is_reached_from_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    pages = set(files("docs/*.md"))
    found, look = {index}, [index]
    while look:
        page = look.pop()
        targets = {
            (page.parent / link.split("#")[0]).resolve() for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text())
        }
        look += (targets & pages) - found
        found |= targets & pages
    assert {os.path.relpath(path, ROOT) for path in pages - found} == set()
