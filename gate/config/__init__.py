"""`.github/rampgate.yml` → a plan and what carries it out. All problems at once, or a configuration without any.

`text.py` reads YAML, `words.py` single values, `models.py` the keys, `resolve.py` what follows from them, and
`faults.py` puts what is wrong into words.
"""

from gate.config.load import command_rules, from_document, load, read
from gate.config.rules import CommandName, CommandRules, Requirement, Right
from gate.config.values import (
    CheckConfig,
    CommandCheck,
    Config,
    FurtherMetric,
    GitHubWishes,
    HookConfig,
    HttpCheck,
    Moment,
    NotifyConfig,
    RevertWishes,
    Topic,
)

__all__ = [
    "CheckConfig",
    "CommandCheck",
    "CommandName",
    "CommandRules",
    "Config",
    "FurtherMetric",
    "GitHubWishes",
    "HookConfig",
    "HttpCheck",
    "Moment",
    "NotifyConfig",
    "Requirement",
    "RevertWishes",
    "Right",
    "Topic",
    "command_rules",
    "from_document",
    "load",
    "read",
]
