"""The database as a machine of its own: PostgreSQL with its data on a volume of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from infra import machine
from infra.component import Component
from infra.config.model import InfraConfig
from infra.machine import Machine
from infra.user_data import DataVolume


@dataclass(frozen=True)
class DatabaseServerArgs:
    """The private subnets by zone, and the machine without its volume."""

    config: InfraConfig
    subnet_ids: Mapping[str, pulumi.Output[str]]
    machine: Machine


class DatabaseServer(Component[InfraConfig]):
    """One instance and one volume a generation; data and write-ahead log share the volume.

    Protects against: data on a root disk, a snapshot that holds data and log of two instants, and
    the loss of a zone (a new generation in another zone, from a snapshot).
    """

    area = "database"

    def __init__(
        self,
        name: str,
        args: DatabaseServerArgs,
        options: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(name, args.config, options)
        config = self.config
        machine.log_group(self, "db", args.machine.logs_key_arn)
        self.instances = {}
        for generation in config.db.generations:
            volume = machine.data_volume(
                self,
                f"db-{generation.name}",
                generation,
                config.db.storage,
                args.machine.disk_key_arn,
            )
            data = DataVolume(volume.id, "/var/lib/postgresql", blank=generation.snapshot is None)
            self.instances[generation.name] = machine.single_instance(
                self,
                f"db-{generation.name}",
                machine.with_volume(args.machine, data),
                generation,
                args.subnet_ids[generation.zone or config.zones[0]],
                volume,
            )
        self.address = self.instances[config.db.active].private_dns
        self.register_outputs({"address": self.address})
