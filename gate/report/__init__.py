"""Every sentence the gate says about a rollout: pure, from the rollout, its looks and its history.

`page.py` renders the comment and the summary, `line.py` the log and the annotations, `result.py` the outputs, and
`replies.py` the answers to commands.
"""

from gate.report.line import decided, pairs, taken_back, tick
from gate.report.page import Links, comment, headline, summary
from gate.report.result import (
    Decision,
    decision_of,
    exit_of,
    outputs,
    outputs_of_error,
    outputs_without,
    percentage,
    rollout_url,
)

__all__ = [
    "Decision",
    "Links",
    "comment",
    "decided",
    "decision_of",
    "exit_of",
    "headline",
    "outputs",
    "outputs_of_error",
    "outputs_without",
    "pairs",
    "percentage",
    "rollout_url",
    "summary",
    "taken_back",
    "tick",
]
