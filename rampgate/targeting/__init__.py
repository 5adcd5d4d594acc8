"""flagd's targeting: JSON logic with flagd's operators, compiled once to closures. Knows no flag and no variant."""

from rampgate.targeting.compiler import MAKERS, CompiledRule, Rule, UnknownOperatorError, compile_rule
from rampgate.targeting.operators import OPERATORS
from rampgate.targeting.shape import Listed, Lists, UserSplit, lists_of, user_split

__all__ = [
    "MAKERS",
    "OPERATORS",
    "CompiledRule",
    "Listed",
    "Lists",
    "Rule",
    "UnknownOperatorError",
    "UserSplit",
    "compile_rule",
    "lists_of",
    "user_split",
]
