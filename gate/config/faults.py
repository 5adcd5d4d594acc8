"""pydantic's errors → problems as people read them: path, value, what is allowed, what was probably meant."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gate.config.models import File
from gate.config.sources import KINDS, sources_of, word_of
from gate.config.words import listed
from rampgate.problem import Problem

Place = tuple[str | int, ...]

_PASSWORD = re.compile(r"//[^/\s\"]*@")
_KINDS: Mapping[str, str] = {
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping of keys",
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """A problem with its place in the document. ``unknown``: the key itself has no meaning."""

    place: Place
    unknown: bool
    problem: Problem


def faults(error: ValidationError, *, root: type[BaseModel] = File, above: Place = ()) -> Iterator[Fault]:
    """What pydantic found, in its order, in what ``root`` reads at the place ``above``."""
    for details in error.errors(include_url=False):
        place = tuple(part for part in details["loc"] if not (isinstance(part, str) and part.startswith("=")))
        place = (*above, *place)
        yield Fault(place, details["type"] == "extra_forbidden", _problem(details, place, root))


def _problem(details: ErrorDetails, place: Place, root: type[BaseModel]) -> Problem:
    path = dotted(place)
    given = "***" if "headers" in place[:-1] else details["input"]
    match details["type"]:
        case "allowed":
            context = details["ctx"]
            return Problem(path, shown(given), context["allowed"], context["hint"])
        case "extra_forbidden":
            keys = _keys_at(details["loc"][:-1], root)
            near = get_close_matches(str(place[-1]), keys, n=1)
            return Problem(path, "this key", listed(sorted(keys)), near[0] if near else None)
        case "missing":
            return Problem(path, "nothing", _description(details["loc"], root))
        case "metric":
            return _metric(path, given)
        case "check":
            return Problem(path, shown(given), "a mapping with url or with command")
        case "too_short" | "too_long":
            return Problem(path, shown(given), _length(details["ctx"]))
        case kind:
            return Problem(path, shown(given), _KINDS.get(kind, details["msg"]))


def _metric(path: str, given: Any) -> Problem:
    """A metric of no kind, or of a source that has none such."""
    word = word_of(given)
    if word is None:
        words = ", ".join(("errors", *KINDS))
        return Problem(path, shown(given), f"one of {words}, with {listed(sources_of('errors'))}")
    names = sources_of(word)
    hint = get_close_matches(given[word], names, n=1) if isinstance(given[word], str) else []
    return Problem(f"{path}.{word}", shown(given[word]), listed(names), *hint)


def _length(context: Mapping[str, Any]) -> str:
    if "min_length" in context:
        return f"a list of at least {context['min_length']}"
    most = context["max_length"]
    return "a list of exactly one" if most == 1 else f"a list of at most {most}"


def dotted(place: Sequence[str | int]) -> str:
    """``("steps", 0, "bake")`` → ``steps[0].bake``."""
    path = ""
    for part in place:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path or "the file"


def shown(value: Any) -> str:
    """A value as a message shows it: JSON, never longer than a line, and without the password of an address."""
    text = _PASSWORD.sub("//***@", json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= 60 else text[:59] + "…"


def _keys_at(place: Sequence[str | int], root: type[BaseModel]) -> list[str]:
    model = _model_at(place, root)
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _description(place: Sequence[str | int], root: type[BaseModel]) -> str:
    model = _model_at(place[:-1], root)
    for name, field in model.model_fields.items() if model else ():
        if place[-1] == (field.alias or name):
            return (field.description or "a value").rstrip(".")
    return "a value"


def _model_at(place: Sequence[str | int], root: type[BaseModel]) -> type[BaseModel] | None:
    """The model that reads the mapping at this place of pydantic's, in which tags of unions begin with ``=``."""
    model = root
    choices: list[type[BaseModel]] = [root]
    for part in place:
        if isinstance(part, int):
            continue
        if part.startswith("="):
            choices = [one for one in choices if _tagged(one, part[1:])]
        else:
            fields = {field.alias or name: field for name, field in model.model_fields.items()}
            if part not in fields:
                return None
            choices = list(_models_in(fields[part].annotation))
        if len(choices) == 1:
            model = choices[0]
    return model if len(choices) == 1 else None


def _tagged(model: type[BaseModel], tag: str) -> bool:
    return tag in model.model_fields or tag in get_args(getattr(model.model_fields.get("errors"), "annotation", None))


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
