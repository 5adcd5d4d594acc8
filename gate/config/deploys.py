"""The configuration's part that is each deployer's own: keys made from the deployer's options, and read into them.

A deployer with one option is written short, as ``{command: ./deploy.sh}``; others have a mapping of their own.
"""

from dataclasses import fields
from functools import cache
from typing import Any, Final, get_type_hints

from pydantic import BaseModel, create_model, model_validator
from pydantic import Field as KeyField
from pydantic.alias_generators import to_camel

from gate.config.sources import field_of
from gate.config.words import Command, refusal
from gate.deploy import DEPLOYERS, CommandOptions, NoneOptions, Options

_SHORT: Final = ("command", "none")


def deploy_keys(keys: type[BaseModel]) -> Any:
    """The model of ``deploy:``, in which one deployer is named. ``keys`` is what all mappings have."""

    class DeployKeys(keys):  # type: ignore[valid-type, misc]
        """How a version gets into its slot."""

        command: Command | None = KeyField(
            default=None, description="A hook, told by RAMPGATE_ACTION what to do: docs/deployers."
        )
        none: bool | None = KeyField(default=None, description="true: an earlier step has deployed.")

        @model_validator(mode="before")
        @classmethod
        def _one(cls, value: Any) -> Any:
            # A key that is none of ours is a problem of its own, with the name that was probably meant.
            known = isinstance(value, dict) and value.keys() <= DEPLOYERS.keys()
            if known and (len(value) != 1 or value.get("none") is False):
                raise refusal(f"one of {', '.join(DEPLOYERS)}, such as {{command: ./deploy.sh}}")
            return value

    given: dict[str, Any] = {}
    for name, options in DEPLOYERS.items():
        if name not in _SHORT:
            said = (options.__doc__ or "").partition("\n")[0]
            given[_attribute(name)] = (_model(name, keys) | None, KeyField(default=None, description=said, alias=name))
    return create_model("DeployKeys", __base__=DeployKeys, __doc__=DeployKeys.__doc__, **given)


@cache
def _model(name: str, keys: type[BaseModel]) -> Any:
    options = DEPLOYERS[name]
    hints = get_type_hints(options, include_extras=True)
    given: dict[str, Any] = {one.name: field_of(hints[one.name], one) for one in fields(options)}  # type: ignore[arg-type]
    said = (options.__doc__ or "").partition("\n")[0]
    return create_model(f"{to_camel(_attribute(name)).title()}Keys", __base__=keys, __doc__=said, **given)


def deployer_of(keys: Any) -> tuple[str, Options]:
    """The deployer that the file names, and its options as the file gives them."""
    if keys.command is not None:
        return "command", CommandOptions(command=keys.command)
    for name, options in DEPLOYERS.items():
        given = getattr(keys, _attribute(name), None)
        if name not in _SHORT and given is not None:
            return name, options(**{one.name: getattr(given, one.name) for one in fields(options)})  # type: ignore[arg-type]
    return "none", NoneOptions()


def _attribute(name: str) -> str:
    return name.replace("-", "_")
