"""What the README shows first is right: the plan can be read, and the inputs exist."""

import re

import yaml

from gate.commands.parse import COMMANDS
from gate.config import load
from gate.inputs import INPUTS
from rampgate.plan import Strategy
from tests.house.tree import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(yaml|python)\n(.*?)```", README, re.DOTALL)


def block(kind: str, having: str) -> str:
    return next(text for found, text in BLOCKS if found == kind and having in text)


def test_the_plan_in_the_readme_is_sound():
    config = load(block("yaml", "flag: shop"), where="README.md", environment=None)
    assert [step.share for step in config.plan.steps] == [10_000, 50_000, 100_000]
    assert config.plan.strategy is Strategy.CANARY


def test_the_step_in_the_readme_uses_inputs_that_exist():
    (step,) = yaml.safe_load(block("yaml", "uses:"))
    assert set(step["with"]) <= set(INPUTS)


def test_the_start_is_about_ten_lines():
    start = block("yaml", "flag: shop") + block("yaml", "uses:")
    assert len(start.splitlines()) <= 10


def test_the_app_in_the_readme_is_python():
    compile(block("python", "FlagClient"), "README.md", "exec")


def test_the_readme_names_every_command():
    assert all(f"`/{name}`" in README for name in COMMANDS)
