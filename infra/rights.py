"""What each identity may do: statements by duty, pure functions of the configuration.

Resources are written by name, so that a reviewer reads the whole policy before anything exists.
"""

from __future__ import annotations

from infra import naming
from infra.config.model import InfraConfig
from infra.documents import Statement, allow


def writers(config: InfraConfig) -> tuple[str, ...]:
    """Return the duties that write backups."""
    return tuple(duty for duty in config.duties if duty not in ("keeper", "restorer"))


def of(config: InfraConfig, duty: str) -> tuple[Statement, ...]:
    """Return all statements of a machine's role."""
    own = {"keeper": keeper, "restorer": restorer}.get(duty)
    return (
        *(own(config) if own else writer(config, duty)),
        *machine(config, duty),
    )


def writer(config: InfraConfig, duty: str) -> tuple[Statement, ...]:
    """Return the one right of whoever makes backups.

    `aws:userid` is `<role id>:<instance id>`: below `enroll/`, IAM proves which machine wrote.
    """
    own = f"{config.stack}/{duty}/*"
    places = (
        own,
        f"{config.stack}/logs/{duty}/*",
        *([f"{config.stack}/wal/{duty}/*"] if duty == "db" else []),
        f"{config.stack}/enroll/${{aws:userid}}/*",
        f"{config.stack}/probe/*",
    )
    return (
        allow(
            "WriteBackups",
            "s3:PutObject",
            [naming.bucket_arn(config, "backups", place) for place in places],
        ),
    )


def keeper(config: InfraConfig) -> tuple[Statement, ...]:
    """Return the rights of whoever lists, verifies and deletes, their locks permitting."""
    return (
        *_read(config),
        allow(
            "DeleteExpired",
            ["s3:DeleteObject", "s3:DeleteObjectVersion"],
            naming.bucket_arn(config, "backups", f"{config.stack}/*"),
        ),
        allow(
            "Publish",
            "s3:PutObject",
            [
                naming.bucket_arn(config, "backups", f"{config.stack}/pins/*"),
                naming.bucket_arn(config, "backups", f"{config.stack}/evidence/*"),
                naming.bucket_arn(config, "backups", f"{config.stack}/probe/*"),
            ],
        ),
        allow("SeeMachines", "ec2:DescribeInstances", "*"),
        allow(
            "ReportAges",
            "cloudwatch:PutMetricData",
            "*",
            condition={"StringEquals": {"cloudwatch:namespace": naming.metric_namespace(config)}},
        ),
    )


def restorer(config: InfraConfig) -> tuple[Statement, ...]:
    """Return the rights of whoever decrypts: reading, and notes of what its drills came to."""
    return (
        *_read(config),
        allow(
            "NoteDrills",
            "s3:PutObject",
            naming.bucket_arn(config, "backups", f"{config.stack}/evidence/drills/*"),
        ),
    )


def break_glass(config: InfraConfig) -> tuple[Statement, ...]:
    """Return the rights of whoever deletes what is still locked.

    A locked vault knows no bypass: its lock is taken off, and put on again afterwards.
    """
    vaults = {"snapshots": config.region}
    if config.backup.copy_region is not None:
        vaults["snapshots-copy"] = config.backup.copy_region
    return (
        *_read(config),
        allow(
            "DeleteLocked",
            [
                "s3:DeleteObject",
                "s3:DeleteObjectVersion",
                "s3:BypassGovernanceRetention",
                "s3:GetBucketObjectLockConfiguration",
            ],
            [
                naming.bucket_arn(config, "backups"),
                naming.bucket_arn(config, "backups", f"{config.stack}/*"),
            ],
        ),
        allow(
            "DeleteSnapshots",
            ["backup:DescribeRecoveryPoint", "backup:DeleteRecoveryPoint"],
            "*",
            condition={"StringEquals": {"aws:ResourceTag/Art32Stack": config.stack}},
        ),
        allow(
            "LiftVaultLock",
            [
                "backup:ListRecoveryPointsByBackupVault",
                "backup:DescribeBackupVault",
                "backup:DeleteBackupVaultLockConfiguration",
                "backup:PutBackupVaultLockConfiguration",
            ],
            [
                naming.arn(config, "backup", f"backup-vault:{naming.prefixed(config, name)}", place)
                for name, place in vaults.items()
            ],
        ),
    )


def _read(config: InfraConfig) -> tuple[Statement, ...]:
    return (
        allow(
            "ListBackups",
            ["s3:ListBucket", "s3:ListBucketVersions"],
            naming.bucket_arn(config, "backups"),
            condition={"StringLike": {"s3:prefix": [config.stack, f"{config.stack}/*"]}},
        ),
        allow(
            "ReadBackups",
            ["s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention"],
            naming.bucket_arn(config, "backups", f"{config.stack}/*"),
        ),
    )


def machine(config: InfraConfig, duty: str) -> tuple[Statement, ...]:
    """Return what every machine needs to start, to be reached by Session Manager, to log.

    AWS' managed policy for this, AmazonSSMManagedInstanceCore, also reads every parameter of the
    account; this one reads the machine's own.
    """
    log_group = naming.arn(config, "logs", f"log-group:{naming.log_group(config, duty)}")
    sessions = naming.arn(config, "logs", f"log-group:{naming.SESSIONS}")
    runs = naming.arn(config, "logs", f"log-group:{naming.log_group(config, 'runs')}")
    return (
        allow(
            "BeManaged",
            [
                "ssm:UpdateInstanceInformation",
                "ssm:ListAssociations",
                "ssm:ListInstanceAssociations",
                "ssm:DescribeAssociation",
                "ssm:DescribeDocument",
                "ssm:GetDocument",
                "ssm:GetDeployablePatchSnapshotForInstance",
                "ssm:PutInventory",
                "ssm:PutComplianceItems",
                "ssm:PutConfigurePackageResult",
                "ssm:UpdateAssociationStatus",
                "ssm:UpdateInstanceAssociationStatus",
                "ssmmessages:CreateControlChannel",
                "ssmmessages:CreateDataChannel",
                "ssmmessages:OpenControlChannel",
                "ssmmessages:OpenDataChannel",
                "ec2messages:AcknowledgeMessage",
                "ec2messages:DeleteMessage",
                "ec2messages:FailMessage",
                "ec2messages:GetEndpoint",
                "ec2messages:GetMessages",
                "ec2messages:SendReply",
            ],
            "*",
        ),
        allow(
            "ReadOwnParameters",
            ["ssm:GetParameter", "ssm:GetParameters"],
            [
                naming.arn(config, "ssm", "parameter" + naming.parameter(config, duty, "*")),
                naming.arn(config, "ssm", "parameter" + naming.parameter(config, "shared", "*")),
            ],
        ),
        allow(
            "FetchPackages",
            "s3:GetObject",
            [
                f"arn:{config.partition}:s3:::{naming.artifact_bucket(config)}/{place}"
                for place in ("shared/*", f"stacks/{config.stack}/{duty}/*")
            ],
        ),
        allow(
            "WriteOwnLog",
            ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
            [f"{log_group}:*", f"{sessions}:*", f"{runs}:*"],
        ),
        allow("FindLogGroups", "logs:DescribeLogGroups", "*"),
        allow(
            "ReportHealth",
            "cloudwatch:PutMetricData",
            "*",
            condition={"StringEquals": {"cloudwatch:namespace": naming.host_namespace(config)}},
        ),
    )
