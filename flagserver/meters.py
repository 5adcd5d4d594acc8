"""What `/metrics` shows, in Prometheus' form. Counting here never waits for anything."""

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest


class Meters:
    """One server's meters, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.evaluations = Counter(
            "rampgate_evaluations", "Evaluations over HTTP.", ("environment", "flag", "variant"), registry=self.registry
        )
        self._evaluated: dict[tuple[str, str, str], Counter] = {}
        self.batches = Counter(
            "rampgate_telemetry_batches", "Telemetry batches, by whether they were new.", ("applied",),
            registry=self.registry,
        )  # fmt: skip
        self.decisions = Counter(
            "rampgate_decisions", "Answers to events, by verb.", ("environment", "flag", "verb"), registry=self.registry
        )
        self.streams = Gauge("rampgate_streams", "Change streams open now.", registry=self.registry)
        self.store_age = Gauge(
            "rampgate_store_age_seconds", "Seconds since the store was last read.", registry=self.registry
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
        """Count one evaluation: a dictionary access and an addition, the labels are looked up once."""
        name = (environment, flag, variant)
        child = self._evaluated.get(name)
        if child is None:
            child = self._evaluated[name] = self.evaluations.labels(*name)
        child.inc()

    def text(self) -> bytes:
        """The exposition that Prometheus scrapes."""
        return generate_latest(self.registry)
