"""What `/metrics` shows, in Prometheus' form. Counting on the hot paths is one addition; the rest is done when read."""

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

MOST_SERIES = 10_000
"""Series of one meter; what comes after that is counted under ``(other)``."""


class Tally(Collector):
    """A counter for hot paths: ``cell(…)[0] += 1``. Read by Prometheus, reset by nothing."""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._cells: dict[tuple[str, ...], list[int]] = {}

    def cell(self, *labels: str) -> list[int]:
        """The count with these labels: a list of one number, kept for good by whoever counts often."""
        found = self._cells.get(labels)
        if found is None:
            if len(self._cells) >= MOST_SERIES:
                labels = (*labels[:1], *("(other)" for _ in labels[1:]))
            found = self._cells.setdefault(labels, [0])
        return found

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, cell in list(self._cells.items()):
            family.add_metric(labels, cell[0])
        yield family


class Meters:
    """One server's meters, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.evaluations = Tally("rampgate_evaluations", "Evaluations over HTTP.", ("environment", "flag", "variant"))
        self.requests = Tally("rampgate_http_requests", "Answers, by route and status.", ("method", "route", "status"))
        self.edge = Tally(
            "rampgate_edge_decisions", "Decisions for proxies.", ("environment", "flag", "variant", "reason")
        )
        self.registry.register(self.edge)
        self.registry.register(self.evaluations)
        self.registry.register(self.requests)
        self.batches = Counter(
            "rampgate_telemetry_batches", "Telemetry batches, by whether they were new.", ("applied",),
            registry=self.registry,
        )  # fmt: skip
        self.decisions = Counter(
            "rampgate_decisions",
            "Decisions about rollouts, by verb.",
            ("environment", "flag", "verb"),
            registry=self.registry,
        )
        self.streams = Gauge("rampgate_streams", "Change streams open now.", registry=self.registry)
        self.pages = Gauge("rampgate_page_streams", "Web pages that are told of changes now.", registry=self.registry)
        self.told = Histogram(
            "rampgate_propagation_seconds", "From publishing a change to its last stream.", registry=self.registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
        )  # fmt: skip
        self.store_age = Gauge(
            "rampgate_store_age_seconds", "Seconds since the store was last read.", registry=self.registry
        )
        self.aborts = Gauge(
            "rampgate_aborts_not_recorded",
            "Aborts that are obeyed and not recorded yet.",
            registry=self.registry,
        )
        self.leads = Gauge(
            "rampgate_leads", "1 where this replica is the one that acts on passed deadlines.", registry=self.registry
        )
        self.share = Gauge(
            "rampgate_rollout_share", "The canary's share of users, from 0 to 1.", ("environment", "flag", "rollout"),
            registry=self.registry,
        )  # fmt: skip
        self.lease = Gauge(
            "rampgate_lease_seconds", "Seconds until a rollout's lease lapses.", ("environment", "flag", "rollout"),
            registry=self.registry,
        )  # fmt: skip

    def evaluated(self, environment: str, flag: str, variant: str) -> None:
        """Count one evaluation."""
        self.evaluations.cell(environment, flag, variant)[0] += 1

    def decided(self, environment: str, flag: str, verb: str) -> None:
        """Count one decision about a rollout, by whatever it was demanded: an event, a person, a passed deadline."""
        self.decisions.labels(environment, flag, verb).inc()

    def answered(self, method: str, route: str, status: int) -> None:
        """Count one answer; ``route`` is the table's path, not the request's."""
        self.requests.cell(method, route, str(status))[0] += 1

    def text(self) -> bytes:
        """The exposition that Prometheus scrapes."""
        return generate_latest(self.registry)
