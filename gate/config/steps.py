"""The configuration's keys of a ramp's rungs: steps of users, batches of targets, and a rung's own yes."""

from typing import Annotated, Any

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from gate.config.keys import Keys
from gate.config.rolling import SIZES, Size, size
from gate.config.words import Duration, Share, one_of, refusal, share
from rampgate.plan import ALLOWED_POLICIES, Confirm, Policy, Step


class ConfirmKeys(Keys):
    """A person's yes is needed to leave the step."""

    timeout: Duration = Field(default=Confirm().timeout, description="How long to wait for it.")
    then: Annotated[Policy, *one_of(*ALLOWED_POLICIES["confirm.then"])] = Field(
        default=Confirm().then, description="What happens when nobody says it."
    )


class StepInconclusiveKeys(Keys):
    """What this step does about too little data, in place of policies.inconclusive."""

    after: Duration | None = Field(default=None, description="How long it may stand.")
    then: Annotated[Policy, *one_of(*ALLOWED_POLICIES["policies.inconclusive"])] | None = Field(
        default=None, description="What follows."
    )


class RungKeys(Keys):
    """What steps and batches have alike."""

    bake: Duration = Field(default=Step(share=0).bake, description="The least time to stay.")
    confirm: ConfirmKeys | None = Field(default=None, description="Asks for a person's yes.")
    timeout: Duration | None = Field(default=None, description="How long it may last, in place of timeouts.step.")
    inconclusive: StepInconclusiveKeys | None = Field(
        default=None, description="What this step does about too little data, in place of policies.inconclusive."
    )


class StepKeys(RungKeys):
    """One rung of the ramp. A bare percentage is short for a step with that share."""

    share: Share = Field(description="The percentage of users on the new version.")

    @model_validator(mode="before")
    @classmethod
    def _from_share(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return value
        try:
            share(value)
        except PydanticCustomError:
            allowed = "a percentage above 0 and at most 100 with at most 3 decimals, or a mapping such as"
            raise refusal(f"{allowed} {{share: 10, bake: 5m}}") from None
        return {"share": value}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        whole = handler.resolve_ref_schema(handler(core))
        return {"anyOf": [whole["properties"]["share"], dict(whole)]}


class BatchKeys(RungKeys):
    """One rung of a rolling ramp. A bare size is short for a batch of it."""

    targets: Size = Field(description="How many run the new version then: 10% of them, 5, or all.")

    @model_validator(mode="before")
    @classmethod
    def _from_size(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return value
        try:
            size(value)
        except PydanticCustomError:
            raise refusal(f"{SIZES}, or a mapping such as {{targets: 10%, bake: 1h}}") from None
        return {"targets": value}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        whole = handler.resolve_ref_schema(handler(core))
        return {"anyOf": [whole["properties"]["targets"], dict(whole)]}
