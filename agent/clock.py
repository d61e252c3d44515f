"""The only door to time. Tests replace these functions; nothing else reads a clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime

STAMP = "%Y%m%dT%H%M%SZ"


def now() -> datetime:
    """Return the host's idea of the present, in UTC, to the microsecond."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Return seconds from an arbitrary start that never go backwards."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    """Wait for that many seconds."""
    time.sleep(seconds)


def stamp(moment: datetime) -> str:
    """Return a moment as in `20261123T031500Z`, the form in which it stands in names."""
    return moment.astimezone(UTC).strftime(STAMP)


def parse_stamp(text: str) -> datetime:
    """Given a moment as it stands in names, return it; raise ValueError when it is none."""
    return datetime.strptime(text, STAMP).replace(tzinfo=UTC)


def iso(moment: datetime) -> str:
    """Return a moment as in `2026-11-23T03:15:00Z`, the form in which it stands in documents."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_iso(text: str) -> datetime:
    """Given RFC 3339 text, return the moment in UTC; raise ValueError when it is no such text."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError("a time needs its zone, as in 2026-11-23T03:15:00Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time outside the calendar") from None
