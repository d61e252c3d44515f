"""Where the state of every stack lies, the key of its secrets, and the packages."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws.kms as kms
import pulumi_aws.route53 as route53

from infra import naming
from infra.bootstrap.config import AccountConfig
from infra.component import Component
from infra.documents import document
from infra.keys import account_root
from infra.private_bucket import BucketSettings, private_bucket, tidy


@dataclass(frozen=True)
class FoundationArgs:
    """Nothing but the configuration."""

    config: AccountConfig


class Foundation(Component[AccountConfig]):
    """State bucket, state key, artifact bucket and, if asked for, the domain's zone.

    Protects against: a state outside of the EU, secrets of a state that a stranger can read, a
    state that is overwritten (versions stay for 90 days), and packages that nobody pinned.
    """

    area = "bootstrap"

    def __init__(
        self, name: str, args: FoundationArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        config = self.config
        key = kms.Key(
            "state",
            description="Art32: secrets in the state of stacks",
            enable_key_rotation=True,
            rotation_period_in_days=365,
            deletion_window_in_days=30,
            policy=document(account_root(config)),
            tags=self.tags("state"),
            opts=self.kept(),
        )
        alias = kms.Alias(
            "state", name="alias/art32-state", target_key_id=key.key_id, opts=self.child()
        )
        state = private_bucket(
            self,
            BucketSettings(
                purpose="state",
                name=f"art32-state-{config.account_id}-{config.region}",
                key_arn=key.arn,
                lifecycle=tidy(90),
            ),
        ).bucket
        artifacts = private_bucket(
            self,
            BucketSettings(
                purpose="artifacts", name=naming.artifact_bucket(config), lifecycle=tidy(90)
            ),
        ).bucket
        self.login = pulumi.Output.concat("s3://", state.bucket, f"?region={config.region}")
        self.secrets_provider = pulumi.Output.concat(
            "awskms://", alias.name, f"?region={config.region}"
        )
        self.artifacts = artifacts.bucket
        self.zone: route53.Zone | None = None
        if config.domain is not None:
            self.zone = route53.Zone(
                "zone",
                name=config.domain,
                comment="Art32",
                tags=self.tags("zone"),
                opts=self.kept(),
            )
        self.register_outputs({})
