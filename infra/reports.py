"""Rollbar's token: an empty secret that a person fills, and who may read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws.iam as iam
import pulumi_aws.secretsmanager as secretsmanager

from infra import agent_file, naming
from infra.component import Component
from infra.config.model import InfraConfig
from infra.documents import allow, document


@dataclass(frozen=True)
class ReportsArgs:
    """The configuration, the key that encrypts the secret, and the machines' roles by duty."""

    config: InfraConfig
    key_arn: pulumi.Input[str]
    roles: Mapping[str, iam.Role]


class Reports(Component[InfraConfig]):
    """The secret that the machines' reports are sent with.

    Protects against: a token in state, user-data or a configuration file. It lets its holder write
    reports to one project, and read none.
    """

    area = "reports"

    def __init__(
        self, name: str, args: ReportsArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        config = self.config
        secret = secretsmanager.Secret(
            "rollbar",
            name=naming.prefixed(config, agent_file.ROLLBAR),
            description="Rollbar: access token with the scope `post_server_item`. Filled by hand.",
            kms_key_id=args.key_arn,
            recovery_window_in_days=0 if config.ephemeral else 30,
            tags=self.tags("rollbar"),
            opts=self.kept(),
        )
        through = {"kms:ViaService": naming.endpoint(config, "secretsmanager")}
        for duty in agent_file.reporting(config):
            iam.RolePolicy(
                f"{duty}-reports",
                role=args.roles[duty].id,
                policy=document(
                    allow("ReadRollbarToken", "secretsmanager:GetSecretValue", secret.arn),
                    allow(
                        "DecryptRollbarToken",
                        "kms:Decrypt",
                        args.key_arn,
                        condition={"StringEquals": through},
                    ),
                ),
                opts=self.child(),
            )
        self.register_outputs({})
