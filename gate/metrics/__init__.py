"""Where evidence comes from: a registry in plain sight, one file a source.

A further source is one file here, one line in ``SOURCES`` and one page in docs/sources.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from gate.metrics.cloudwatch import CloudWatchOptions
from gate.metrics.command import CommandOptions
from gate.metrics.datadog import DatadogOptions
from gate.metrics.flagserver import FlagServerOptions
from gate.metrics.gathered import Gathered
from gate.metrics.graphite import GraphiteOptions
from gate.metrics.influxdb import InfluxOptions
from gate.metrics.prometheus import PrometheusOptions
from gate.metrics.source import Gauge, Means, Options, Question, Source, TelemetryApi, Wanted
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


def build(options: Options, means: Means, further: Iterable[tuple[Wanted, Options]] = ()) -> Source:
    """The source that these options describe, with the further metrics that are read beside it."""
    source = options.source(means)
    gauges = {wanted.name: its.gauge(means, wanted) for wanted, its in further}
    return Gathered(source, gauges) if gauges else source


__all__ = [
    "SHARED",
    "SOURCES",
    "CloudWatchOptions",
    "CommandOptions",
    "DatadogOptions",
    "FlagServerOptions",
    "Gauge",
    "GraphiteOptions",
    "InfluxOptions",
    "Means",
    "Options",
    "PrometheusOptions",
    "Question",
    "Source",
    "TelemetryApi",
    "Wanted",
    "WebOptions",
    "build",
]
