"""What GitHub's runner reads from us, and that nobody else's text can speak in our name."""

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate import terminal
from gate.errors import MisuseError
from gate.runner_files import (
    SUMMARY_LIMIT,
    Level,
    RunnerFiles,
    annotation,
    as_people_read,
    debug,
    end_group,
    entry,
    group,
    mask,
)
from gate.step import say

FIXED = UUID(int=7)


def as_the_runner_reads(text: str) -> dict[str, str]:
    """The runner's own reading of an output file: `name<<DELIMITER`, lines, `DELIMITER`."""
    values, lines = {}, iter(text.split("\n"))
    for line in lines:
        if not line:
            continue
        name, _, delimiter = line.partition("<<")
        assert "=" not in name
        value = []
        for inner in lines:
            if inner == delimiter:
                break
            value.append(inner)
        else:
            raise AssertionError(f"{name} never ends")
        values[name] = "\n".join(value)
    return values


def test_outputs_state_and_summary_go_where_the_runner_looks(tmp_path: Path) -> None:
    files = RunnerFiles(
        output_path=tmp_path / "output", state_path=tmp_path / "state", summary_path=tmp_path / "summary"
    )
    (tmp_path / "output").write_text("earlier=1\n")
    files.output("decision", "promoted")
    files.output("result", '{"a": "b=c<<d"}\nsecond line\n')
    files.state("rollout", "r-1")
    files.summary("# one")
    files.summary("# two")
    read = as_the_runner_reads((tmp_path / "output").read_text().removeprefix("earlier=1\n"))
    assert read == {"decision": "promoted", "result": '{"a": "b=c<<d"}\nsecond line\n'}
    assert as_the_runner_reads((tmp_path / "state").read_text()) == {"rollout": "r-1"}
    assert (tmp_path / "summary").read_text() == "# two"


def test_every_value_has_a_delimiter_of_its_own(tmp_path: Path) -> None:
    files = RunnerFiles(output_path=tmp_path / "output")
    files.output("a", "1")
    files.output("b", "2")
    text = (tmp_path / "output").read_text()
    assert text.splitlines()[0].removeprefix("a<<") != text.splitlines()[3].removeprefix("b<<")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_any_value_comes_back_as_it_was(value: str) -> None:
    assert as_the_runner_reads(entry("name", value, "ghadelimiter_x")) == {"name": value} or "ghadelimiter_x" in value


def test_a_value_with_its_own_delimiter_is_refused(tmp_path: Path) -> None:
    files = RunnerFiles(output_path=tmp_path / "output", new_uuid=lambda: FIXED)
    with pytest.raises(MisuseError, match="its own delimiter"):
        files.output("a", f"x\nghadelimiter_{FIXED}\nevil<<x")
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a\nb", "a<<b", "1a"])
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(MisuseError, match="cannot name an output"):
        RunnerFiles().output(name, "x")


def test_a_value_too_large_for_github_is_refused() -> None:
    with pytest.raises(MisuseError, match="larger than 512 KiB"):
        RunnerFiles().output("a", "é" * 300_000)


def test_a_summary_too_large_is_cut_and_says_so(tmp_path: Path) -> None:
    RunnerFiles(summary_path=tmp_path / "summary").summary("é" * SUMMARY_LIMIT)
    data = (tmp_path / "summary").read_bytes()
    assert len(data) <= SUMMARY_LIMIT
    assert data.decode().endswith("longer than GitHub keeps.\n")


def test_without_a_runner_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = RunnerFiles()
    files.output("a", "1")
    files.state("a", "1")
    files.summary("x")
    assert list(tmp_path.iterdir()) == []


def test_commands_are_encoded_as_the_runner_decodes_them() -> None:
    assert annotation(Level.ERROR, "50 %\r\nnext: a,b", title="prod: 50 %, x\ny") == (
        "::error title=prod%3A 50 %25%2C x%0Ay::50 %25%0D%0Anext: a,b"
    )
    assert annotation(Level.NOTICE, "x") == "::notice::x"
    assert len(annotation(Level.WARNING, "x" * 9000)) < 4200
    assert mask("s\necret") == "::add-mask::s%0Aecret"
    assert mask(" ") == ""
    assert (group("a\n::b"), end_group(), debug("x")) == ("::group::a%0A::b", "::endgroup::", "::debug::x")


def test_what_a_comment_says_is_no_command_to_the_runner_though_it_is_said_in_the_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say("No rollout here is called `##[error]boom`, nor ##[add-mask]e")
    said = capsys.readouterr().out
    assert "boom" in said
    assert "##[" not in said


def test_only_the_first_line_of_what_is_said_is_a_command_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    say("::notice::ours\n::error::theirs\n  ::add-mask::e\r::stop-commands::x\u2028::debug::y\n  at home")
    first, *further = capsys.readouterr().out.splitlines()
    assert first == "::notice::ours"
    assert not any(line.strip().startswith("::") for line in further)
    assert further[-1] == "  at home"


@given(
    st.sampled_from(Level),
    st.text(st.characters(exclude_characters="\n\r"), max_size=60),
    st.sampled_from(["", "a: b, c"]),
)
def test_where_no_runner_reads_an_annotation_is_a_sentence(level: Level, text: str, title: str) -> None:
    named = f" ({title})" if title else ""
    assert as_people_read(annotation(level, text, title=title)) == f"{level}{named}: {text}"


@pytest.mark.parametrize(("runner", "read"), [("true", "::warning::50 %25\n"), ("", "warning: 50 %\n")])
def test_a_terminal_is_told_in_sentences(
    runner: str, read: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", runner)
    terminal.say(annotation(Level.WARNING, "50 %"))
    assert capsys.readouterr().out == read


def test_what_is_no_annotation_is_read_as_it_is() -> None:
    for line in ("rollout=r1 text=x", "::add-mask::x", " ::notice::x", ""):
        assert as_people_read(line) == line


def test_what_cannot_be_written_is_told_and_ends_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    files = RunnerFiles(
        output_path=tmp_path / "nowhere/output", state_path=tmp_path, summary_path=Path("/dev/full"), say=said.append
    )
    for _ in range(2):
        files.output("decision", "promoted")
        files.state("rollout", "ro_1")
        files.summary("# Promoted")
    assert [one.split("::")[1] for one in said] == ["warning title=Rampgate"] * 3
    assert "nowhere/output cannot be written" in said[0]
    assert "No space left" in said[2]
