"""What was done to a stream of lines, in numbers: never a byte of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KINDS = (
    "ipv4",
    "ipv6",
    "malformed",
    "email",
    "parameter",
    "path",
    "credential",
    "user",
    "mac",
    "name",
    "exempt",
    "overlong",
)


@dataclass
class Report:
    """Counts: spans by kind, lines, bytes read and written.

    `malformed` are those that look like an address, are none and went all the same; `exempt` are
    addresses that stay by the configuration or by the closed list; `overlong` are words too long
    for a line, removed whole. Reports of several streams add up with `+=`.
    """

    kinds: dict[str, int] = field(default_factory=dict)
    lines: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    def count(self, kind: str, number: int = 1) -> None:
        """Count spans of a kind."""
        if number:
            self.kinds[kind] = self.kinds.get(kind, 0) + number

    def __iadd__(self, other: Report) -> Report:
        for kind, number in other.kinds.items():
            self.count(kind, number)
        self.lines += other.lines
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        return self

    @property
    def masked(self) -> int:
        """Spans that are not as they were."""
        return sum(number for kind, number in self.kinds.items() if kind != "exempt")

    def document(self) -> dict[str, Any]:
        """Return it for JSON: every kind, also those that did not occur."""
        return {
            "lines": self.lines,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "masked": self.masked,
            "kinds": {kind: self.kinds.get(kind, 0) for kind in KINDS},
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Report:
        """Return the report of which `document` is the JSON."""
        kinds = {kind: number for kind, number in document["kinds"].items() if number}
        return cls(kinds, document["lines"], document["bytes_in"], document["bytes_out"])

    def sentence(self) -> str:
        """Return it as people read it."""
        found = [f"{self.kinds[kind]} {kind}" for kind in KINDS if self.kinds.get(kind)]
        return f"{self.lines} lines: {', '.join(found) or 'nothing found'}"
