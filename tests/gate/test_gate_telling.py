"""Whoever tells people goes on telling, whatever befalls it."""

import threading
from pathlib import Path

from gate.github.no_github import NoGitHub
from gate.runner_files import RunnerFiles
from gate.telling import Audience, Telling
from rampgate.rollout import Entry
from tests.gate.report.story import Story


class OnceBroken:
    """A flag server whose history fails the first time, in a way that nobody foresaw."""

    asked = 0

    def entries(self, _rollout_id: str) -> tuple[Entry, ...]:
        self.asked += 1
        if self.asked == 1:
            raise OSError(28, "No space left on device")
        return ()


def test_a_telling_that_fails_is_said_and_the_next_one_arrives(tmp_path: Path) -> None:
    lines: list[str] = []
    failed = threading.Event()

    def say(line: str) -> None:
        lines.append(line)
        if "Telling failed" in line:
            failed.set()

    files = RunnerFiles(summary_path=tmp_path / "summary.md")
    audience = Audience(say=say, files=files, server=OnceBroken(), github=lambda: NoGitHub(say))  # type: ignore[arg-type]
    telling = Telling(audience, lambda: 0.0)
    story = Story()
    telling(story.rollout(), ())
    assert failed.wait(5), lines
    telling(story.up().rollout(), ())
    telling.close()
    assert (tmp_path / "summary.md").exists()
