"""The bucket that backups are written to and cannot be taken from."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from infra import naming
from infra.component import Component
from infra.config.model import InfraConfig
from infra.documents import Statement, deny
from infra.private_bucket import BucketSettings, expire, private_bucket, tidy
from infra.rights import writers


@dataclass(frozen=True)
class BackupBucketArgs:
    """Nothing but the configuration: roles are named, so that the policy is known before them."""

    config: InfraConfig


class BackupBucket(Component[InfraConfig]):
    """Versioned, locked, write-only for hosts.

    Protects against: a stolen host that reads or deletes backups, or locks junk for a century (no
    retention right; the bucket's default locks); an overwritten backup (a PUT without
    `If-None-Match` is refused, AWS' exemption for multipart uploads included); a month of failing
    backups that ages the last good one out (no lifecycle rule expires a current version, but for
    shipped logs); a lost encryption key (SSE-S3: the content is OpenPGP already).
    """

    area = "backup"

    def __init__(
        self, name: str, args: BackupBucketArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        config = self.config
        self.bucket = private_bucket(
            self,
            BucketSettings(
                purpose="backups",
                personal_data=True,
                retention_days=config.backup.days,
                lock_days=config.backup.lock_days,
                lifecycle=(
                    *tidy(),
                    expire("logs", f"{config.stack}/logs/", config.backup.days),
                ),
                statements=policy(config),
            ),
        ).bucket
        self.register_outputs({"bucket": self.bucket.bucket})


def policy(config: InfraConfig) -> tuple[Statement, ...]:
    """Return what the bucket refuses, whatever an identity's own policies say."""
    bucket = naming.bucket_arn(config, "backups")
    objects = f"{bucket}/*"
    break_glass = {"ArnNotEquals": {"aws:PrincipalArn": naming.role_arn(config, "breakglass")}}
    return (
        deny(
            "NoOverwriting",
            "s3:PutObject",
            objects,
            principal="*",
            condition={"Null": {"s3:if-none-match": "true"}},
        ),
        deny(
            "NoLocksButTheDefault",
            "s3:PutObject",
            objects,
            principal="*",
            condition={"Null": {"s3:object-lock-mode": "false"}},
        ),
        deny(
            "NoLegalHolds",
            ["s3:PutObjectLegalHold"],
            objects,
            principal="*",
        ),
        deny(
            "LocksAreForBreakGlass",
            ["s3:PutObjectRetention", "s3:BypassGovernanceRetention"],
            objects,
            principal="*",
            condition=break_glass,
        ),
        deny(
            "NoOtherKey",
            "s3:PutObject",
            objects,
            principal="*",
            condition={
                "Null": {"s3:x-amz-server-side-encryption": "false"},
                "StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"},
            },
        ),
        deny(
            "NoKeyOfTheCaller",
            "s3:PutObject",
            objects,
            principal="*",
            condition={"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "false"}},
        ),
        deny(
            "WritersOnlyWrite",
            [
                "s3:Get*",
                "s3:List*",
                "s3:Delete*",
                "s3:PutBucket*",
                "s3:PutLifecycleConfiguration",
                "s3:PutEncryptionConfiguration",
                "s3:PutReplicationConfiguration",
                "s3:PutObjectAcl",
                "s3:PutObjectTagging",
                "s3:RestoreObject",
                "s3:AbortMultipartUpload",
            ],
            [bucket, objects],
            principal="*",
            condition={
                "ArnEquals": {
                    "aws:PrincipalArn": [naming.role_arn(config, duty) for duty in writers(config)]
                }
            },
        ),
        deny(
            "NoStrangers",
            "s3:*",
            [bucket, objects],
            principal="*",
            condition={
                "StringNotEquals": {"aws:PrincipalAccount": config.account_id},
                "Bool": {"aws:PrincipalIsAWSService": "false"},
            },
        ),
    )
