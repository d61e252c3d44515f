"""Which snapshot a restore begins with, and why one cannot be it."""

from __future__ import annotations

from agent.errors import Art32Error, Code
from agent.snapshots import Snapshot
from agent.snapshots.inventory import Inventory, wanted_kind
from agent.snapshots.stack import Stack


def choose(stack: Stack, inventory: Inventory, wanted: str | None, component: str) -> Snapshot:
    """Return the snapshot of that id, or the newest usable one of a component.

    Raise SNAPSHOT_MISSING, and SNAPSHOT_UNFIT for one that no generation can be made from.
    """
    if wanted is None:
        kind = wanted_kind(stack, component)
        for one in inventory.snapshots:
            place = (one.component, one.kind, one.region)
            if one.usable and place == (component, kind, stack.region):
                return one
        raise Art32Error(
            Code.SNAPSHOT_MISSING,
            f"stack `{stack.name}` has no usable snapshot of `{component}` in `{stack.region}`",
            hint=f"art32 snapshot list --stack {stack.name}",
        )
    named = [one for one in inventory.snapshots if wanted in (one.id, one.arn)]
    if not named:
        raise Art32Error(
            Code.SNAPSHOT_MISSING,
            f"stack `{stack.name}` has no snapshot `{wanted}`",
            hint=f"art32 snapshot list --stack {stack.name}",
        )
    at_home = [one for one in named if one.region == stack.region]
    chosen = (at_home or named)[0]
    _check(stack, chosen)
    return chosen


def _check(stack: Stack, one: Snapshot) -> None:
    if one.region != stack.region:
        raise _unfit(
            f"`{one.id}` is in `{one.region}`, and the stack builds in `{stack.region}`",
            copy_back(stack, one),
        )
    if not one.usable:
        raise _unfit(
            f"`{one.id}` is not finished: it is `{one.state}`",
            f"choose an older one: art32 snapshot list --stack {stack.name}",
        )
    if one.kind != wanted_kind(stack, one.component):
        form = "a volume" if one.kind == "ebs" else "a managed database"
        raise _unfit(
            f"`{one.id}` is of {form}, which is not what `dbForm` of the stack says",
            "a change of `dbForm` is a migration by dump and restore: art32 restore",
        )


def check_version(stack: Stack, one: Snapshot, running: str | None) -> None:
    """Raise SNAPSHOT_UNFIT when a database of another major version than the stack's is in it.

    `running` is the version of the database that runs, None when there is none. All generations
    have the one version of `dbVersion`, and the program never changes a major version by itself.
    """
    said = stack.text("dbVersion") or running
    if one.engine_version is None or said is None:
        return
    old, new = one.engine_version.split(".")[0], said.split(".")[0]
    if old != new:
        raise _unfit(
            f"`{one.id}` is of PostgreSQL {old}, and the stack is at {new}",
            "upgrade a copy of it first: aws rds copy-db-snapshot, then aws rds "
            "upgrade-db-snapshot --engine-version",
        )


def copy_back(stack: Stack, one: Snapshot) -> str:
    """Return the command that copies a recovery point from the second region into the first."""
    partition = one.arn.split(":")[1]
    account = stack.account_id
    target = f"arn:{partition}:backup:{stack.region}:{account}:backup-vault:"
    return (
        f"copy it back: aws backup start-copy-job --region {one.region} "
        f"--recovery-point-arn {one.arn} "
        f"--source-backup-vault-name {stack.physical('snapshots-copy')} "
        f"--destination-backup-vault-arn {target}{stack.physical('snapshots')} "
        f"--iam-role-arn arn:{partition}:iam::{account}:role/{stack.role('backup')}"
    )


def _unfit(sentence: str, hint: str) -> Art32Error:
    return Art32Error(Code.SNAPSHOT_UNFIT, sentence, hint=hint)
