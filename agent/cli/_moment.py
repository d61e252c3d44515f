"""Moments as they are typed on a command line."""

from __future__ import annotations

from datetime import datetime

from agent import clock
from agent.errors import Art32Error, Code


def moment(text: str | None, option: str) -> datetime | None:
    """Return the moment of an option; None when it was not given, raise USAGE when it is none."""
    if text is None:
        return None
    try:
        return clock.parse_iso(text)
    except ValueError:
        raise Art32Error(
            Code.USAGE,
            f"`{text}` is no moment with a time zone",
            hint=f"as in {option} 2026-11-23T03:15:00Z",
        ) from None
