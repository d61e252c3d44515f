"""What a user has to mend before there can be a plan."""

from __future__ import annotations


class PlanError(Exception):
    """One lower-case sentence with the thing it is about in backticks, and what to type next."""

    def __init__(self, sentence: str, hint: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.sentence}\n  hint: {self.hint}" if self.hint else self.sentence
