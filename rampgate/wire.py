"""What the JSON spoken between client, gate and server has in common. Knows nothing of what is spoken about."""

from typing import Any, Final

STRICT: Final[dict[str, Any]] = {"extra": "forbid"}
"""As ``__pydantic_config__`` of a dataclass: whoever validates it refuses a field that it does not know."""
