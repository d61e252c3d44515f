"""Is it time to cut? A pure function of size, age and calendar."""

from __future__ import annotations

from datetime import datetime, timedelta

from agent.config.logs_rotate import RotatedLog


def reason(log: RotatedLog, *, size: int, begun: datetime | None, now: datetime) -> str | None:
    """Return why a file of that size that was begun then is to be cut; None when it is not.

    An empty file is never cut. A file whose beginning nobody knows is cut by its size alone.
    """
    if size == 0:
        return None
    if size >= log.max_bytes:
        return "size"
    if begun is None:
        return None
    if log.max_age_hours is not None and now - begun >= timedelta(hours=log.max_age_hours):
        return "age"
    if log.every != "never" and begun < _period_start(log.every, now):
        return "calendar"
    return None


def _period_start(every: str, now: datetime) -> datetime:
    start = now.replace(minute=0, second=0, microsecond=0)
    if every == "hour":
        return start
    start = start.replace(hour=0)
    if every == "week":
        return start - timedelta(days=start.weekday())
    return start.replace(day=1) if every == "month" else start
