"""What brings a version into a slot: a registry in plain sight, one file a deployer.

A further deployer is one file here, one line in ``DEPLOYERS`` and one page in docs/deployers; then the schema is
printed anew (``rampgate config-schema``).
"""

from collections.abc import Mapping
from types import MappingProxyType

from gate.deploy.command import CommandOptions
from gate.deploy.compose import ComposeOptions
from gate.deploy.deployer import (
    DeployAction,
    Deployer,
    Deployment,
    Done,
    Failed,
    NotUp,
    Options,
    Stopped,
    Work,
    Workplace,
)
from gate.deploy.none import NoneOptions
from gate.deploy.rolling import RollingDeployer
from gate.deploy.systemd_ssh import SystemdSshOptions
from gate.deploy.webhook import WebhookOptions
from gate.deploy.workflow import WorkflowOptions

DEPLOYERS: Mapping[str, type[Options]] = MappingProxyType(
    {
        "command": CommandOptions,
        "none": NoneOptions,
        "webhook": WebhookOptions,
        "workflow": WorkflowOptions,
        "compose": ComposeOptions,
        "systemd-ssh": SystemdSshOptions,
    }
)
"""Name in the configuration → the deployer's options, which make the deployer."""


def build(options: Options, workplace: Workplace) -> Deployer:
    """The deployer that these options describe, at work in this place."""
    return options.deployer(workplace)


__all__ = [
    "DEPLOYERS",
    "CommandOptions",
    "ComposeOptions",
    "DeployAction",
    "Deployer",
    "Deployment",
    "Done",
    "Failed",
    "NoneOptions",
    "NotUp",
    "Options",
    "RollingDeployer",
    "Stopped",
    "SystemdSshOptions",
    "WebhookOptions",
    "Work",
    "WorkflowOptions",
    "Workplace",
    "build",
]
