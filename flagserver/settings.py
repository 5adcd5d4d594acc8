"""The server's settings, from ``FLAGSERVER_*``: read once, all problems at once. Knows no other source."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeVar
from urllib.parse import urlsplit

from flagserver.errors import SettingsError
from rampgate.problem import Problem

PREFIX = "FLAGSERVER_"
Word = TypeVar("Word", bound=StrEnum)

GITHUB = "https://token.actions.githubusercontent.com"
"""Who signs the OIDC tokens of GitHub's jobs. Source: "OpenID Connect reference" in GitHub's documentation."""

Network = IPv4Network | IPv6Network


class LogForm(StrEnum):
    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """For how many days: telemetry by minute, the looks of finished rollouts, the audit log."""

    telemetry: int = 61
    looks: int = 90
    audit: int = 730


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How one server runs. ``port`` 0 takes a free one; ``max_streams`` bounds open change streams,
    ``max_page_streams`` those of web pages."""

    database_url: str = field(default="sqlite:///flagserver.db", repr=False)
    admin_key: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    port: int = 8080
    log: LogForm = LogForm.CONSOLE
    log_level: LogLevel = LogLevel.INFO
    threads: int = 8
    max_streams: int = 10_000
    max_page_streams: int = 5_000
    state_dir: str | None = None
    keep: Keep = field(default_factory=Keep)
    public_url: str | None = None
    oidc_issuer: str = GITHUB
    trusted_proxies: tuple[Network, ...] = ()


