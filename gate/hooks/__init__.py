"""The user's hooks: commands and addresses that are asked, or told, at moments of a rollout. Flagger's eight moments.

`ask.py` asks one, `told.py` says what it is told, `weigh.py` what answers make of a look, and `at_work.py` when whom.
No hook ever widens: a yes lets the judge's own word through, and nothing more.
"""

from gate.hooks.at_work import AtWork
from gate.hooks.weigh import Answered

__all__ = ["Answered", "AtWork"]
