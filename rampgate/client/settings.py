"""How a client is set up: what the environment says, and what cannot be meant. Nothing here touches a network."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

URL, KEY, ENVIRONMENT = "RAMPGATE_URL", "RAMPGATE_KEY", "RAMPGATE_ENVIRONMENT"
CACHE, BOOTSTRAP, OVERRIDES = "RAMPGATE_CACHE", "RAMPGATE_BOOTSTRAP", "RAMPGATE_OVERRIDES"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment says. ``url`` and ``key`` are ``None`` for local work on overrides alone."""

    url: str | None
    key: str | None
    environment: str = "production"
    cache: str | None = None
    bootstrap: str | None = None
    overrides: Mapping[str, object]


def from_env(env: Mapping[str, str]) -> Settings:
    """Read the ``RAMPGATE_*`` variables.

    Raises:
        ValueError: address or key is missing, unless overrides alone were asked for; or the overrides are unreadable.
    """
    overrides = parse_overrides(env.get(OVERRIDES, ""))
    missing = [name for name in (URL, KEY) if not env.get(name)]
    alone = bool(overrides) and len(missing) == 2
    if missing and not alone:
        raise ValueError(f"{' and '.join(missing)}: not set; the client needs the flag server's address and a key")
    return Settings(
        url=env.get(URL) or None,
        key=env.get(KEY) or None,
        environment=env.get(ENVIRONMENT) or "production",
        cache=env.get(CACHE) or None,
        bootstrap=env.get(BOOTSTRAP) or None,
        overrides=overrides,
    )


def parse_overrides(text: str) -> dict[str, object]:
    """``new-checkout=true,shop=green``, or a JSON object: a value, or the name of a variant, by flag.

    Raises:
        ValueError: it is neither.
    """
    text = text.strip()
    if text.startswith("{"):
        try:
            found = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{OVERRIDES} is no JSON object: {error}") from None
        assert isinstance(found, dict)
        return found
    overrides: dict[str, object] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        flag, equals, value = part.partition("=")
        if not equals or not flag.strip():
            raise ValueError(f"{OVERRIDES}: {part!r} is not flag=value")
        overrides[flag.strip()] = _value(value.strip())
    return overrides


def _value(text: str) -> object:
    """A JSON scalar, or text as it stands."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float | str) else text


def check(url: str, key: str, environment: str, outcome_timeout: float) -> None:
    """Raises ``ValueError`` for what cannot be meant."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no address of a flag server: http://… or https://…")
    if not key or not key.isascii() or not key.isprintable():
        raise ValueError("the key is empty or holds characters that no key has")
    if not environment:
        raise ValueError("the environment is empty")
    if not outcome_timeout > 0:
        raise ValueError(f"outcome_timeout is {outcome_timeout!r}: seconds, more than 0")
