"""Where evidence comes from: a registry in plain sight, one file a source.

A further source is one file here, one line in ``SOURCES`` and one page in docs/sources.
"""

from collections.abc import Mapping
from types import MappingProxyType

from gate.metrics.flagserver import FlagServerOptions
from gate.metrics.prometheus import PrometheusOptions
from gate.metrics.source import Means, Options, Question, Source, TelemetryApi

SOURCES: Mapping[str, type[Options]] = MappingProxyType(
    {
        "flagserver": FlagServerOptions,
        "prometheus": PrometheusOptions,
    }
)
"""Name in the configuration → the source's options, which make the source."""


def build(options: Options, means: Means) -> Source:
    """The source that these options describe."""
    return options.source(means)


__all__ = [
    "SOURCES",
    "FlagServerOptions",
    "Means",
    "Options",
    "PrometheusOptions",
    "Question",
    "Source",
    "TelemetryApi",
    "build",
]
