"""A hook's output: shown as it comes, bounded, harmless, and without secrets."""

import os
import sys
from collections import deque
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.deploy import CommandOptions, Deployment, Done, Failed, Workplace
from gate.deploy.output import LINE, SHOWN, Stream
from gate.foreign import MASK, Secrets, cut, harmless
from tests.gate.deploy.contract import WORK, always

SECRET = "correct-horse-battery"


def _run(folder: Path, command: str | tuple[str, ...], *secrets: str) -> tuple[Deployment, list[str]]:
    said: list[str] = []
    workplace = Workplace(folder=folder, environ=dict(os.environ), say=said.append, secrets=secrets, every=0.05)
    return CommandOptions(command=command).deployer(workplace).run(WORK, always), said


def _python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import sys; out = sys.stdout.buffer; {code}")


def test_lines_are_said_while_the_hook_still_runs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "heard")

    def say(line: str) -> None:
        (tmp_path / "heard").write_text(line + "\n")

    deployer = CommandOptions(command='echo one; read heard <heard; [ "$heard" = one ]').deployer(
        Workplace(folder=tmp_path, say=say, every=0.05)
    )
    assert isinstance(deployer.run(WORK, always), Done)


def test_ten_megabytes_are_read_and_only_some_are_shown(tmp_path: Path) -> None:
    done, said = _run(tmp_path, _python("out.write(b'123 567\\n' * 1250000 + b'end\\n')"))
    assert isinstance(done, Done)
    assert said[-1] == "end" or "not shown" in said[-1]
    assert sum(map(len, said)) <= SHOWN + LINE + 200


def test_a_failing_hook_with_much_output_keeps_its_last_lines(tmp_path: Path) -> None:
    code = "out.write(b'123 567\\n' * 1250000 + b'disk full\\n'); out.flush(); sys.exit(3)"
    failed, _ = _run(tmp_path, _python(code))
    assert isinstance(failed, Failed)
    assert failed.tail[-1] == "disk full"


def test_a_line_without_end_is_cut(tmp_path: Path) -> None:
    done, said = _run(tmp_path, _python("out.write(b'a' * 500000)"))
    assert isinstance(done, Done)
    assert said == ["a" * (LINE - 1) + "…"]


def test_binary_output_is_made_printable(tmp_path: Path) -> None:
    done, said = _run(tmp_path, _python("out.write(bytes(range(256)) * 4000)"))
    assert isinstance(done, Done)
    assert all(line.isprintable() for line in said)


def test_a_last_line_without_newline_is_said(tmp_path: Path) -> None:
    assert _run(tmp_path, "printf 'one\\r\\ntwo\\rthree'")[1] == ["one", "two", "three"]


def test_output_that_a_hook_takes_back_does_not_confuse_the_reader(tmp_path: Path) -> None:
    done, said = _run(tmp_path, "echo one; echo two >/dev/stdout; echo three")
    assert isinstance(done, Done)
    assert said[-2:] == ["two", "three"]


@pytest.mark.parametrize(
    "output",
    [
        f"the key is {SECRET}!",
        f"{SECRET}{SECRET}",
        f"correct-\x1b[1mhorse\x1b[0m-battery in bold {SECRET}",
        "x" * (LINE - 5) + SECRET,
        "x" * (4 * LINE - 5) + SECRET + "y" * 10_000,
        SECRET + "z" * 100_000,
    ],
    ids=["plain", "twice", "coloured", "at the edge of a line", "at the edge of the buffer", "before a long rest"],
)
def test_a_secret_is_never_shown_not_even_in_part(tmp_path: Path, output: str) -> None:
    (tmp_path / "output").write_text(output)
    failed, said = _run(tmp_path, "cat output; exit 1", SECRET)
    assert isinstance(failed, Failed)
    for text in (*said, *failed.tail, failed.text):
        assert SECRET[:4] not in text
    assert said


def test_each_line_of_a_secret_with_several_is_masked(tmp_path: Path) -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADAN\n-----END KEY-----\n"
    _, said = _run(tmp_path, f"printf '%s' '{key}'", key)
    assert said == [MASK, MASK, MASK]


def test_what_begins_inside_a_secret_is_not_shown_after_a_leap() -> None:
    said: list[str] = []
    with TemporaryFile() as file:
        stream = Stream(file, said.append, deque(), Secrets([SECRET]))
        os.write(file.fileno(), (SECRET * 60_000 + "\nlast\n").encode())
        stream.read(ended=True)
    assert said[-1] == "last"
    assert SECRET[-4:] not in "".join(said)


def test_what_the_runner_takes_for_commands_is_plain_text(tmp_path: Path) -> None:
    _, said = _run(tmp_path, "echo '::error::x'; echo '  ::set-output name=decision::promote'; echo 'a ##[error]b'")
    assert said == [": :error::x", "  : :set-output name=decision::promote", "a ## [error]b"]


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;https://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("over\x08\x08write", "over  write"),
        ("right\u202eto left", "right to left"),
        ("\x1b[31m::error::x", ": :error::x"),
        ("\x00::error::x", " : :error::x"),
        ("naïve – ü 🙂", "naïve – ü 🙂"),
        ("std::vector", "std::vector"),
    ],
)
def test_foreign_text_becomes_harmless(raw: str, plain: str) -> None:
    assert harmless(raw) == plain


@given(st.text())
def test_no_text_stays_harmful(text: str) -> None:
    shown = harmless(text)
    assert shown.isprintable()
    assert not shown.lstrip().startswith("::")
    assert "##[" not in shown


@given(st.text(max_size=40), st.text(min_size=1, max_size=8), st.text(max_size=40))
def test_no_secret_survives_masking(before: str, secret: str, after: str) -> None:
    shown = Secrets([secret]).masked(before + secret + after)
    assert not secret.strip() or all(secret.strip() not in piece for piece in shown.split(MASK))


def test_what_is_cut_says_so() -> None:
    assert cut("12345", 5) == "12345"
    assert cut("123456", 5) == "1234…"


def test_secrets_do_not_show_themselves() -> None:
    assert SECRET not in repr(Secrets([SECRET]))
    assert SECRET not in repr(Workplace(secrets=[SECRET], environ={"TOKEN": SECRET}))
