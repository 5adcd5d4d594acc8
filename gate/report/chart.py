"""Both arms' error rates over the ramp, as a chart that GitHub draws (Mermaid's xychart), folded away."""

from collections.abc import Sequence

from rampgate.evidence import Look, Sample
from rampgate.rollout import Rollout
from rampgate.wording import clock

MOST_POINTS = 30
FEWEST_POINTS = 4


def chart(rollout: Rollout, looks: Sequence[Look], now: float) -> str:
    """The chart of this attempt's looks at users; nothing while there are too few."""
    seen = [
        (look.at, look.stable, look.canary)
        for look in looks
        if look.share and look.stable is not None and look.canary is not None
    ]
    seen = [one for one in seen if one[1].requests and one[2].requests]
    if len(seen) < FEWEST_POINTS:
        return ""
    size = -(-len(seen) // MOST_POINTS)
    parts = [seen[start : start + size] for start in range(0, len(seen), size)]
    stable = [_rate([stable for _, stable, _ in part]) for part in parts]
    canary = [_rate([canary for _, _, canary in part]) for part in parts]
    begun, ended = seen[0][0] - rollout.plan.poll, seen[-1][0]
    minutes = max(ended - begun, 1.0) / 60
    top = max(*stable, *canary, 0.01) * 1.2
    lines = [
        "<details><summary>Error rates over time</summary>",
        "",
        "```mermaid",
        '%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#1f77b4, #d62728"}}}}%%',
        "xychart-beta",
        '    title "stable: blue, canary: red"',
        f'    x-axis "minutes from {clock(begun, now)}" 0 --> {_number(minutes)}',
        f'    y-axis "errors in %" 0 --> {_number(top)}',
        f"    line [{', '.join(map(_number, stable))}]",
        f"    line [{', '.join(map(_number, canary))}]",
        "```",
        "",
        "</details>",
    ]
    return "\n".join(lines)


def _rate(samples: Sequence[Sample]) -> float:
    return 100 * sum(one.errors for one in samples) / sum(one.requests for one in samples)


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")
