"""What snapshots of a stack exist: RDS' own, those of volumes, and AWS Backup's recovery points."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from agent.errors import Art32Error
from agent.snapshots import Kind, Snapshot
from agent.snapshots.aws import Cloud
from agent.snapshots.stack import Stack

RDS_TYPES = ("automated", "manual", "awsbackup")
"""Each is asked for by itself: without a type RDS leaves those of AWS Backup out."""
_AREAS = {"database": "db", "mail": "mail", "web": "web"}


@dataclass(frozen=True)
class Inventory:
    """All snapshots, newest first, and what could not be asked."""

    snapshots: tuple[Snapshot, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Point:
    """What a vault says of a recovery point."""

    kept_until: datetime | None


def take(stack: Stack, cloud: Cloud) -> Inventory:
    """Return the snapshots of a stack, of its second region too.

    A service that refuses or does not answer is a warning as long as another one answers.
    Raise AWS_REFUSED and AWS_UNREACHABLE.
    """
    found: dict[tuple[str, str], Snapshot] = {}
    warnings: list[str] = []
    first: Art32Error | None = None
    answered = False

    def ask(question: Callable[[], None], what: str) -> None:
        nonlocal answered, first
        try:
            question()
            answered = True
        except Art32Error as error:
            first = first or error
            warnings.append(f"{what} could not be listed: {error.sentence}")

    for region, vault in _places(stack):

        def databases(region: str = region) -> None:
            found.update({(region, one.id): one for one in _databases(stack, cloud, region)})

        def volumes(region: str = region) -> None:
            found.update({(region, one.id): one for one in _volumes(stack, cloud, region)})

        def points(region: str = region, vault: str = vault) -> None:
            for name, point in _points(cloud, region, vault):
                if (region, name) in found:
                    known = found[region, name]
                    found[region, name] = replace(
                        known, origin="aws backup", kept_until=point.kept_until
                    )

        ask(databases, f"snapshots of databases in `{region}`")
        ask(volumes, f"snapshots of volumes in `{region}`")
        ask(points, f"recovery points in the vault `{vault}`")
    if not answered and first is not None:
        raise first
    newest = sorted(found.values(), key=lambda one: (one.taken_at, one.id), reverse=True)
    return Inventory(tuple(newest), tuple(warnings))


def _places(stack: Stack) -> list[tuple[str, str]]:
    """Return the regions with the vault in each."""
    copy = stack.text("backupCopyRegion")
    places = [(stack.region, stack.physical("snapshots"))]
    return places + ([(copy, stack.physical("snapshots-copy"))] if copy else [])


def _databases(stack: Stack, cloud: Cloud, region: str) -> Iterator[Snapshot]:
    instance = re.compile(rf"{re.escape(stack.physical('db'))}-(g[0-9]+)")
    for kind in RDS_TYPES:
        pages = cloud.pages(
            "rds", "describe_db_snapshots", "DBSnapshots", region=region, SnapshotType=kind
        )
        for one in pages:
            tags = _tags(one.get("TagList"))
            named = instance.fullmatch(one["DBInstanceIdentifier"])
            if tags.get("Art32Stack") != stack.name and named is None:
                continue
            if "SnapshotCreateTime" not in one:
                continue  # it is being made, and nobody knows yet what it will hold
            yield Snapshot(
                id=one["DBSnapshotIdentifier"],
                kind="rds",
                origin=_origin(one["SnapshotType"]),
                component="db",
                generation=named[1] if named else tags.get("Art32Generation"),
                taken_at=one["SnapshotCreateTime"],
                size=one["AllocatedStorage"],
                encrypted=bool(one.get("Encrypted")),
                state=one["Status"],
                region=region,
                arn=one["DBSnapshotArn"],
                key=one.get("KmsKeyId") or None,
                engine_version=one.get("EngineVersion"),
            )


def _origin(kind: str) -> Literal["automated", "manual", "aws backup"]:
    if kind == "automated":
        return "automated"
    return "aws backup" if kind == "awsbackup" else "manual"


def _volumes(stack: Stack, cloud: Cloud, region: str) -> Iterator[Snapshot]:
    """Yield the snapshots that carry the stack's tags or are of a volume that does."""
    mine = {"Name": "tag:Art32Stack", "Values": [stack.name]}
    volumes = {
        one["VolumeId"]: _tags(one.get("Tags"))
        for one in cloud.pages("ec2", "describe_volumes", "Volumes", region=region, Filters=[mine])
    }
    asked: list[dict[str, Any]] = [mine]
    if volumes:
        asked.append({"Name": "volume-id", "Values": sorted(volumes)})
    seen = set()
    for condition in asked:
        pages = cloud.pages(
            *("ec2", "describe_snapshots", "Snapshots"),
            region=region,
            OwnerIds=["self"],
            Filters=[condition],
        )
        for one in pages:
            tags = {**volumes.get(one["VolumeId"], {}), **_tags(one.get("Tags"))}
            component = _AREAS.get(tags.get("Art32Component", ""))
            if one["SnapshotId"] in seen or component is None or "Art32Generation" not in tags:
                continue  # a root disk, which nobody restores
            seen.add(one["SnapshotId"])
            yield Snapshot(
                id=one["SnapshotId"],
                kind="ebs",
                origin="manual",
                component=component,
                generation=tags["Art32Generation"],
                taken_at=one["StartTime"],
                size=one["VolumeSize"],
                encrypted=bool(one.get("Encrypted")),
                state=one["State"],
                region=region,
                arn=f"arn:{_partition(region)}:ec2:{region}::snapshot/{one['SnapshotId']}",
                key=one.get("KmsKeyId") or None,
            )


def _partition(region: str) -> str:
    return "aws-eusc" if region.startswith("eusc-") else "aws"


def _points(cloud: Cloud, region: str, vault: str) -> Iterator[tuple[str, _Point]]:
    """Yield the snapshots' names in a vault, with what it says of them."""
    pages = cloud.pages(
        *("backup", "list_recovery_points_by_backup_vault", "RecoveryPoints"),
        region=region,
        BackupVaultName=vault,
    )
    for one in pages:
        # arn:aws:rds:REGION:ACCOUNT:snapshot:awsbackup:job-ID, arn:aws:ec2:REGION::snapshot/snap-ID
        name = re.search(r":snapshot[:/](.+)$", one["RecoveryPointArn"])
        if name is not None:
            yield name[1], _Point(one.get("CalculatedLifecycle", {}).get("DeleteAt"))


def _tags(listed: object) -> Mapping[str, str]:
    if not isinstance(listed, list):
        return {}
    return {str(one["Key"]): str(one["Value"]) for one in listed}


def wanted_kind(stack: Stack, component: str) -> Kind:
    """Return the kind of snapshot that a generation of a component is made from."""
    return "rds" if component == "db" and stack.text("dbForm") != "server" else "ebs"
