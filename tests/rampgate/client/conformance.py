"""Flags of every kind that OpenFeature's provider conformance suite asks for, for a scripted server."""

from typing import Any

from tests.rampgate.client.scripted import plain, ramping


def fixed(variants: dict[str, Any], default: str | None, **more: Any) -> dict[str, Any]:
    return {"state": "ENABLED", "variants": variants, "defaultVariant": default, **more}


HIT = {"if": [{"==": [{"var": "targetingKey"}, "ada"]}, "hit", None]}
FLAGS: dict[str, dict[str, Any]] = {
    "boolean": plain(True),
    "string": fixed({"greeting": "hi", "parting": "bye"}, "greeting"),
    "integer": fixed({"one": 1, "ten": 10}, "ten"),
    "float": fixed({"tenth": 0.1, "half": 0.5}, "half"),
    "whole-float": fixed({"ten": 10.0, "one": 1.0}, "ten"),
    "zero-boolean": fixed({"zero": False, "one": True}, "zero"),
    "zero-integer": fixed({"zero": 0, "one": 1}, "zero"),
    "zero-string": fixed({"zero": "", "one": "x"}, "zero"),
    "large": fixed({"max-int32": 2**31 - 1, "one": 1}, "max-int32"),
    "huge": fixed({"max-safe": 2**53 - 1, "one": 1}, "max-safe"),
    "object": fixed({"template": {"showImages": True, "title": "pics", "imagesPerPage": 100}}, "template"),
    "disabled": plain(True) | {"state": "DISABLED"},
    "codeless": fixed({"on": True, "off": False}, None),
    "targeted": fixed({"hit": "hit", "miss": "miss"}, "miss", targeting=HIT),
    "since": fixed(
        {"early": "early", "late": "late"},
        "early",
        targeting={"if": [{"in": ["2025-07", {"var": "joined"}]}, "late", "early"]},
    ),
    "described": plain(True) | {"metadata": {"owner": "checkout", "tier": 1, "ratio": 0.5, "live": True}},
    "shop": ramping(50_000),
}
