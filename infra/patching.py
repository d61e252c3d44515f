"""What is installed and what is missing, scanned each day. Installing is the machines' own work."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws.ssm as ssm

from infra import naming
from infra.component import Component
from infra.config.model import InfraConfig


@dataclass(frozen=True)
class PatchingArgs:
    """Nothing but the configuration: machines are found by their tag."""

    config: InfraConfig


class Patching(Component[InfraConfig]):
    """Two associations over the machines of the stack: a scan for patches, and the inventory.

    Protects against: a machine that has stopped updating itself. Machines install security updates
    by unattended-upgrades; Systems Manager only looks. Its delays of approval do not exist for
    Debian, so nothing here pretends to set one.
    """

    area = "patching"

    def __init__(
        self, name: str, args: PatchingArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        config = self.config
        targets = [ssm.AssociationTargetArgs(key="tag:Art32Patch", values=[config.stack])]
        ssm.Association(
            "patch-scan",
            name="AWS-RunPatchBaseline",
            association_name=naming.prefixed(config, "patch-scan"),
            schedule_expression="cron(0 6 * * ? *)",
            parameters={"Operation": "Scan", "RebootOption": "NoReboot"},
            compliance_severity="HIGH",
            max_concurrency="25%",
            max_errors="100%",
            targets=targets,
            opts=self.child(),
        )
        ssm.Association(
            "inventory",
            name="AWS-GatherSoftwareInventory",
            association_name=naming.prefixed(config, "inventory"),
            schedule_expression="rate(12 hours)",
            targets=targets,
            opts=self.child(),
        )
        self.register_outputs({})
