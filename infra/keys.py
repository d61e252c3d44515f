"""Encryption keys: one for data, one for logs and messages, one for snapshots."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws.kms as kms

from infra import naming
from infra.component import Component
from infra.config.model import InfraConfig
from infra.documents import Statement, allow, document


@dataclass(frozen=True)
class KeysArgs:
    """Nothing but the configuration."""

    config: InfraConfig


class Keys(Component[InfraConfig]):
    """Three customer-managed keys that rotate each year.

    Protects against: a disk, a snapshot or a log that is read outside of the account, and one
    deletion that loses everything at once (three keys, a waiting time of 30 days, an alarm). The
    backup bucket uses none of them: its content is OpenPGP already, and a disabled key would lose
    every backup.
    """

    area = "keys"

    def __init__(
        self, name: str, args: KeysArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        config = self.config
        self.data = self._key("data", "disks and databases", *_disks(config))
        self.logs = self._key("logs", "logs and messages", *_logs(config), *_messages(config))
        self.vault = self._key("vault", "snapshots in the vault", *_vault(config))
        self.register_outputs({"data": self.data.arn, "logs": self.logs.arn})

    def _key(self, name: str, purpose: str, *statements: Statement) -> kms.Key:
        config = self.config
        key = kms.Key(
            name,
            description=f"Art32 {config.stack}: {purpose}",
            enable_key_rotation=True,
            rotation_period_in_days=365,
            deletion_window_in_days=7 if config.ephemeral else 30,
            policy=document(account_root(config), *statements),
            tags=self.tags(name),
            opts=self.kept(),
        )
        kms.Alias(
            name,
            name=f"alias/{naming.prefixed(config, name)}",
            target_key_id=key.key_id,
            opts=self.child(),
        )
        return key


def account_root(config: naming.Place) -> Statement:
    """Return the statement that leaves a key's use to the account's IAM policies.

    Without it a key can become unmanageable for everybody (KMS developer guide, "Default key
    policy").
    """
    return allow(
        "AccountPolicies",
        "kms:*",
        "*",
        principal={"AWS": f"arn:{config.partition}:iam::{config.account_id}:root"},
    )


_USE = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]


def _through(config: InfraConfig, sid: str, *services: str) -> tuple[Statement, Statement]:
    """Return the statements that let whoever may use a service use the key through it.

    As the keys do that AWS manages itself: so an auto scaling group's service-linked role can
    start encrypted machines, and need not exist before the key.
    """
    through = {
        "kms:CallerAccount": config.account_id,
        "kms:ViaService": [naming.endpoint(config, name) for name in services],
    }
    everyone = {"AWS": "*"}
    return (
        allow(sid, _USE, "*", principal=everyone, condition={"StringEquals": through}),
        allow(
            f"{sid}Grants",
            "kms:CreateGrant",
            "*",
            principal=everyone,
            condition={
                "StringEquals": through,
                "Bool": {"kms:GrantIsForAWSResource": "true"},
            },
        ),
    )


def _disks(config: InfraConfig) -> tuple[Statement, ...]:
    return _through(config, "Disks", "ec2", "rds", "secretsmanager")


def _vault(config: InfraConfig) -> tuple[Statement, ...]:
    return _through(config, "Snapshots", "backup", "ec2", "rds")


def log_groups(config: naming.Place) -> Statement:
    """Return the statement that lets CloudWatch encrypt the account's log groups."""
    return allow(
        "LogGroups",
        _USE,
        "*",
        principal={"Service": naming.endpoint(config, "logs")},
        condition={
            "ArnLike": {
                "kms:EncryptionContext:aws:logs:arn": naming.arn(config, "logs", "log-group:*")
            }
        },
    )


def _logs(config: InfraConfig) -> tuple[Statement, ...]:
    trail = naming.arn(config, "cloudtrail", f"trail/{naming.prefixed(config)}")
    return (
        log_groups(config),
        allow(
            "Trail",
            ["kms:GenerateDataKey*", "kms:DescribeKey"],
            "*",
            principal={"Service": naming.service(config, "cloudtrail")},
            condition={"StringEquals": {"aws:SourceArn": trail}},
        ),
    )


def _messages(config: InfraConfig) -> tuple[Statement, ...]:
    senders = ("cloudwatch", "events.rds", "ses", "backup", "budgets", "sns")
    return (
        allow(
            "Messages",
            ["kms:GenerateDataKey*", "kms:Decrypt"],
            "*",
            principal={"Service": [naming.service(config, name) for name in senders]},
            condition={"StringEquals": {"aws:SourceAccount": config.account_id}},
        ),
        # EventBridge names no source when it encrypts a message for a topic
        allow(
            "Events",
            ["kms:GenerateDataKey*", "kms:Decrypt"],
            "*",
            principal={"Service": naming.service(config, "events")},
        ),
    )
