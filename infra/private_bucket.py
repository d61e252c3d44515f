"""A bucket that nobody outside of the account sees: the settings that every bucket here has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws.s3 as s3

from infra import naming
from infra.component import Component
from infra.documents import Statement, document, tls_only


@dataclass(frozen=True)
class BucketSettings:
    """What differs between buckets. `name` is given where `naming.bucket` is not the rule.

    `lock_days` switches Object Lock on, with that default retention in mode GOVERNANCE. `key_arn`
    encrypts with that key, else with S3's own (SSE-S3). `statements` extend the policy,
    which refuses what is not TLS 1.2 in any case.
    """

    purpose: str
    name: str | None = None
    personal_data: bool = False
    retention_days: int | None = None
    keep: bool = True
    lock_days: int | None = None
    key_arn: pulumi.Input[str] | None = None
    lifecycle: Sequence[s3.BucketLifecycleConfigurationRuleArgs] = ()
    statements: Sequence[Statement] = field(default_factory=tuple)


@dataclass(frozen=True)
class PrivateBucket:
    """A bucket, and its policy: a service that writes into it is refused before that is there."""

    bucket: s3.Bucket
    policy: s3.BucketPolicy


def private_bucket(component: Component[Any], settings: BucketSettings) -> PrivateBucket:
    """Make a bucket and its satellites as children of a component."""
    config, name = component.config, settings.purpose
    physical = settings.name or naming.bucket(config, name)
    options = component.kept if settings.keep else component.child
    bucket = s3.Bucket(
        name,
        bucket=physical,
        object_lock_enabled=settings.lock_days is not None,
        force_destroy=config.ephemeral,
        tags=component.tags(
            name,
            personal_data=settings.personal_data,
            retention_days=settings.retention_days,
        ),
        opts=options(),
    )
    s3.BucketPublicAccessBlock(
        name,
        bucket=bucket.id,
        block_public_acls=True,
        block_public_policy=True,
        ignore_public_acls=True,
        restrict_public_buckets=True,
        opts=component.child(),
    )
    s3.BucketOwnershipControls(
        name,
        bucket=bucket.id,
        rule=s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced"),
        opts=component.child(),
    )
    versioning = s3.BucketVersioning(
        name,
        bucket=bucket.id,
        versioning_configuration=s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
        opts=options(),
    )
    s3.BucketServerSideEncryptionConfiguration(
        name,
        bucket=bucket.id,
        rules=[
            s3.BucketServerSideEncryptionConfigurationRuleArgs(
                apply_server_side_encryption_by_default=(
                    s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
                        sse_algorithm="AES256" if settings.key_arn is None else "aws:kms",
                        kms_master_key_id=settings.key_arn,
                    )
                ),
                bucket_key_enabled=None if settings.key_arn is None else True,
            )
        ],
        opts=component.child(),
    )
    if settings.lifecycle:
        s3.BucketLifecycleConfiguration(
            name,
            bucket=bucket.id,
            rules=list(settings.lifecycle),
            opts=component.child(depends_on=[versioning]),
        )
    if settings.lock_days is not None:
        s3.BucketObjectLockConfiguration(
            name,
            bucket=bucket.id,
            rule=s3.BucketObjectLockConfigurationRuleArgs(
                default_retention=s3.BucketObjectLockConfigurationRuleDefaultRetentionArgs(
                    mode="GOVERNANCE", days=settings.lock_days
                )
            ),
            opts=options(depends_on=[versioning]),
        )
    arn = f"arn:{config.partition}:s3:::{physical}"
    policy = s3.BucketPolicy(
        name,
        bucket=bucket.id,
        policy=document(*tls_only(arn, f"{arn}/*"), *settings.statements),
        opts=options(),
    )
    return PrivateBucket(bucket, policy)


def tidy(extra_days: int = 1) -> tuple[s3.BucketLifecycleConfigurationRuleArgs, ...]:
    """Return the lifecycle rules that touch no current version.

    Versions that a delete marker or a newer version covers go after a day, their lock permitting;
    lone delete markers and cut-off uploads go too. A rule for markers cannot carry days (S3 user
    guide, "Lifecycle configuration elements").
    """
    everything = s3.BucketLifecycleConfigurationRuleFilterArgs(prefix="")
    return (
        s3.BucketLifecycleConfigurationRuleArgs(
            id="noncurrent",
            status="Enabled",
            filter=everything,
            noncurrent_version_expiration=(
                s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
                    noncurrent_days=extra_days
                )
            ),
            abort_incomplete_multipart_upload=(
                s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
                    days_after_initiation=1
                )
            ),
        ),
        s3.BucketLifecycleConfigurationRuleArgs(
            id="delete-markers",
            status="Enabled",
            filter=everything,
            expiration=s3.BucketLifecycleConfigurationRuleExpirationArgs(
                expired_object_delete_marker=True
            ),
        ),
    )


def expire(name: str, prefix: str, days: int) -> s3.BucketLifecycleConfigurationRuleArgs:
    """Return the rule that ends the life of current objects below a prefix."""
    return s3.BucketLifecycleConfigurationRuleArgs(
        id=name,
        status="Enabled",
        filter=s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=prefix),
        expiration=s3.BucketLifecycleConfigurationRuleExpirationArgs(days=days),
    )
