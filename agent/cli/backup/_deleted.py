"""How deletions are shown."""

from __future__ import annotations

from typing import Any

from agent.backup.prune import Deleted


def lines(done: list[Deleted]) -> list[str]:
    """Return a line for each backup."""
    found = []
    for one in done:
        if one.shredded:
            found.append(f"deleted   {one.source}  {one.id}  {one.deleted} objects, none is left")
        else:
            until = f" until {one.retained_until:%Y-%m-%d}" if one.retained_until else ""
            found.append(
                f"retained  {one.source}  {one.id}  a lock keeps {one.retained} objects{until}"
            )
    return found


def entry(one: Deleted) -> dict[str, Any]:
    """Return a deletion as JSON."""
    until = one.retained_until.isoformat() if one.retained_until else None
    return {**vars(one), "retained_until": until, "shredded": one.shredded}
