"""What holds for every test: nothing is skipped.

A test that cannot run here is a failure that says why, so a green run means that everything ran.
"""

from collections.abc import Generator

import pytest


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
