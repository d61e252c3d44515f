"""What has to be mended before anything is published."""

from __future__ import annotations


class PublishError(Exception):
    """A sentence, and what to do next."""

    def __init__(self, sentence: str, hint: str = "") -> None:
        super().__init__(sentence + (f"\n  hint: {hint}" if hint else ""))
