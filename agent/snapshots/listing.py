"""What `snapshot list` says."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from agent import clock, output
from agent.errors import ExitStatus
from agent.snapshots import Snapshot
from agent.snapshots.aws import Cloud
from agent.snapshots.inventory import Inventory, take, wanted_kind
from agent.snapshots.stack import Stack

NEWEST_WITHIN_HOURS = 26
"""AWS Backup's plan of the stack is a daily one."""


def age(seconds: float) -> str:
    """Return an age as people read it: minutes, hours, or from the second day on days."""
    hours = seconds / 3600
    if hours < 1:
        return f"{max(seconds, 0) / 60:.0f} min"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} d"


def answer(stack: Stack) -> output.Answer:
    """Return the list of a stack's snapshots, newest first; what is doubtful is a warning.

    Raise AWS_REFUSED, AWS_UNREACHABLE, TOOL_MISSING.
    """
    cloud = Cloud(stack)
    cloud.check_account()
    inventory, now = take(stack, cloud), clock.now()
    rows: list[tuple[str, ...]] = [
        ("taken at", "age", "of", "snapshot", "by", "GiB", "encrypted", "state", "kept until")
    ]
    rows += [_row(one, stack, now) for one in inventory.snapshots]
    lines = output.table(rows) if inventory.snapshots else ["there are no snapshots"]
    warnings = [*inventory.warnings, *_doubts(stack, inventory, now)]
    return output.Answer(
        "art32.snapshot.list/1",
        {"stack": stack.name, "snapshots": [entry(one, now) for one in inventory.snapshots]},
        lines,
        warnings,
        ExitStatus.WARNINGS if warnings else ExitStatus.OK,
    )


def _row(one: Snapshot, stack: Stack, now: datetime) -> tuple[str, ...]:
    return (
        clock.iso(one.taken_at),
        age((now - one.taken_at).total_seconds()),
        one.name + ("" if one.region == stack.region else f" in {one.region}"),
        one.id,
        one.origin,
        str(one.size),
        "yes" if one.encrypted else "NO",
        one.state,
        clock.iso(one.kept_until) if one.kept_until else "-",
    )


def entry(one: Snapshot, now: datetime) -> dict[str, Any]:
    """Return what programs read of a snapshot."""
    return {
        "id": one.id,
        "kind": one.kind,
        "by": one.origin,
        "component": one.component,
        "generation": one.generation,
        "taken_at": clock.iso(one.taken_at),
        "age_seconds": round((now - one.taken_at).total_seconds()),
        "gib": one.size,
        "encrypted": one.encrypted,
        "key": one.key,
        "state": one.state,
        "region": one.region,
        "arn": one.arn,
        "engine_version": one.engine_version,
        "kept_until": clock.iso(one.kept_until) if one.kept_until else None,
    }


def _doubts(stack: Stack, inventory: Inventory, now: datetime) -> list[str]:
    """Return what a person should look at: nothing recent of the database, nothing encrypted."""
    doubts = []
    kind = wanted_kind(stack, "db")
    usable = [
        one
        for one in inventory.snapshots
        if (one.component, one.kind, one.region) == ("db", kind, stack.region) and one.usable
    ]
    if not usable:
        doubts.append("the database has no usable snapshot")
    elif (now - usable[0].taken_at).total_seconds() > NEWEST_WITHIN_HOURS * 3600:
        old = age((now - usable[0].taken_at).total_seconds())
        doubts.append(f"the newest usable snapshot of the database is {old} old")
    doubts += [f"`{one.id}` is not encrypted" for one in inventory.snapshots if not one.encrypted]
    return doubts
