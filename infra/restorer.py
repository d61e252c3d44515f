"""The restorer: holds the private key for the hour of a restore, and does not exist otherwise."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from infra import machine
from infra.component import Component
from infra.config.model import InfraConfig
from infra.machine import Group, Machine


@dataclass(frozen=True)
class RestorerArgs:
    """The isolated subnets and the machine."""

    config: InfraConfig
    subnet_ids: list[pulumi.Output[str]]
    machine: Machine


class Restorer(Component[InfraConfig]):
    """A group of none or one machine in a tier without a way to the internet.

    Protects against: decrypted data and the private key leaving, should what is restored turn out
    to be hostile. It reaches the buckets, the new database, and Systems Manager while it runs.
    """

    area = "restorer"

    def __init__(
        self, name: str, args: RestorerArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        count = self.config.restorer.count
        machine.log_group(self, "restorer", args.machine.logs_key_arn)
        machine.self_healing_group(
            self, args.machine, Group(args.subnet_ids, minimum=count, maximum=count)
        )
        self.register_outputs({})
