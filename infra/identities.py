"""Who may do what in the store: writer, keeper, restorer, and the role behind glass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws.iam as iam

from infra import naming, rights
from infra.component import Component
from infra.config.model import InfraConfig
from infra.documents import document, trust


@dataclass(frozen=True)
class IdentitiesArgs:
    """Nothing but the configuration."""

    config: InfraConfig


class Identities(Component[InfraConfig]):
    """One role for each duty, and the break-glass role.

    Protects against: a host that can read what it has written (writer), whoever deletes backups
    being able to read them (keeper has no key; the store cannot tell, but the content is
    encrypted), and a locked backup that is deleted without a second factor.
    """

    area = "identities"

    def __init__(
        self, name: str, args: IdentitiesArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        config = self.config
        self.roles: dict[str, iam.Role] = {}
        self.profiles: dict[str, iam.InstanceProfile] = {}
        for duty in config.duties:
            self._machine(duty)
        self.break_glass = iam.Role(
            "breakglass",
            name=naming.role(config, "breakglass"),
            description="Deletes backups that are still locked. Every use is alarmed.",
            assume_role_policy=break_glass_trust(config),
            max_session_duration=3600,
            tags=self.tags("breakglass"),
            opts=self.child(),
        )
        iam.RolePolicy(
            "breakglass",
            role=self.break_glass.id,
            policy=document(*rights.break_glass(config)),
            opts=self.child(),
        )
        self.register_outputs({})

    def _machine(self, duty: str) -> None:
        config = self.config
        role = iam.Role(
            duty,
            name=naming.role(config, duty),
            description=f"Machines of duty {duty}",
            assume_role_policy=trust(config, "ec2"),
            tags=self.tags(duty, Art32Duty=duty),
            opts=self.child(),
        )
        iam.RolePolicy(
            duty, role=role.id, policy=document(*rights.of(config, duty)), opts=self.child()
        )
        self.roles[duty] = role
        self.profiles[duty] = iam.InstanceProfile(
            duty,
            name=naming.role(config, duty),
            role=role.name,
            tags=self.tags(duty, Art32Duty=duty),
            opts=self.child(),
        )


def break_glass_trust(config: InfraConfig) -> pulumi.Output[str]:
    """Return who may become the break-glass role.

    IAM users by a second factor that is at most an hour old. A session of Identity Center carries
    no `aws:MultiFactorAuthPresent`: there the identity provider demands it.
    """
    statements: list[Mapping[str, Any]] = []
    root = f"arn:{config.partition}:iam::{config.account_id}"
    if config.break_glass.users:
        statements.append(
            {
                "Sid": "UsersWithSecondFactor",
                "Effect": "Allow",
                "Principal": {"AWS": [f"{root}:user/{name}" for name in config.break_glass.users]},
                "Action": "sts:AssumeRole",
                "Condition": {
                    "Bool": {"aws:MultiFactorAuthPresent": "true"},
                    "NumericLessThan": {"aws:MultiFactorAuthAge": "3600"},
                },
            }
        )
    if config.break_glass.permission_set is not None:
        session = (
            f"{root}:role/aws-reserved/{naming.service(config, 'sso')}/*"
            f"AWSReservedSSO_{config.break_glass.permission_set}_*"
        )
        statements.append(
            {
                "Sid": "PermissionSet",
                "Effect": "Allow",
                "Principal": {"AWS": f"{root}:root"},
                "Action": "sts:AssumeRole",
                "Condition": {"ArnLike": {"aws:PrincipalArn": session}},
            }
        )
    return document(*statements)
