"""What watches an account and exists once: findings, the record of settings, sessions."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws.accessanalyzer as accessanalyzer
import pulumi_aws.cfg as cfg
import pulumi_aws.cloudwatch as cloudwatch
import pulumi_aws.guardduty as guardduty
import pulumi_aws.iam as iam
import pulumi_aws.kms as kms
import pulumi_aws.securityhub as securityhub
import pulumi_aws.ssm as ssm

from infra import naming
from infra.bootstrap.config import AccountConfig
from infra.component import Component
from infra.documents import allow, document, trust
from infra.keys import account_root, log_groups
from infra.private_bucket import BucketSettings, expire, private_bucket, tidy

RECORD_DAYS = 365
SESSION_DAYS = 90


@dataclass(frozen=True)
class WatchingArgs:
    """Nothing but the configuration."""

    config: AccountConfig


class Watching(Component[AccountConfig]):
    """GuardDuty, Config, Security Hub, Access Analyzer, the log of sessions.

    Protects against: an intrusion, a public resource or a changed setting that nobody notices. No
    stack owns these: whoever destroys a test stack must not switch them off for production.
    """

    area = "bootstrap"

    def __init__(
        self, name: str, args: WatchingArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        config = self.config
        if config.guard_duty == "create":
            self._guard_duty()
        if config.recorder == "create":
            self._recorder()
        if config.security_hub == "create":
            self._security_hub()
        if config.access_analyzer == "create":
            accessanalyzer.Analyzer(
                "outside",
                analyzer_name="art32-outside",
                type="ACCOUNT",
                tags=self.tags("outside"),
                opts=self.kept(),
            )
        if config.sessions == "create":
            self._sessions()
        self.register_outputs({})

    def _guard_duty(self) -> None:
        detector = guardduty.Detector(
            "detector",
            enable=True,
            finding_publishing_frequency="FIFTEEN_MINUTES",
            tags=self.tags("detector"),
            opts=self.kept(),
        )
        for feature in ("S3_DATA_EVENTS", "EBS_MALWARE_PROTECTION", "RDS_LOGIN_EVENTS"):
            guardduty.DetectorFeature(
                feature.lower().replace("_", "-"),
                detector_id=detector.id,
                name=feature,
                status="ENABLED",
                opts=self.kept(),
            )

    def _recorder(self) -> None:
        config = self.config
        service = naming.service(config, "config")
        bucket_arn = naming.bucket_arn(config, "config")
        own = {"StringEquals": {"aws:SourceAccount": config.account_id}}
        made = private_bucket(
            self,
            BucketSettings(
                purpose="config",
                lifecycle=(*tidy(), expire("records", "AWSLogs/", RECORD_DAYS)),
                statements=(
                    allow(
                        "RecorderLooks",
                        ["s3:GetBucketAcl", "s3:ListBucket"],
                        bucket_arn,
                        principal={"Service": service},
                        condition=own,
                    ),
                    allow(
                        "RecorderWrites",
                        "s3:PutObject",
                        f"{bucket_arn}/AWSLogs/{config.account_id}/Config/*",
                        principal={"Service": service},
                        condition={
                            "StringEquals": {
                                "aws:SourceAccount": config.account_id,
                                "s3:x-amz-acl": "bucket-owner-full-control",
                            }
                        },
                    ),
                ),
            ),
        )
        role = iam.Role(
            "recorder",
            name=naming.role(config, "recorder"),
            assume_role_policy=trust(config, "config"),
            tags=self.tags("recorder"),
            opts=self.kept(),
        )
        delivery = iam.RolePolicy(
            "recorder-delivery",
            role=role.id,
            policy=document(
                allow("Look", "s3:GetBucketAcl", bucket_arn),
                allow(
                    "Deliver",
                    "s3:PutObject",
                    f"{bucket_arn}/AWSLogs/{config.account_id}/Config/*",
                    condition={"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}},
                ),
            ),
            opts=self.kept(),
        )
        attachment = iam.RolePolicyAttachment(
            "recorder",
            role=role.name,
            policy_arn=naming.managed_policy(config, "service-role/AWS_ConfigRole"),
            opts=self.kept(),
        )
        recorder = cfg.Recorder(
            "recorder",
            name="art32",
            role_arn=role.arn,
            recording_group=cfg.RecorderRecordingGroupArgs(
                all_supported=True, include_global_resource_types=True
            ),
            opts=self.kept(depends_on=[attachment]),
        )
        channel = cfg.DeliveryChannel(
            "recorder",
            name="art32",
            s3_bucket_name=made.bucket.bucket,
            opts=self.kept(depends_on=[recorder, delivery, made.policy]),
        )
        cfg.RecorderStatus(
            "recorder", name=recorder.name, is_enabled=True, opts=self.kept(depends_on=[channel])
        )

    def _security_hub(self) -> None:
        config = self.config
        hub = securityhub.Account("hub", enable_default_standards=False, opts=self.kept())
        securityhub.StandardsSubscription(
            "foundational",
            standards_arn=f"arn:{config.partition}:securityhub:{config.region}::standards/"
            "aws-foundational-security-best-practices/v/1.0.0",
            opts=self.kept(depends_on=[hub]),
        )

    def _sessions(self) -> None:
        """Make the account's settings of Session Manager: SSH is not there to be attacked."""
        config = self.config
        key = kms.Key(
            "sessions",
            description="Art32: logs of sessions",
            enable_key_rotation=True,
            rotation_period_in_days=365,
            deletion_window_in_days=30,
            policy=document(account_root(config), log_groups(config)),
            tags=self.tags("sessions"),
            opts=self.kept(),
        )
        group = cloudwatch.LogGroup(
            "sessions",
            name=naming.SESSIONS,
            retention_in_days=SESSION_DAYS,
            kms_key_id=key.arn,
            tags=self.tags("sessions", personal_data=True, retention_days=SESSION_DAYS),
            opts=self.kept(),
        )
        ssm.Document(
            "sessions",
            name="SSM-SessionManagerRunShell",
            document_type="Session",
            document_format="JSON",
            content=pulumi.Output.json_dumps(
                {
                    "schemaVersion": "1.0",
                    "description": "Art32: sessions are logged",
                    "sessionType": "Standard_Stream",
                    "inputs": {
                        "cloudWatchLogGroupName": group.name,
                        "cloudWatchEncryptionEnabled": True,
                        "cloudWatchStreamingEnabled": True,
                        "idleSessionTimeout": "20",
                        "runAsEnabled": False,
                    },
                }
            ),
            tags=self.tags("sessions"),
            opts=self.kept(),
        )
