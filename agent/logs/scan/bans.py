"""Which findings become bans, for another program to carry out.

Only failed logins over SSH and mail, only from files whose format is said, never one's own
networks or proxies (`Tally` sees to these), at most an hour, at most 50 new ones a minute: beyond
that somebody may be using it against your visitors, so all banning stops until a person has looked.
Art32 writes a list and has no right to touch the firewall.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent import files
from agent.config.logs_scan import Bans
from agent.logs.scan.findings import Finding

STOPPED = "bans-stopped"
_STATE = "bans.json"
_MOST = 10_000


@dataclass
class BanList:
    """The bans in force: until when (seconds since the epoch), and for which finding."""

    until: dict[str, float] = field(default_factory=dict)
    finding: dict[str, str] = field(default_factory=dict)
    recent: list[float] = field(default_factory=list)
    done: set[str] = field(default_factory=set)

    @staticmethod
    def read(directory: Path) -> BanList:
        """Return the list as it was written; an empty one when there is none or it is damaged."""
        try:
            state: dict[str, Any] = json.loads((directory / _STATE).read_bytes())
            return BanList(
                {str(who): float(moment) for who, moment in state["until"].items()},
                {str(who): str(number) for who, number in state["finding"].items()},
                [float(moment) for moment in state["recent"]],
                {str(number) for number in state["done"]},
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return BanList()

    def document(self) -> bytes:
        state = {
            "schema": "art32.bans/1",
            "until": self.until,
            "finding": self.finding,
            "recent": self.recent,
            "done": sorted(self.done),
        }
        return json.dumps(state).encode() + b"\n"


def decide(
    bans: BanList, found: Iterable[Finding], settings: Bans, now: float, *, stopped: bool
) -> bool:
    """Add what is to be banned and take off what is over; return whether there were too many.

    Then, and while banning is `stopped`, none of the new findings is banned, nor later: a finding
    is decided on once.
    """
    seconds = settings.minutes * 60
    candidates = list(found)
    bans.until = {who: moment for who, moment in bans.until.items() if moment > now}
    bans.finding = {who: bans.finding.get(who, "") for who in bans.until}
    bans.recent = [moment for moment in bans.recent if now - 60 < moment <= now]
    bans.done &= {one.id for one in candidates}
    new = [
        one
        for one in candidates
        if one.may_ban and one.id not in bans.done and one.last + seconds > now
    ]
    bans.done |= {one.id for one in new}
    addresses = {one.who for one in new} - set(bans.until)
    if stopped or len(bans.recent) + len(addresses) > settings.per_minute:
        return not stopped
    for one in new:
        if one.who not in bans.until and len(bans.until) < _MOST:
            bans.until[one.who] = min(now, one.last) + seconds
            bans.finding[one.who] = one.id
    bans.recent += [now] * len(addresses)
    return False


def write(bans: BanList, directory: Path, settings: Bans, *, stopped: bool) -> None:
    """Make the decisions durable; under `on` also the list for other programs.

    While banning is stopped that list is empty.
    """
    files.replace(directory / _STATE, bans.document())
    if settings.mode == "on":
        listed = () if stopped else sorted(bans.until)
        files.make_directory(settings.file.parent)
        files.replace(settings.file, "".join(f"{who}\n" for who in listed).encode())
