"""What the JSON spoken between client, gate and server has in common. Knows nothing of what is spoken about."""

from typing import Any, Final

STRICT: Final[dict[str, Any]] = {"extra": "forbid"}
"""As ``__pydantic_config__`` of a dataclass: whoever validates it refuses a field that it does not know."""

LATENCY_BOUNDS_MS: Final = (1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0)
"""Upper bounds of the histogram in which clients count latency, in milliseconds; one more takes what is slower."""

FORCE: Final = "rampgate-force"
"""The header, cookie, query parameter and context attribute that carry tester tokens; headers in any case."""
