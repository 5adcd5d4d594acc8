"""Where evidence comes from: a registry in plain sight, one file a source.

A further source is one file here, one line in ``SOURCES`` and one page in docs/sources.
"""

from collections.abc import Mapping
from types import MappingProxyType

from gate.metrics.cloudwatch import CloudWatchOptions
from gate.metrics.command import CommandOptions
from gate.metrics.datadog import DatadogOptions
from gate.metrics.flagserver import FlagServerOptions
from gate.metrics.graphite import GraphiteOptions
from gate.metrics.influxdb import InfluxOptions
from gate.metrics.prometheus import PrometheusOptions
from gate.metrics.source import Means, Options, Question, Source, TelemetryApi
from gate.metrics.web import WebOptions

SOURCES: Mapping[str, type[Options]] = MappingProxyType(
    {
        "flagserver": FlagServerOptions,
        "prometheus": PrometheusOptions,
        "influxdb": InfluxOptions,
        "graphite": GraphiteOptions,
        "cloudwatch": CloudWatchOptions,
        "datadog": DatadogOptions,
        "web": WebOptions,
        "command": CommandOptions,
    }
)
"""Name in the configuration → the source's options, which make the source."""

SHARED = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"})
"""Credentials that deploy hooks keep, though a source reads them too: a hook that deploys to AWS needs the same."""


def build(options: Options, means: Means) -> Source:
    """The source that these options describe."""
    return options.source(means)


__all__ = [
    "SHARED",
    "SOURCES",
    "CloudWatchOptions",
    "CommandOptions",
    "DatadogOptions",
    "FlagServerOptions",
    "GraphiteOptions",
    "InfluxOptions",
    "Means",
    "Options",
    "PrometheusOptions",
    "Question",
    "Source",
    "TelemetryApi",
    "WebOptions",
    "build",
]
