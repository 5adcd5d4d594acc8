"""The commands beside the server, and the settings that all of them read."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flagserver.cli import MOST_IMPORT, cli, main
from flagserver.errors import FlagServerError, NotFoundError, SettingsError, TooLargeError
from flagserver.settings import SETTINGS, Keep, LogForm, Settings, read_settings

LAMP = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}


@pytest.fixture
def box(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a database, in which commands run."""
    monkeypatch.setenv("FLAGSERVER_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("FLAGSERVER_LOG_LEVEL", "error")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def test_a_key_is_shown_when_it_is_made_and_never_again(box: Path) -> None:
    key = run("keys", "create", "--role", "operator", "--environment", "production", "--name", "ci").stdout.strip()
    assert re.fullmatch(r"rg_operator_[0-9a-f]{12}_[\w-]{43}", key)
    selector, secret = key.split("_", 3)[2:]
    listed = run("keys", "list").stdout
    assert selector in listed
    assert secret not in listed
    assert secret.encode() not in (box / "flagserver.db").read_bytes()
    assert run("keys", "revoke", selector).exit_code == 0
    assert "revoked" in run("keys", "list").stdout
    assert isinstance(run("keys", "revoke", selector).exception, FlagServerError)


@pytest.mark.usefixtures("box")
def test_keys_are_made_to_end_and_followed_by_another() -> None:
    wish = ("--role", "client", "--environment", "production", "--name", "pages", "--origin", "https://shop.example")
    first = run("keys", "create", *wish, "--expires", "90d").stdout.split("_")[2]
    second = run("keys", "rotate", first, "--overlap", "0m").stdout.split("_")[2]
    listed = {line.split()[0]: line for line in run("keys", "list").stdout.splitlines()}
    assert "ended" in listed[first]
    assert "until" in listed[second]
    assert "never used" in listed[second]
    assert run("keys", "create", *wish, "--expires", "soon").exit_code == 2
    assert isinstance(run("keys", "rotate", first).exception, FlagServerError)


@pytest.mark.usefixtures("box")
def test_a_repository_is_trusted_and_then_no_longer() -> None:
    ids = ("--repository", "acme/shop", "--repository-id", "1", "--owner-id", "7", "--environment", "production")
    what = ("--flag", "shop", "--flag", "cart", "--workflow", ".github/workflows/release.yml")
    policy = run("trust", "add", *ids, *what, "--job-environment", "production").stdout.strip()
    listed = run("trust", "list").stdout
    assert f"{policy}  acme/shop (id 1, owner 7) → production" in listed
    for line in ("flags: shop, cart", "refs: refs/heads/main", "job environments: production", "role: operator"):
        assert line in listed
    assert run("trust", "add", *ids).exit_code == 2
    wrong = run("trust", "add", *ids, "--flag", "shop", "--workflow", "release.yml").exception
    assert isinstance(wrong, FlagServerError)
    assert [one.path for one in wrong.problems] == ["workflows.0"]
    assert run("trust", "sessions").stdout == ""
    assert isinstance(run("trust", "end", "0123456789ab").exception, FlagServerError)
    assert run("trust", "remove", policy).exit_code == 0
    assert run("trust", "list").stdout == ""


def test_a_flagd_file_comes_in_and_goes_out(box: Path) -> None:
    one = {
        "state": "ENABLED", "variants": {"a": 1, "b": 2}, "defaultVariant": "a",
        "targeting": {"if": [{"$ref": "gold"}, "b", "a"]},
    }  # fmt: skip
    document = {"flags": {"one": one}, "$evaluators": {"gold": {"==": [{"var": "tier"}, "gold"]}}}
    (box / "flags.json").write_text(json.dumps(document))
    assert run("import", "flags.json", "--environment", "production").exit_code == 0
    exported = json.loads(run("export", "--environment", "production").stdout)
    rule = {"if": [{"==": [{"var": "tier"}, "gold"]}, "b", "a"]}
    assert exported["flags"] == {"one": {**one, "targeting": rule}}
    (box / "again.json").write_text(json.dumps(exported))
    assert run("import", "again.json", "--environment", "production").exit_code == 0


def test_a_file_with_problems_changes_nothing_and_names_them_all(box: Path) -> None:
    good = {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a"}
    (box / "bad.json").write_text(json.dumps({"flags": {"good": good, "x": {"state": "NO"}, "y y": good}}))
    error = run("import", "bad.json", "--environment", "production").exception
    assert isinstance(error, FlagServerError)
    assert {"flags.x.state", "flags.y y"} <= {one.path for one in error.problems}
    assert isinstance(run("export", "--environment", "production").exception, NotFoundError)


def test_a_command_in_the_wrong_place_says_so_and_makes_no_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLAGSERVER_DATABASE_URL", raising=False)
    for words in ("keys list", "abort shop --environment production", "backup x.db", "trust list"):
        error = run(*words.split()).exception
        assert isinstance(error, SettingsError)
        assert f"There is no database {tmp_path / 'flagserver.db'}" in error.message
    assert list(tmp_path.iterdir()) == []
    assert run("migrate").exit_code == 0
    assert run("keys", "list").exit_code == 0


@pytest.mark.usefixtures("box")
def test_an_environment_that_has_no_flags_is_not_exported_as_an_empty_one() -> None:
    Path("flags.json").write_text(json.dumps({"flags": {"lamp": LAMP}}))
    assert (
        run("import", "flags.json", "--environment", "production").stdout == "production has 1 flag as the file says.\n"
    )
    error = run("export", "--environment", "prodution").exception
    assert isinstance(error, FlagServerError)
    assert "Environments with flags: production. Did you mean production?" in error.message


def test_a_backup_that_cannot_be_written_says_why(box: Path) -> None:
    error = run("backup", str(box / "nowhere" / "copy.db")).exception
    assert isinstance(error, SettingsError)
    assert "copy.db could not be written" in error.message


@pytest.mark.usefixtures("box")
def test_a_file_that_is_too_large_is_called_that() -> None:
    Path("flags.json").write_bytes(b" " * (MOST_IMPORT + 1))
    assert isinstance(run("import", "flags.json", "--environment", "production").exception, TooLargeError)


def test_every_problem_has_a_line_of_its_own(
    box: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (box / "bad.json").write_text(json.dumps({"flags": {"x": {"state": "NO", "variants": {}}}}))
    monkeypatch.setattr("sys.argv", ["flagserver", "import", "bad.json", "--environment", "production"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[:2] for line in lines] == [
        ["flagserver", " flags.x.state"], ["flagserver", " flags.x.variants"],
    ]  # fmt: skip


def test_a_backup_is_written_once(box: Path) -> None:
    assert run("backup", "copy.db").exit_code == 0
    assert (box / "copy.db").stat().st_size > 0
    assert isinstance(run("backup", "copy.db").exception, SettingsError)
    assert run("migrate").exit_code == 0


@pytest.mark.usefixtures("box")
def test_an_abort_of_what_does_not_ramp_says_so() -> None:
    assert isinstance(run("abort", "shop", "--environment", "production").exception, FlagServerError)


def test_without_settings_the_server_runs_on_a_file_and_on_this_machine_only() -> None:
    assert read_settings({"PATH": "/bin"}) == Settings()
    assert (Settings().host, Settings().database_url) == ("127.0.0.1", "sqlite:///flagserver.db")


def test_every_setting_is_read() -> None:
    values = {
        "FLAGSERVER_DATABASE_URL": "sqlite:///kkk", "FLAGSERVER_ADMIN_KEY": "k" * 32, "FLAGSERVER_LISTEN": "[::1]:0",
        "FLAGSERVER_LOG": "json", "FLAGSERVER_LOG_LEVEL": "error", "FLAGSERVER_THREADS": "3",
        "FLAGSERVER_MAX_STREAMS": "7", "FLAGSERVER_MAX_PAGE_STREAMS": "0",
        "FLAGSERVER_TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.7",
        "FLAGSERVER_PUBLIC_URL": "https://flags.example.com/", "FLAGSERVER_OIDC_ISSUER": "https://ghe.example.com/_services/token",
        "FLAGSERVER_STATE_DIR": "/var/lib/flagserver", "FLAGSERVER_KEEP_TELEMETRY_DAYS": "8",
        "FLAGSERVER_KEEP_LOOKS_DAYS": "9", "FLAGSERVER_KEEP_AUDIT_DAYS": "10",
    }  # fmt: skip
    assert set(values) == set(SETTINGS)
    read = read_settings(values)
    assert (read.host, read.port, read.log, read.threads) == ("::1", 0, LogForm.JSON, 3)
    assert (read.max_streams, read.max_page_streams) == (7, 0)
    assert [str(one) for one in read.trusted_proxies] == ["10.0.0.0/8", "192.0.2.7/32"]
    assert (read.public_url, read.oidc_issuer) == (
        "https://flags.example.com", "https://ghe.example.com/_services/token",
    )  # fmt: skip
    assert (read.state_dir, read.keep) == ("/var/lib/flagserver", Keep(telemetry=8, looks=9, audit=10))
    assert "kkk" not in repr(read)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"FLAGSERVER_DATABASE": "x"}, "Did you mean FLAGSERVER_DATABASE_URL"),
        ({"FLAGSERVER_LISTEN": "8080"}, "address:port"),
        ({"FLAGSERVER_LISTEN": "x:99999"}, "address:port"),
        ({"FLAGSERVER_LOG": "jsn"}, "Did you mean json"),
        ({"FLAGSERVER_THREADS": "0"}, "a number from 1 to 64"),
        ({"FLAGSERVER_TRUSTED_PROXIES": "10.0.0.1/8"}, "addresses or networks"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_what_is_allowed(environ: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        read_settings(environ)


def test_all_wrong_settings_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({"FLAGSERVER_LOG": "x", "FLAGSERVER_THREADS": "x", "FLAGSERVER_X": "x"})
    assert {one.path for one in caught.value.problems} == {"FLAGSERVER_LOG", "FLAGSERVER_THREADS", "FLAGSERVER_X"}
