"""What a scan finds: who did what, how often, and whether it may lead to a ban."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from agent import clock
from agent.logs.scan.rules import Rule, Severity


@dataclass(slots=True)
class Finding:
    """One attack by one client, or by all together.

    `id` is the same when the same bytes are scanned again. `who` is an address, a /64, or empty
    when the rule counts all clients or one account. `last` and `count` grow while it goes on;
    `served` is how many requests were answered with 2xx.
    """

    id: str
    rule: str
    title: str
    severity: Severity
    who: str
    source: str
    first: float
    last: float
    count: int
    served: int
    expires_seconds: int
    may_ban: bool
    samples: list[bytes] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return it as JSON for the findings file: with the address, without a line."""
        return {
            "schema": "art32.finding/1",
            "id": self.id,
            "rule": self.rule,
            "title": self.title,
            "severity": self.severity,
            "who": self.who or None,
            "source": self.source,
            "first": _iso(self.first),
            "last": _iso(self.last),
            "count": self.count,
            "served": self.served,
            "expires": _iso(self.last + self.expires_seconds),
            "may_ban": self.may_ban,
        }

    def anonymous(self, label: str) -> dict[str, Any]:
        """Return it as JSON for a report: a label such as `client 3` for the address."""
        return {**self.document(), "who": label or None}

    def state(self) -> dict[str, Any]:
        """Return what `from_state` takes, as JSON."""
        return {**asdict(self), "samples": [line.decode("latin-1") for line in self.samples]}

    @staticmethod
    def from_state(state: dict[str, Any]) -> Finding:
        """Return the finding of which `state` was written; raise TypeError or KeyError."""
        samples = [line.encode("latin-1") for line in state["samples"]]
        return Finding(**{**state, "samples": samples})


def label(findings: Iterable[Finding]) -> dict[str, str]:
    """Return a label for each address in the order of appearance: `client 1`, `client 2`.

    They hold for one report and tell nothing outside of it.
    """
    labels: dict[str, str] = {"": ""}
    for finding in findings:
        labels.setdefault(finding.who, f"client {len(labels)}")
    return labels


def _iso(moment: float) -> str:
    return clock.iso(datetime.fromtimestamp(moment, UTC))


def identify(rule: Rule, segment: str, offset: int, *, everybody: bool) -> str:
    """Return the id of a finding: rule, segment, and the line that completed it.

    The line's offset in the segment stands for the window. No address goes in: whoever sees the
    id could guess it.
    """
    text = f"{rule.id}\0{segment}\0{offset}\0{everybody}"
    return hashlib.blake2s(text.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
