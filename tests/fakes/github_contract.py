"""GitHub's own description of its API, and what departs from it: our requests, and the fake's answers.

The description is GitHub's, trimmed (see `trim_github_description.py`). It is OpenAPI 3.0, whose schemas are JSON
Schema but for `nullable`.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import best_match

from tests.fakes.github import Exchange

DESCRIPTION = Path(__file__).with_name("github_description.json")


class Contract:
    def __init__(self, description: dict[str, Any]) -> None:
        self._description = _nullable(description)
        self._paths = [
            (re.compile(re.sub(r"\\\{[a-z_]+\\\}", "([^/]+)", re.escape(path)) + r"\Z"), calls)
            for path, calls in self._description["paths"].items()
        ]

    def departures(self, exchange: Exchange) -> Iterator[str]:
        """Everything in one exchange that GitHub's description does not admit. Faulty answers are not looked at."""
        name = f"{exchange.method} {exchange.path}"
        if exchange.path == "/graphql":
            return  # The description is of the REST API alone.
        call = self._call(exchange)
        if call is None:
            yield f"{name}: no such call"
            return
        for fault in self._request(call, exchange):
            yield f"{name}: {fault}"
        if not exchange.faulty:
            for fault in self._answer(call, exchange):
                yield f"{name}: {exchange.status}: {fault}"

    def _call(self, exchange: Exchange) -> dict[str, Any] | None:
        for pattern, calls in self._paths:
            if pattern.match(exchange.path) and exchange.method.lower() in calls:
                return calls[exchange.method.lower()]
        # A file's path may hold slashes, which a parameter of a path cannot say.
        if "/contents/" in exchange.path and exchange.method == "GET":
            return self._description["paths"]["/repos/{owner}/{repo}/contents/{path}"]["get"]
        return None

    def _request(self, call: dict[str, Any], exchange: Exchange) -> Iterator[str]:
        known = {}
        for parameter in map(self._followed, call.get("parameters", ())):
            if parameter["in"] == "query":
                known[parameter["name"]] = parameter["schema"]
        for key, value in exchange.query.items():
            if key not in known:
                yield f"unknown query parameter {key}"
            elif self._followed(known[key]).get("type") == "integer" and not value.isdigit():
                yield f"query parameter {key} is {value!r}, not a whole number"
        if "requestBody" not in call:
            if exchange.body is not None:
                yield "a body where none belongs"
            return
        schema = call["requestBody"]["content"]["application/json"]["schema"]
        yield from self._faults(schema, exchange.body)
        for key in set(exchange.body or ()) - set(self._followed(schema).get("properties", ())):
            yield f"unknown field {key}"

    def _answer(self, call: dict[str, Any], exchange: Exchange) -> Iterator[str]:
        described = call["responses"].get(str(exchange.status))
        if described is None:
            # The description leaves out refusals that every call can meet.
            if exchange.status not in (401, 403, 404, 422):
                yield "a status that this call does not answer"
            yield from self._faults({"$ref": "#/components/schemas/basic-error"}, exchange.answer)
            return
        content = self._followed(described).get("content")
        if content is None:
            if exchange.answer is not None:
                yield "a body where none belongs"
            return
        yield from self._faults(content["application/json"]["schema"], exchange.answer)

    def _followed(self, node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            found: Any = self._description
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            node = found
        return node

    def _faults(self, schema: dict[str, Any], value: Any) -> Iterator[str]:
        whole = {"components": self._description["components"], "allOf": [schema]}
        error = best_match(Draft202012Validator(whole, format_checker=FormatChecker()).iter_errors(value))
        if error is not None:
            place = ".".join(str(part) for part in error.absolute_path) or "the body"
            yield f"{place}: {error.message[:300]}"


@cache
def contract() -> Contract:
    return Contract(json.loads(DESCRIPTION.read_text()))


def _nullable(node: Any) -> Any:
    """The same schemas with OpenAPI's `nullable` in JSON Schema's words."""
    if isinstance(node, list):
        return [_nullable(one) for one in node]
    if not isinstance(node, dict):
        return node
    changed = {key: _nullable(value) for key, value in node.items()}
    if changed.get("nullable") is True:
        changed.pop("nullable")
        return {"anyOf": [changed, {"type": "null"}]}
    return changed
