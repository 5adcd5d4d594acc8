"""The configuration's JSON schema, for editors: made from the keys that the gate reads, so that it cannot say others.

`schema.json` beside this file is its printed form; a test holds the two together.
"""

from typing import Any

from gate.config.models import File


def schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12."""
    made = _tidy(File.model_json_schema(by_alias=True, mode="validation"))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": ".github/rampgate.yml", **made}


def _tidy(node: Any) -> Any:
    """Without pydantic's titles, its defaults (many follow from other keys), and the null that no key may hold."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _tidy(value) for key, value in node.items() if not _is_noise(key, value)}
    choices = [each for each in kept.get("anyOf", ()) if each != {"type": "null"}]
    if len(choices) == 1:
        return {**{key: value for key, value in kept.items() if key != "anyOf"}, **choices[0]}
    return kept | {"anyOf": choices} if choices else kept


def _is_noise(key: str, value: Any) -> bool:
    return key == "default" or (key == "title" and isinstance(value, str))
