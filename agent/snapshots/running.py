"""What runs at AWS of a component: the measure for size and cost of another generation."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.errors import Art32Error, Code
from agent.snapshots.aws import Cloud
from agent.snapshots.stack import Stack

_AREAS = {"db": "database", "mail": "mail", "web": "web"}


@dataclass(frozen=True)
class Running:
    """The active generation as AWS has it; None for what is gone or was not told.

    `machine` is the class or type; `size` in GiB; `copies` is 2 with a standby.
    """

    machine: str | None = None
    size: int | None = None
    copies: int = 1
    version: str | None = None
    key: str | None = None


def look(stack: Stack, cloud: Cloud, component: str) -> tuple[Running, list[str]]:
    """Return what runs of a component, with a warning when AWS does not tell."""
    try:
        if component == "db" and stack.text("dbForm") != "server":
            return _database(stack, cloud), []
        return _machine(stack, cloud, component), []
    except Art32Error as error:
        if error.code not in (Code.AWS_REFUSED, Code.AWS_UNREACHABLE):
            raise
        return Running(), [f"what runs now is not known: {error.sentence}"]


def _active(stack: Stack, component: str) -> str:
    return stack.text(f"{component}Active") or "g1"


def _database(stack: Stack, cloud: Cloud) -> Running:
    name = re.compile(rf"{re.escape(stack.physical('db'))}-g[0-9]+")
    found = {
        one["DBInstanceIdentifier"]: one
        for one in cloud.pages("rds", "describe_db_instances", "DBInstances")
        if name.fullmatch(one["DBInstanceIdentifier"])
    }
    one = found.get(stack.physical("db", _active(stack, "db")))
    if one is None:
        return Running()
    return Running(
        one["DBInstanceClass"],
        one["AllocatedStorage"],
        2 if one.get("MultiAZ") else 1,
        one.get("EngineVersion"),
        one.get("KmsKeyId"),
    )


def _machine(stack: Stack, cloud: Cloud, component: str) -> Running:
    mine = {"Name": "tag:Art32Stack", "Values": [stack.name]}
    volumes = cloud.pages(
        *("ec2", "describe_volumes", "Volumes"),
        Filters=[
            mine,
            {"Name": "tag:Art32Component", "Values": [_AREAS[component]]},
            {"Name": "tag:Art32Generation", "Values": [_active(stack, component)]},
        ],
    )
    reservations = cloud.pages(
        *("ec2", "describe_instances", "Reservations"),
        Filters=[mine, {"Name": "tag:Art32Duty", "Values": [component]}],
    )
    machines = [
        one["InstanceType"]
        for reservation in reservations
        for one in reservation["Instances"]
        if one["State"]["Name"] not in ("terminated", "shutting-down")
    ]
    sizes = [one["Size"] for one in volumes]
    return Running(machines[0] if machines else None, max(sizes, default=None))
