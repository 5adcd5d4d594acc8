"""The keys under `notify:`, and what they come to: who hears of what."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from gate.config.keys import Keys
from gate.config.values import NotifyConfig, Topic
from gate.config.words import Variable, one_of

MOST_NOTIFIED = 10


class NotifyKeys(Keys):
    """One address that hears of a rollout."""

    to: Variable = Field(description="The environment variable that holds the address, as apprise writes it.")
    on: list[Annotated[Topic, *one_of(*Topic)]] = Field(
        default=list(Topic), description="What it hears of; left out, everything.", min_length=1
    )


def notify_of(keys: Sequence[NotifyKeys]) -> tuple[NotifyConfig, ...]:
    return tuple(NotifyConfig(to=one.to, on=frozenset(one.on)) for one in keys)
