"""What is installed and what is missing, scanned each day. Installing is the machines' own work."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws.ssm as ssm

from infra import naming
from infra.component import Component
from infra.config.model import InfraConfig

INSTALL = [
    "#!/bin/bash",
    "ART32_ONLY_DEFINE=yes",
    ". /var/lib/art32/first-boot.sh",
    "install_release",
]


@dataclass(frozen=True)
class PatchingArgs:
    """Nothing but the configuration: machines are found by their tag."""

    config: InfraConfig


class Patching(Component[InfraConfig]):
    """Associations over the machines of the stack: releases, a scan for patches, the inventory.

    Protects against: a machine that has stopped updating itself. Machines install security updates
    by unattended-upgrades; Systems Manager only looks. Its delays of approval do not exist for
    Debian, so nothing here pretends to set one. A release reaches running machines by an
    association too: it installs what the parameter of the duty pins, as the first boot did.
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
        install = ssm.Document(
            "release",
            name=naming.prefixed(config, "install-release"),
            document_type="Command",
            document_format="JSON",
            content=pulumi.Output.json_dumps(
                {
                    "schemaVersion": "2.2",
                    "description": "Install what the parameter of the duty pins",
                    "mainSteps": [
                        {
                            "action": "aws:runShellScript",
                            "name": "install",
                            "inputs": {"timeoutSeconds": "1800", "runCommand": INSTALL},
                        }
                    ],
                }
            ),
            tags=self.tags("release"),
            opts=self.child(),
        )
        ssm.Association(
            "release",
            name=install.name,
            association_name=naming.prefixed(config, "release"),
            schedule_expression="cron(0 7 * * ? *)",
            apply_only_at_cron_interval=True,
            max_concurrency="1",
            max_errors="0",
            targets=targets,
            opts=self.child(),
        )
        self.register_outputs({})
