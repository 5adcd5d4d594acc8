"""The configuration's part that is each source's own: its keys are made from the source's options, and read into them.

Options named ``requests`` and ``errors`` stand under ``queries``; every other one stands beside it, in camel case.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from functools import cache
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Discriminator, GetJsonSchemaHandler, Tag, create_model
from pydantic import Field as KeyField
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from gate.config.words import Address, Command, Duration, Line, Probe, Variable, Yes, one_of
from gate.keys import As, Key
from gate.metrics import SOURCES, Options
from rampgate.criteria import MetricKind

KINDS: Final[Mapping[str, MetricKind]] = {
    "latency": MetricKind.LATENCY,
    "failures": MetricKind.ERRORS,
    "count": MetricKind.COUNT,
    "mean": MetricKind.MEAN,
    "value": MetricKind.VALUE,
}
"""What a further metric is called in the file, and what it is made of."""

ERRORS = "errors"
_QUERIES = ("requests", "errors")
_KINDS: Mapping[As, Any] = {
    As.TEXT: Line,
    As.ADDRESS: Address,
    As.VARIABLE: Variable,
    As.DURATION: Duration,
    As.COMMAND: Command,
    As.SLOT_ADDRESS: Probe,
    As.YES: Yes,
    As.TEXTS: list[Line],
    As.TEXT_BY_NAME: dict[Line, Line],
    As.TEXT_BY_SLOT: dict[Line, Line | dict[Line, Line]],
    As.VARIABLES: dict[Line, Variable],
}


def word_of(value: Any) -> str | None:
    """The key that says what a metric is: ``errors``, or one of ``KINDS``."""
    return next((word for word in (ERRORS, *KINDS) if isinstance(value, dict) and word in value), None)


def sources_of(word: str) -> list[str]:
    """The sources that give such a metric."""
    return [name for name, options in SOURCES.items() if word == ERRORS or KINDS[word] in options.gives]


def _tag(value: Any) -> str | None:
    word = word_of(value)
    source = value[word] if word is not None else None
    if word is None or not isinstance(source, str) or source not in sources_of(word):
        return None
    return f"={source}" if word == ERRORS else "=further"


def metric(keys: type[BaseModel], further: type[BaseModel]) -> Any:
    """The annotation of one metric: the keys of whichever source it names.

    ``keys`` is what all mappings have, ``further`` what all further metrics have; these stay as they came, for
    ``further_model`` to read: most files have none, and so many models would cost each start a quarter of a second.
    """
    made: Any = Annotated[dict[str, Any], _FurtherSchema(further), Tag("=further")]
    for name, options in SOURCES.items():
        model: Any = _model(name, options, keys)
        made = made | Annotated[model, Tag(f"={name}")]
    return Annotated[made, Discriminator(_tag, custom_error_type="metric", custom_error_message="metric")]


@dataclass(frozen=True)
class _FurtherSchema:
    """What editors are told of further metrics."""

    keys: type[BaseModel]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        models = [further_model(name, self.keys) for name in SOURCES]
        return {"anyOf": [one.model_json_schema(by_alias=True, mode="validation") for one in models]}


@cache
def further_model(name: str, keys: type[BaseModel]) -> type[BaseModel]:
    """The keys of a further metric from this source. What is left out may stand with the errors, so all may be."""
    options = SOURCES[name]
    hints = get_type_hints(options, include_extras=True)
    given: dict[str, Any] = {
        word: (Literal[name] | None, KeyField(default=None, description=f"The source: {name}."))
        for word, kind in KINDS.items()
        if kind in options.gives
    }
    for one in connection(options):
        reader, said = field_of(hints[one.name], one)
        given[one.name] = (reader | None, KeyField(default=None, description=said.description))
    text = "What to ask, once for each arm."
    given["queries"] = (dict[Line, Line | dict[Line, Line]], KeyField(default={}, description=text))
    told = (options.__doc__ or "").partition("\n")[0]
    return create_model(f"{name.title()}FurtherKeys", __base__=keys, __doc__=told, **given)


def connection(options: type[Options]) -> tuple[Field[Any], ...]:
    """The options that say whom to ask and how, without what to ask."""
    return tuple(one for one in _fields(options) if one.name not in _QUERIES)


def _model(name: str, options: type[Options], keys: type[BaseModel]) -> type[BaseModel]:
    hints = get_type_hints(options, include_extras=True)
    beside: dict[str, Any] = {"errors": (Literal[name], KeyField(description=f"The source: {name}."))}
    under: dict[str, Any] = {}
    for one in _fields(options):
        (under if one.name in _QUERIES else beside)[one.name] = field_of(hints[one.name], one)
    said = (options.__doc__ or "").partition("\n")[0]
    if under:
        inside = create_model(
            f"{name.title()}Queries", __base__=keys, __doc__="What to ask, once for each arm.", **under
        )
        needed = all(one.is_required() for one in inside.model_fields.values())
        text = (
            KeyField(description="What to ask it.")
            if needed
            else KeyField(default=inside(), description="What to ask.")
        )
        beside["queries"] = (inside, text)
    return create_model(f"{name.title()}Keys", __base__=keys, __doc__=said, **beside)


def _fields(options: type[Options]) -> tuple[Field[Any], ...]:
    found: tuple[Field[Any], ...] = fields(options)  # type: ignore[arg-type]
    return found


def field_of(hint: Any, one: Field[Any]) -> tuple[Any, Any]:
    """How pydantic reads an option, from what the option says of itself."""
    plain, *said = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    key = next(each for each in said if isinstance(each, Key))
    if key.kind is As.CHOICE:
        reader: Any = Annotated[plain, *one_of(*plain)]
    else:
        reader = _KINDS[key.kind]
    if one.name in _QUERIES:
        return reader, KeyField(description=key.text)
    if one.default_factory is not MISSING:
        return reader, KeyField(default_factory=one.default_factory, description=key.text)
    if one.default is MISSING:
        return reader, KeyField(description=key.text)
    if one.default is None:
        return reader | None, KeyField(default=None, description=key.text)
    return reader, KeyField(default=one.default, description=key.text)


def options_of(keys: BaseModel) -> Options:
    """The source's options as the file gives them."""
    name = str(keys.errors)  # type: ignore[attr-defined]
    kind = SOURCES[name]
    queries = getattr(keys, "queries", None)
    given = {one.name: getattr(queries if one.name in _QUERIES else keys, one.name) for one in _fields(kind)}
    return kind(**given)
