"""What is wrong with an input, told the same way everywhere. Small, so that an app's import stays small."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an input: where, what stands there, and what is allowed."""

    path: str
    value: str
    allowed: str
    hint: str | None = None

    def __str__(self) -> str:
        near = f" Did you mean {self.hint}?" if self.hint else ""
        return f"{self.path}: {self.value} is not allowed: {self.allowed}.{near}"