SETTINGS: Mapping[str, str] = {
    "FLAGSERVER_DATABASE_URL": "Where rollouts and flags are kept: sqlite:///file or postgresql://user@host/name.",
    "FLAGSERVER_ADMIN_KEY": "An admin key, or a secret of at least 32 characters; never stored.",
    "FLAGSERVER_LISTEN": "Address and port, as 127.0.0.1:8080; port 0 takes a free one and says which.",
    "FLAGSERVER_LOG": "Form of the log: console or json.",
    "FLAGSERVER_LOG_LEVEL": "What is logged: debug, info, warning or error.",
    "FLAGSERVER_THREADS": "Threads for requests that use the database: 1 to 64.",
    "FLAGSERVER_MAX_STREAMS": "Change streams open at once: 1 to 100000.",
    "FLAGSERVER_MAX_PAGE_STREAMS": "Web pages that are told of changes at once: 0 to 100000; 0: none is.",
    "FLAGSERVER_STATE_DIR": "Folder for aborts that the database could not take; with SQLite its file's, else none.",
    "FLAGSERVER_KEEP_TELEMETRY_DAYS": "Days for which counts by minute are kept; those of unfinished rollouts longer.",
    "FLAGSERVER_KEEP_LOOKS_DAYS": "Days after a rollout's end for which looks that decided nothing are kept.",
    "FLAGSERVER_KEEP_AUDIT_DAYS": "Days for which the audit log is kept.",
    "FLAGSERVER_PUBLIC_URL": "The address that gates and apps use, as https://flags.example.com. Jobs' tokens name it.",
    "FLAGSERVER_OIDC_ISSUER": "Who signs the tokens of jobs: GitHub, unless it is your own GitHub Enterprise Server.",
    "FLAGSERVER_TRUSTED_PROXIES": "Proxies whose X-Forwarded-For is believed, as 10.0.0.0/8,192.0.2.7; else nobody's.",
}
"""Every setting and what it does."""


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: everything that is wrong with them, at once.
    """
    wrong: list[Problem] = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in SETTINGS:
            near = get_close_matches(name, SETTINGS, n=1, cutoff=0.5)
            wrong.append(Problem(name, "set", "one of " + ", ".join(SETTINGS), near[0] if near else None))
    listen = environ.get("FLAGSERVER_LISTEN", "127.0.0.1:8080")
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        wrong.append(Problem("FLAGSERVER_LISTEN", repr(listen), "address:port, as 127.0.0.1:8080"))
        port = "0"
    read = _Reader(environ, wrong)
    settings = Settings(
        database_url=environ.get("FLAGSERVER_DATABASE_URL") or Settings().database_url,
        admin_key=environ.get("FLAGSERVER_ADMIN_KEY"),
        host=host.strip("[]"),
        port=int(port),
        log=read.word("FLAGSERVER_LOG", LogForm, LogForm.CONSOLE),
        log_level=read.word("FLAGSERVER_LOG_LEVEL", LogLevel, LogLevel.INFO),
        threads=read.number("FLAGSERVER_THREADS", 8, 1, 64),
        max_streams=read.number("FLAGSERVER_MAX_STREAMS", 10_000, 1, 100_000),
        max_page_streams=read.number("FLAGSERVER_MAX_PAGE_STREAMS", 5_000, 0, 100_000),
        keep=Keep(
            telemetry=read.number("FLAGSERVER_KEEP_TELEMETRY_DAYS", Keep().telemetry, 1, 36_500),
            looks=read.number("FLAGSERVER_KEEP_LOOKS_DAYS", Keep().looks, 1, 36_500),
            audit=read.number("FLAGSERVER_KEEP_AUDIT_DAYS", Keep().audit, 1, 36_500),
        ),
        state_dir=environ.get("FLAGSERVER_STATE_DIR") or None,
        public_url=read.address("FLAGSERVER_PUBLIC_URL"),
        oidc_issuer=read.address("FLAGSERVER_OIDC_ISSUER") or GITHUB,
        trusted_proxies=read.networks("FLAGSERVER_TRUSTED_PROXIES"),
    )
    if wrong:
        raise SettingsError("\n".join(str(one) for one in wrong), problems=tuple(wrong))
    return settings


def origin_of(url: str) -> str | None:
    """Scheme, host and port of an address as browsers write it; ``None``: it is none, or would carry secrets openly."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    plain = parts.scheme == "http" and host is not None and _is_loopback(host)
    if not host or not (parts.scheme == "https" or plain) or not url.isascii() or not url.isprintable():
        return None
    if parts.username or parts.password or parts.query or parts.fragment:
        return None
    shown = f"[{host}]" if ":" in host else host
    own = {"https": 443, "http": 80}[parts.scheme]
    return f"{parts.scheme}://{shown}" + (f":{port}" if port not in (None, own) else "")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class _Reader:
    environ: Mapping[str, str]
    wrong: list[Problem]

    def number(self, name: str, default: int, least: int, most: int) -> int:
        text = self.environ.get(name, str(default))
        if text.isdecimal() and least <= int(text) <= most:
            return int(text)
        self.wrong.append(Problem(name, repr(text), f"a number from {least} to {most}"))
        return default

    def address(self, name: str) -> str | None:
        text = self.environ.get(name, "").rstrip("/")
        if text and origin_of(text) is None:
            # An address with a password in it must not reach the log.
            allowed = "an address such as https://flags.example.com, without user, query or fragment; http on loopback"
            self.wrong.append(Problem(name, "what is set", allowed))
        return text or None

    def networks(self, name: str) -> tuple[Network, ...]:
        found: list[Network] = []
        for text in filter(None, (one.strip() for one in self.environ.get(name, "").split(","))):
            try:
                found.append(ip_network(text))
            except ValueError:
                self.wrong.append(Problem(name, repr(text), "addresses or networks, as 10.0.0.0/8,192.0.2.7"))
        return tuple(found)

    def word(self, name: str, words: Callable[[str], Word], default: Word) -> Word:
        text = self.environ.get(name, default.value)
        try:
            return words(text)
        except ValueError:
            allowed = [one.value for one in type(default)]
            near = get_close_matches(text, allowed, n=1)
            self.wrong.append(Problem(name, repr(text), "one of " + ", ".join(allowed), near[0] if near else None))
            return default
