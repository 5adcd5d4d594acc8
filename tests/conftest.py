"""What holds for every test: nothing is skipped, chance has no say in CI, and who takes longest begins.

A test that cannot run here is a failure that says why, so a green run means that everything ran.
"""

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

# How long an example takes says nothing on a busy machine. Locally every run tries other examples.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

SLOWEST = (
    "test_scenarios_commands.py",
    "test_scenarios_action.py",
    "test_scenarios_killed.py",
    "test_flagserver_process.py",
    "test_scenarios_gates.py",
    "test_scenarios_metrics.py",
    "test_scenarios_server.py",
    "test_drive_killed.py",
    "test_client_silence.py",
    "test_metrics_cloudwatch.py",
)
"""Files that wait for the clock, or compute for long: begun first, so that none is left over at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {name: rank for rank, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))


def _refuse_a_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not report.skipped:
        return
    skipped = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    reason = vars(report).pop("wasxfail", skipped)  # pytest counts no failure that carries this mark
    report.outcome = "failed"
    report.longrepr = f"Nothing may be skipped or expected to fail: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_a_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_a_skip(report)
    return report
