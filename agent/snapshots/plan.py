"""The steps that make a new generation of a component from a snapshot. Nothing is carried out."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent import clock
from agent.snapshots import Snapshot, number
from agent.snapshots.newer import SqlBackup
from agent.snapshots.running import Running
from agent.snapshots.stack import Stack


@dataclass(frozen=True)
class Step:
    """What to do, the commands as they are pasted, and what to know of it."""

    title: str
    commands: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """The generation to be: its name, its place in the list, its size in GiB, its zone if named."""

    name: str
    place: int
    size: int
    zone: str | None

    def entry(self, snapshot: str) -> str:
        """Return what the stack's configuration says of it."""
        return f"{self.name}{f'@{self.zone}' if self.zone else ''}={snapshot}"


def target(stack: Stack, one: Snapshot, running: Running, zone: str | None) -> Target:
    """Return the next generation: never smaller than the snapshot or than what runs."""
    there = stack.generations(one.component)
    name = f"g{max(number(text) for text in there) + 1}"
    said = stack.count(f"{one.component}Storage") or 0
    return Target(name, len(there), max(one.size, running.size or 0, said), zone)


def steps(
    stack: Stack, one: Snapshot, new: Target, backups: Sequence[SqlBackup] | None
) -> tuple[Step, ...]:
    """Return the steps. `backups` are SQL backups newer than the snapshot, None when not known."""
    return tuple(_steps(stack, one, new, backups))


def _steps(
    stack: Stack, one: Snapshot, new: Target, backups: Sequence[SqlBackup] | None
) -> Iterator[Step]:
    snapshot = one.id
    if one.kind == "rds" and not one.encrypted:
        snapshot = stack.physical("db", new.name, "source")
        yield _encrypted_copy(stack, one, snapshot)
    load = one.component == "db" and backups != []
    yield _generation(stack, one, new, snapshot, restorer=load)
    yield _look(stack, one, new)
    if load:
        yield _load(stack, backups)
    active = f"{one.component}Active"
    old = stack.text(active) or "g1"
    yield Step(
        "point the stack at it",
        (_set(stack, active, new.name), *_up(stack)),
        (f"back again: {_set(stack, active, old)}, then pulumi up",),
    )
    yield Step(
        "afterwards",
        (_set(stack, "restorerCount", "0"), *_up(stack)) if load else (),
        (
            (
                "erase again whoever was erased after the moment that was restored: nothing "
                "replays erasures yet"
            ),
            (
                f"`{old}` stays, protected, and costs money until its page retires it: "
                "art32 runbook show retire-generation"
            ),
        ),
    )


def _set(stack: Stack, key: str, value: str) -> str:
    return f"pulumi config set --stack {stack.name} {key} {shlex.quote(value)}"


def _set_place(stack: Stack, component: str, place: int, value: str) -> str:
    path = shlex.quote(f"{component}Generations[{place}]")
    return f"pulumi config set --stack {stack.name} --path {path} {shlex.quote(value)}"


def _up(stack: Stack) -> tuple[str, str]:
    return f"make plan STACK={stack.name}", f"pulumi up --stack {stack.name}"


def _encrypted_copy(stack: Stack, one: Snapshot, name: str) -> Step:
    return Step(
        "copy it under the stack's key: it is not encrypted, and the database would not be",
        (
            (
                f"aws rds copy-db-snapshot --region {stack.region} --copy-tags "
                f"--source-db-snapshot-identifier {shlex.quote(one.id)} "
                f"--target-db-snapshot-identifier {name} "
                f"--kms-key-id alias/{stack.physical('data')}"
            ),
            (
                f"aws rds wait db-snapshot-available --region {stack.region} "
                f"--db-snapshot-identifier {name}"
            ),
        ),
    )


def _generation(stack: Stack, one: Snapshot, new: Target, snapshot: str, *, restorer: bool) -> Step:
    commands = []
    if not stack.texts(f"{one.component}Generations"):  # a list has no second entry before a first
        commands.append(_set_place(stack, one.component, 0, "g1"))
    commands.append(_set_place(stack, one.component, new.place, new.entry(snapshot)))
    storage = f"{one.component}Storage"
    if one.size > (stack.count(storage) or 0) and new.size != stack.count(storage):
        commands.append(_set(stack, storage, str(new.size)))
    if restorer:
        commands.append(_set(stack, "restorerCount", "1"))
    return Step(
        f"add generation {new.name} beside the others, and look at the plan before it is built",
        (*commands, *_up(stack)),
        ("the plan must show creations alone: stop when anything that holds data is replaced",),
    )


def _look(stack: Stack, one: Snapshot, new: Target) -> Step:
    if one.kind == "rds":
        name = stack.physical("db", new.name)
        return Step(
            f"wait for {new.name}, and ask where it is",
            (
                (
                    f"aws rds wait db-instance-available --region {stack.region} "
                    f"--db-instance-identifier {name}"
                ),
                (
                    f"aws rds describe-db-instances --region {stack.region} "
                    f"--db-instance-identifier {name} --query 'DBInstances[0].Endpoint.Address' "
                    "--output text"
                ),
            ),
            ("it loads its blocks from the snapshot as they are read: the first hours are slow",),
        )
    return Step(
        f"look at the volume of {new.name}",
        (
            (
                f"aws ec2 describe-volumes --region {stack.region} --filters "
                f"Name=tag:Name,Values={stack.physical(one.component, new.name)} "
                "--query 'Volumes[0].[VolumeId,State,SnapshotId,AvailabilityZone]' --output text"
            ),
        ),
        ("it loads its blocks from the snapshot as they are read: the first hours are slow",),
    )


def _load(stack: Stack, backups: Sequence[SqlBackup] | None) -> Step:
    """Return how a newer SQL backup gets into the new generation, over the network.

    `art32 restore` takes a server behind a socket alone; so it gives the checked dump to
    pg_restore, which ends with an error, like the pipe, when the dump is not whole.
    """
    host = "dumper" if stack.text("dbForm") != "server" else "db"
    where = (
        '--host "${ADDRESS:?address from the step before}" --username "${ROLE:?role with CREATEDB}"'
    )
    commands = ["set -o pipefail"]
    notes = [
        "on the restorer: the password stands in a file of mode 0600 that PGPASSFILE names",
        "into a new database: rename it when it is right, as restore-database says",
    ]
    if backups is None:
        commands.insert(0, f"art32 backup list --host {host}")
        notes.insert(0, "only if one of the listed backups is newer than the snapshot")
        backups = [SqlBackup(host, "SOURCE", "", clock.now(), 1)]
    for one in backups:
        name = f"{one.source.lower().replace('-', '_').replace('.', '_')}_restored"
        chosen = f" --id {one.id}" if one.id and one.parts == 1 else ""
        member = " --member NAME" if one.parts > 1 else ""
        commands += [
            f"createdb {where} {name}",
            (
                f"art32 restore {one.source} --host {one.host}{chosen}{member} --to - | "
                f"pg_restore --exit-on-error --no-owner {where} --dbname {name}"
            ),
        ]
    return Step("load the SQL backup that is newer", tuple(commands), tuple(notes))
