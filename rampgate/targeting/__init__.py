"""flagd's targeting: JSON logic with flagd's operators, compiled once to closures. Knows no flag and no variant."""

from rampgate.targeting.compiler import MAKERS, CompiledRule, Rule, UnknownOperatorError, compile_rule
from rampgate.targeting.operators import OPERATORS
from rampgate.targeting.shape import UserSplit, user_split

__all__ = [
    "MAKERS",
    "OPERATORS",
    "CompiledRule",
    "Rule",
    "UnknownOperatorError",
    "UserSplit",
    "compile_rule",
    "user_split",
]
