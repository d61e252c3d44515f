"""What `snapshot restore-plan` says: the choice, what it costs, what lies between, the steps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from agent import clock, output
from agent.config.model import Configuration
from agent.errors import Art32Error, Code, ExitStatus
from agent.snapshots import Snapshot, cost, newer, prices, running
from agent.snapshots.aws import Cloud
from agent.snapshots.choice import check_version, choose
from agent.snapshots.inventory import take
from agent.snapshots.listing import age, entry
from agent.snapshots.newer import SqlBackup
from agent.snapshots.plan import Step, Target, steps, target
from agent.snapshots.running import Running
from agent.snapshots.stack import Stack


def answer(
    stack: Stack,
    config: Configuration | None,
    *,
    wanted: str | None,
    component: str,
    zone: str | None,
) -> output.Answer:
    """Return the plan to restore a snapshot, by default the newest of a component.

    With the configuration of a machine that may list the store, it names the SQL backups that are
    newer. Raise SNAPSHOT_MISSING, SNAPSHOT_UNFIT, CONFIG_INVALID, AWS_REFUSED, AWS_UNREACHABLE.
    """
    if zone is not None and zone not in stack.texts("zones"):
        raise Art32Error(
            Code.USAGE,
            f"stack `{stack.name}` has no zone `{zone}`",
            hint=f"one of: {', '.join(stack.texts('zones'))}",
        )
    table = prices.load(stack)
    cloud = Cloud(stack)
    cloud.check_account()
    inventory = take(stack, cloud)
    one = choose(stack, inventory, wanted, component)
    there, warnings = running.look(stack, cloud, one.component)
    check_version(stack, one, there.version)
    new = target(stack, one, there, zone)
    backups: list[SqlBackup] | None = []
    if one.component == "db":
        host = "db" if stack.text("dbForm") == "server" else "dumper"
        backups, more = newer.listed(config, host)
        warnings += more
    late = None if backups is None else [it for it in backups if it.stored_at > one.taken_at]
    bill = cost.items(stack, one, there, table, new.size)
    todo = steps(stack, one, new, late)
    warnings += [*inventory.warnings, *_doubts(stack, one, there, clock.now())]
    return output.Answer(
        "art32.snapshot.restore-plan/1",
        _data(stack, one, new, late, bill, table, todo),
        [
            *_head(one, new),
            *cost.lines(bill, table),
            *_between(one, late, clock.now()),
            *_steps(todo),
        ],
        warnings,
        ExitStatus.WARNINGS if warnings else ExitStatus.OK,
    )


def _doubts(stack: Stack, one: Snapshot, there: Running, now: datetime) -> list[str]:
    doubts = []
    if one.kept_until is not None and (one.kept_until - now).total_seconds() < 86400:
        doubts.append(f"`{one.id}` goes at {clock.iso(one.kept_until)}: copy it first")
    if one.kind == "rds" and one.encrypted and there.key not in (None, one.key):
        doubts.append(
            f"the new database will be under the key of its snapshot, `{one.key}`, and not under "
            f"alias/{stack.physical('data')}: a copy by `aws rds copy-db-snapshot --kms-key-id` "
            "changes that"
        )
    return doubts


def _head(one: Snapshot, new: Target) -> list[str]:
    old = age((clock.now() - one.taken_at).total_seconds())
    return [
        f"{new.name} of `{one.component}` from {one.id}",
        (
            f"  of {one.name}, {clock.iso(one.taken_at)}, {old} ago; {one.size} GiB, "
            f"{'encrypted' if one.encrypted else 'NOT encrypted'}, by {one.origin}"
        ),
        "",
    ]


def _between(one: Snapshot, late: Sequence[SqlBackup] | None, now: datetime) -> list[str]:
    alone = age((now - one.taken_at).total_seconds())
    found = ["", f"what is missing: with the snapshot alone, all that was written in {alone}"]
    if one.component != "db":
        return found
    if late is None:
        found.append("  which SQL backups are newer is not known on this machine")
    elif not late:
        found.append("  no SQL backup is newer")
    for it in late or ():
        ahead = age((it.stored_at - one.taken_at).total_seconds())
        rest = age((now - it.stored_at).total_seconds())
        found.append(
            f"  {it.host}/{it.source} {it.id} of {clock.iso(it.stored_at)} is {ahead} newer: "
            f"with it, what was written in {rest}"
        )
    return found


def _steps(todo: Sequence[Step]) -> list[str]:
    found = []
    for count, step in enumerate(todo, 1):
        found += ["", f"{count}. {step.title}"]
        found += [f"   {command}" for command in step.commands]
        found += [f"   ({note})" for note in step.notes]
    return found


def _data(
    stack: Stack,
    one: Snapshot,
    new: Target,
    late: Sequence[SqlBackup] | None,
    bill: Sequence[cost.Item],
    table: prices.Prices,
    todo: Sequence[Step],
) -> dict[str, object]:
    return {
        "stack": stack.name,
        "snapshot": entry(one, clock.now()),
        "generation": new.name,
        "newer_backups": None
        if late is None
        else [{**vars(it), "stored_at": clock.iso(it.stored_at)} for it in late],
        "cost": {
            "currency": table.currency,
            "prices_as_of": table.as_of,
            "items": [vars(it) for it in bill],
        },
        "steps": [
            {"title": step.title, "commands": list(step.commands), "notes": list(step.notes)}
            for step in todo
        ],
    }
