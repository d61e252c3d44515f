"""Safe defaults of an account and region, for whatever is made outside of the stacks too."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws.ebs as ebs
import pulumi_aws.ec2 as ec2
import pulumi_aws.iam as iam
import pulumi_aws.s3 as s3

from infra.bootstrap.config import AccountConfig
from infra.component import Component


@dataclass(frozen=True)
class DefaultsArgs:
    """Nothing but the configuration."""

    config: AccountConfig


class Defaults(Component[AccountConfig]):
    """Switches that AWS leaves off.

    Protects against: a disk without encryption, a snapshot, image or bucket that somebody makes
    public, a metadata service that a forged request can read, a short password.
    """

    area = "bootstrap"

    def __init__(
        self, name: str, args: DefaultsArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        ebs.EncryptionByDefault("disks", enabled=True, opts=self.kept())
        ebs.SnapshotBlockPublicAccess("snapshots", state="block-all-sharing", opts=self.kept())
        ec2.ImageBlockPublicAccess("images", state="block-new-sharing", opts=self.kept())
        ec2.InstanceMetadataDefaults(
            "metadata", http_tokens="required", http_put_response_hop_limit=1, opts=self.kept()
        )
        s3.AccountPublicAccessBlock(
            "buckets",
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self.kept(),
        )
        iam.AccountPasswordPolicy(
            "passwords",
            minimum_password_length=14,
            password_reuse_prevention=24,
            require_lowercase_characters=True,
            require_uppercase_characters=True,
            require_numbers=True,
            require_symbols=True,
            allow_users_to_change_password=True,
            opts=self.kept(),
        )
        self.register_outputs({})
