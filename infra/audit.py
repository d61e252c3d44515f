"""Who did what: the trail of the account's calls and of every use of the backup bucket."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws.cloudtrail as cloudtrail
import pulumi_aws.cloudwatch as cloudwatch
import pulumi_aws.iam as iam

from infra import naming
from infra.component import Component
from infra.config.model import InfraConfig
from infra.documents import Statement, allow, document, from_account, trust
from infra.private_bucket import BucketSettings, expire, private_bucket, tidy

DAYS = 365
"""How long the trail is kept: attacks are found late, and article 33 asks what happened."""
GROUP_DAYS = 90
"""How long it can be searched beside the alarms."""


@dataclass(frozen=True)
class AuditArgs:
    """The key of the trail and its log group."""

    config: InfraConfig
    logs_key_arn: pulumi.Input[str]


class Audit(Component[InfraConfig]):
    """A trail over all regions, validated, encrypted, in a locked bucket, searchable for 90 days.

    Protects against: a breach that nobody can reconstruct, a thief who deletes his traces (Object
    Lock, validation), and backups that are read or deleted unnoticed (data events of the backup
    bucket). With a trail of the organisation it records these alone: a second copy of the
    management events costs, the first is free.
    """

    area = "audit"

    def __init__(
        self, name: str, args: AuditArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        config = self.config
        made = private_bucket(
            self,
            BucketSettings(
                purpose="audit",
                personal_data=True,
                retention_days=DAYS,
                lock_days=1 if config.ephemeral else 30,
                key_arn=args.logs_key_arn,
                lifecycle=(*tidy(), expire("trail", "AWSLogs/", DAYS)),
                statements=bucket_policy(config),
            ),
        )
        self.bucket = made.bucket
        self.group = cloudwatch.LogGroup(
            "trail",
            name=naming.log_group(config, "trail"),
            retention_in_days=GROUP_DAYS,
            kms_key_id=args.logs_key_arn,
            tags=self.tags("trail", personal_data=True, retention_days=GROUP_DAYS),
            opts=self.child(),
        )
        role = iam.Role(
            "trail",
            name=naming.role(config, "trail"),
            assume_role_policy=trust(
                config, "cloudtrail", from_account(config, source=trail_arn(config))
            ),
            tags=self.tags("trail"),
            opts=self.child(),
        )
        policy = iam.RolePolicy(
            "trail",
            role=role.id,
            policy=document(
                allow(
                    "Write",
                    ["logs:CreateLogStream", "logs:PutLogEvents"],
                    pulumi.Output.concat(self.group.arn, ":log-stream:*"),
                )
            ),
            opts=self.child(),
        )
        cloudtrail.Trail(
            "trail",
            name=naming.prefixed(config),
            s3_bucket_name=self.bucket.id,
            is_multi_region_trail=not config.organization_trail,
            include_global_service_events=not config.organization_trail,
            enable_log_file_validation=True,
            enable_logging=True,
            kms_key_id=args.logs_key_arn,
            cloud_watch_logs_group_arn=pulumi.Output.concat(self.group.arn, ":*"),
            cloud_watch_logs_role_arn=role.arn,
            advanced_event_selectors=selectors(config),
            tags=self.tags("trail"),
            opts=self.child(depends_on=[policy, made.policy]),
        )
        self.register_outputs({"bucket": self.bucket.bucket})


def trail_arn(config: InfraConfig) -> str:
    """Return the ARN of the trail."""
    return naming.arn(config, "cloudtrail", f"trail/{naming.prefixed(config)}")


def selectors(config: InfraConfig) -> list[cloudtrail.TrailAdvancedEventSelectorArgs]:
    """Return what the trail records."""

    def field(
        name: str, **how: list[str]
    ) -> cloudtrail.TrailAdvancedEventSelectorFieldSelectorArgs:
        return cloudtrail.TrailAdvancedEventSelectorFieldSelectorArgs(
            field=name, equals=how.get("equals"), starts_withs=how.get("starts_withs")
        )

    backups = cloudtrail.TrailAdvancedEventSelectorArgs(
        name="every use of a backup",
        field_selectors=[
            field("eventCategory", equals=["Data"]),
            field("resources.type", equals=["AWS::S3::Object"]),
            field("resources.ARN", starts_withs=[f"{naming.bucket_arn(config, 'backups')}/"]),
        ],
    )
    if config.organization_trail:
        return [backups]
    return [
        cloudtrail.TrailAdvancedEventSelectorArgs(
            name="management", field_selectors=[field("eventCategory", equals=["Management"])]
        ),
        backups,
    ]


def bucket_policy(config: InfraConfig) -> tuple[Statement, ...]:
    """Return what lets the trail, and no trail of a stranger, write into the bucket."""
    bucket = naming.bucket_arn(config, "audit")
    service = {"Service": naming.service(config, "cloudtrail")}
    source = {"StringEquals": {"aws:SourceArn": trail_arn(config)}}
    return (
        allow(
            "TrailLooks",
            "s3:GetBucketAcl",
            bucket,
            principal=service,
            condition=source,
        ),
        allow(
            "TrailWrites",
            "s3:PutObject",
            f"{bucket}/AWSLogs/{config.account_id}/*",
            principal=service,
            condition={
                "StringEquals": {
                    "aws:SourceArn": trail_arn(config),
                    "s3:x-amz-acl": "bucket-owner-full-control",
                }
            },
        ),
    )
