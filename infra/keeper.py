"""The keeper: lists, verifies and deletes backups, reports their ages, accepts new hosts."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from infra import machine
from infra.component import Component
from infra.config.model import InfraConfig
from infra.machine import Group, Machine


@dataclass(frozen=True)
class KeeperArgs:
    """The private subnets and the machine."""

    config: InfraConfig
    subnet_ids: list[pulumi.Output[str]]
    machine: Machine


class Keeper(Component[InfraConfig]):
    """A group of one machine that nothing can connect to.

    Protects against: hosts that vouch for themselves. Backups are judged, counted and deleted by a
    machine that makes none, holds no decryption key and comes back by itself when it is lost.
    """

    area = "keeper"

    def __init__(
        self, name: str, args: KeeperArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        machine.log_group(self, "keeper", args.machine.logs_key_arn)
        machine.self_healing_group(self, args.machine, Group(args.subnet_ids))
        self.register_outputs({})
