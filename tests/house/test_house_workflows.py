"""Workflows, ours and those that we show: they parse, and run only what was pinned."""

import re

import yaml

from tests.house.tree import ROOT, files, named

OURS = re.compile(r"^(\./|rampgate/rampgate@)")
PINNED = re.compile(r"^[\w.-]+/[\w./-]+@[0-9a-f]{40}$")
YAML_FENCE = re.compile(r"^```ya?ml\n(.*?)^```", re.DOTALL | re.MULTILINE)
USES = re.compile(r"^\s*(?:- )?uses:\s*(\S+)(.*)$", re.MULTILINE)


def shown() -> dict[str, str]:
    """Every piece of YAML that a person could copy: workflow files, and fences in the documentation."""
    texts = {named(path): path.read_text() for path in files(".github/*.yml", "examples/*.yml", "examples/*.yaml")}
    for path in files("*.md"):
        for number, match in enumerate(YAML_FENCE.finditer(path.read_text()), start=1):
            texts[f"{named(path)} fence {number}"] = match[1]
    return texts


def test_every_piece_of_yaml_parses() -> None:
    for name, text in shown().items():
        assert yaml.safe_load(text) is not None, name


def test_every_action_is_pinned_by_commit_and_says_its_version() -> None:
    used = 0
    for name, text in shown().items():
        for uses, rest in USES.findall(text):
            used += 1
            assert OURS.match(uses) or PINNED.match(uses), f"{name}: {uses}"
            assert OURS.match(uses) or re.search(r"# v\d", rest), f"{name}: {uses} names no version"
    assert used


def test_one_action_has_one_commit_everywhere() -> None:
    pins = {uses for text in shown().values() for uses, _ in USES.findall(text) if not OURS.match(uses)}
    names = [uses.split("@")[0] for uses in pins]
    assert len(names) == len(set(names)), sorted(pins)


def test_our_workflows_begin_with_few_permissions_and_bound_their_time() -> None:
    for path in files(".github/workflows/*.yml"):
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] in ({}, {"contents": "read"}), named(path)
        for job in workflow["jobs"].values():
            assert "timeout-minutes" in job, named(path)


def test_every_make_target_is_explained() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    assert set(re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE)) == set(phony[1].split())
