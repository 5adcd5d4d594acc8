"""The judge: is the canary worse than stable, is it well, or can nobody tell yet?

Pure: no clock, no randomness, no I/O; the same readings give the same verdicts. Its guarantee, the assumptions and
the sources are in docs/judge.md.
"""

from gate.judge.state import JudgeState, Situation, from_json, to_json
from gate.judge.verdict import begin, judge

__all__ = ["JudgeState", "Situation", "begin", "from_json", "judge", "to_json"]
