"""What wakes somebody: alarms as data, each with the runbook that says what to do.

Patterns over the trail follow the CIS AWS Foundations Benchmark 3.0, section 4, where one is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from infra import agent_file, naming
from infra.config.model import InfraConfig

HOUR, DAY = 3600, 86400
GIBIBYTE = 2**30


@dataclass(frozen=True)
class TrailAlarm:
    """An alarm on calls that match a pattern. `value` is what a match counts, else 1."""

    name: str
    pattern: str
    runbook: str
    meaning: str
    value: str = "1"
    period: int = 300
    threshold: float = 1


@dataclass(frozen=True)
class MetricAlarm:
    """An alarm on a metric that somebody else puts. `missing`: what no data means."""

    name: str
    namespace: str
    metric: str
    runbook: str
    meaning: str
    threshold: float
    statistic: str = "Maximum"
    comparison: str = "GreaterThanOrEqualToThreshold"
    period: int = 300
    periods: int = 1
    missing: str = "notBreaching"
    dimensions: Mapping[str, object] = field(default_factory=dict)


def trail_alarms(config: InfraConfig) -> tuple[TrailAlarm, ...]:
    """Return the alarms on the trail; those on management events need a trail that has them."""
    own = _backup_alarms(config)
    return own if config.organization_trail else (*own, *_MANAGEMENT)


def _backup_alarms(config: InfraConfig) -> tuple[TrailAlarm, ...]:
    glass = naming.role(config, "breakglass")
    issuer = "$.userIdentity.sessionContext.sessionIssuer.userName"
    probes = (
        f'(($.requestParameters.key NOT EXISTS) || ($.requestParameters.key != "{config.stack}'
        '/probe/*"))'
    )
    filled = tuple(
        TrailAlarm(
            f"flood-{duty}",
            f'{{ ($.eventName = "PutObject") && ({issuer} = "{naming.role(config, duty)}") }}',
            "host-compromised",
            "a host writes far more than its data: a thief can fill a locked bucket",
            value="$.additionalEventData.bytesTransferredIn",
            period=DAY,
            threshold=float(3 * GIBIBYTE * max(config.db.storage, config.web.storage)),
        )
        for duty in agent_file.backed_up(config)
    )
    return (
        TrailAlarm(
            "refused-backup-calls",
            '{ ($.eventSource = s3.amazonaws.com) && ($.errorCode = "AccessDenied") && '
            f"{probes} }}",
            "store-refused",
            "somebody was refused at the backup bucket, outside of the agents' own probes",
        ),
        TrailAlarm(
            "break-glass-used",
            f'{{ {issuer} = "{glass}" }}',
            "break-glass",
            "the role that deletes locked backups was used",
        ),
        TrailAlarm(
            "lock-bypassed",
            '{ ($.eventName = "PutObjectRetention") || ($.eventName = "PutObjectLegalHold") || '
            '($.eventName = "PutBucketObjectLockConfiguration") }',
            "break-glass",
            "a lock of a backup was changed",
        ),
        *filled,
    )


_MANAGEMENT = (
    TrailAlarm(
        "unauthorized-calls",
        '{ (($.errorCode = "*UnauthorizedOperation") || ($.errorCode = "AccessDenied*")) && '
        '($.eventSource != "s3.amazonaws.com") }',
        "host-compromised",
        "CIS 4.1: calls that were refused",
        threshold=5,
    ),
    TrailAlarm(
        "console-without-mfa",
        '{ ($.eventName = "ConsoleLogin") && ($.additionalEventData.MFAUsed != "Yes") && '
        '($.userIdentity.type = "IAMUser") && ($.responseElements.ConsoleLogin = "Success") }',
        "host-compromised",
        "CIS 4.2: a sign-in without a second factor",
    ),
    TrailAlarm(
        "root-used",
        '{ $.userIdentity.type = "Root" && $.userIdentity.invokedBy NOT EXISTS && '
        '$.eventType != "AwsServiceEvent" }',
        "personal-data-breach",
        "CIS 4.3: the root user was used",
    ),
    TrailAlarm(
        "iam-changed",
        "{ ($.eventName = DeleteRolePolicy) || ($.eventName = PutRolePolicy) || "
        "($.eventName = AttachRolePolicy) || ($.eventName = DetachRolePolicy) || "
        "($.eventName = PutUserPolicy) || ($.eventName = AttachUserPolicy) || "
        "($.eventName = CreatePolicyVersion) || ($.eventName = UpdateAssumeRolePolicy) || "
        "($.eventName = CreateAccessKey) }",
        "host-compromised",
        "CIS 4.4: rights were changed",
    ),
    TrailAlarm(
        "trail-changed",
        "{ ($.eventName = UpdateTrail) || ($.eventName = DeleteTrail) || "
        "($.eventName = StopLogging) || ($.eventName = PutEventSelectors) }",
        "personal-data-breach",
        "CIS 4.5: the record of calls was changed",
    ),
    TrailAlarm(
        "console-failures",
        '{ ($.eventName = ConsoleLogin) && ($.errorMessage = "Failed authentication") }',
        "host-compromised",
        "CIS 4.6: sign-ins fail",
        threshold=5,
    ),
    TrailAlarm(
        "vault-opened",
        "{ ($.eventSource = backup.amazonaws.com) && "
        "(($.eventName = DeleteBackupVaultLockConfiguration) || "
        "($.eventName = PutBackupVaultLockConfiguration) || "
        "($.eventName = DeleteBackupVaultAccessPolicy) || "
        "($.eventName = PutBackupVaultAccessPolicy)) }",
        "break-glass",
        "the lock or the policy of the snapshots' vault was changed",
    ),
    TrailAlarm(
        "key-disabled",
        "{ ($.eventSource = kms.amazonaws.com) && (($.eventName = DisableKey) || "
        "($.eventName = ScheduleKeyDeletion)) }",
        "key-lost",
        "CIS 4.7: an encryption key is about to go",
    ),
    TrailAlarm(
        "bucket-policy-changed",
        "{ ($.eventSource = s3.amazonaws.com) && (($.eventName = PutBucketPolicy) || "
        "($.eventName = DeleteBucketPolicy) || ($.eventName = PutBucketLifecycle) || "
        "($.eventName = PutBucketReplication) || ($.eventName = PutBucketVersioning) || "
        "($.eventName = DeleteBucketPublicAccessBlock)) }",
        "store-refused",
        "CIS 4.8: a bucket's protection was changed",
    ),
    TrailAlarm(
        "config-changed",
        "{ ($.eventSource = config.amazonaws.com) && (($.eventName = StopConfigurationRecorder) || "
        "($.eventName = DeleteDeliveryChannel) || ($.eventName = PutDeliveryChannel) || "
        "($.eventName = PutConfigurationRecorder)) }",
        "personal-data-breach",
        "CIS 4.9: the record of settings was changed",
    ),
    TrailAlarm(
        "network-changed",
        "{ ($.eventName = AuthorizeSecurityGroupIngress) || "
        "($.eventName = AuthorizeSecurityGroupEgress) || "
        "($.eventName = ModifySecurityGroupRules) || ($.eventName = CreateNetworkAclEntry) || "
        "($.eventName = ReplaceNetworkAclEntry) || ($.eventName = AttachInternetGateway) || "
        "($.eventName = CreateRoute) || ($.eventName = ReplaceRoute) || "
        "($.eventName = CreateVpcPeeringConnection) || ($.eventName = ModifyVpcAttribute) }",
        "host-compromised",
        "CIS 4.10 to 4.14: firewalls or ways were changed",
    ),
    TrailAlarm(
        "organization-changed",
        "{ ($.eventSource = organizations.amazonaws.com) && (($.eventName = LeaveOrganization) || "
        "($.eventName = DetachPolicy) || ($.eventName = DisablePolicyType)) }",
        "host-compromised",
        "CIS 4.15: the organisation's rules were changed",
    ),
)


def keeper_alarms(config: InfraConfig) -> tuple[MetricAlarm, ...]:
    """Return the alarms on what the keeper reports; its silence is an alarm too."""
    space = naming.metric_namespace(config)
    ages = tuple(
        alarm
        for duty in agent_file.backed_up(config)
        for alarm in (
            MetricAlarm(
                f"backup-age-{duty}",
                space,
                "BackupAge",
                "backup-stale",
                f"the newest good backup of `{duty}` is older than 26 hours, or nobody knows",
                threshold=26 * HOUR,
                period=HOUR,
                periods=2,
                missing="breaching",
                dimensions={"Host": duty},
            ),
            MetricAlarm(
                f"drill-age-{duty}",
                space,
                "DrillAge",
                "drill-failed",
                f"no backup of `{duty}` was restored for 35 days, or nobody knows",
                threshold=35 * DAY,
                period=HOUR,
                periods=3,
                missing="breaching",
                dimensions={"Host": duty},
            ),
        )
    )
    return (
        *ages,
        MetricAlarm(
            "suspect-backups",
            space,
            "SuspectBackups",
            "backup-suspect",
            "a backup is not what its host has signed",
            threshold=1,
            period=HOUR,
        ),
        MetricAlarm(
            "pending-hosts",
            space,
            "PendingHosts",
            "backup-suspect",
            "a new machine signs with a key that nobody has accepted",
            threshold=1,
            period=HOUR,
        ),
    )
