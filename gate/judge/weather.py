"""Is stable itself in trouble? Its error rate now, against its own earlier in the same rollout.

When something shared breaks, both arms fail. The comparison of the arms cancels that, but nobody should widen, or
call a canary well, in a storm. This holds; it never reverts.
"""

from dataclasses import dataclass
from math import log

from gate.judge.eprocess import mean_of_logs
from gate.judge.harm import split_gains
from rampgate.evidence import Sample

JUMP = 2.0
"""The rise of stable's error rate that is still weather as usual."""

EFFECTS = (0.2, 0.4, 0.8, 1.6, 3.2)

SURE = log(100.0)


BAD_WEIGHT = 0.1
"""How much of a bad batch the past takes in: a storm is not what is usual, unless it stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """Stable's requests and errors of the last few batches, and of those before.

    Both fade: what is recent halves with every batch and goes over to the past, whose memory is some fifty batches.
    So a storm is seen in its first batches, is over a few batches after its end, and a rate that stays high for an
    hour or so of polls becomes the usual one: the judge cannot wait for ever.
    """

    requests: float = 0.0
    errors: float = 0.0
    past_requests: float = 0.0
    past_errors: float = 0.0

    def seen(self, stable: Sample, floor: float) -> "Weather":
        """With one more batch of stable."""
        weight = 0.5 * (BAD_WEIGHT if self.is_bad(floor) else 1.0)
        return Weather(
            requests=self.requests / 2 + stable.requests,
            errors=self.errors / 2 + stable.errors,
            past_requests=0.98 * self.past_requests + weight * self.requests,
            past_errors=0.98 * self.past_errors + weight * self.errors,
        )

    def is_bad(self, floor: float) -> bool:
        """Whether stable's rate has risen beyond `JUMP`, at odds of 100 to 1, and above the floor."""
        if self.errors <= floor * self.requests:
            return False
        gains = split_gains(self.requests, self.errors, self.past_requests, self.past_errors, JUMP, EFFECTS)
        return mean_of_logs(gains) >= SURE
