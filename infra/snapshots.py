"""Snapshots of disks and databases by AWS Backup, the one engine for them, and their rehearsal."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws.backup as backup
import pulumi_aws.iam as iam
import pulumi_aws.kms as kms

from infra import naming
from infra.component import Component
from infra.config.model import InfraConfig
from infra.documents import deny, document, trust
from infra.keys import account_root

SHORTEST_LOCK = 7


@dataclass(frozen=True)
class SnapshotsArgs:
    """The key of the vault, where events go, and the provider of the second region if any.

    `database_subnets` and `database_group` are where a rehearsed managed database is put.
    """

    config: InfraConfig
    vault_key_arn: pulumi.Input[str]
    alarms_topic_arn: pulumi.Input[str]
    copy_provider: pulumi.ProviderResource | None
    database_subnets: pulumi.Input[str] | None = None
    database_group: pulumi.Input[str] | None = None


class Snapshots(Component[InfraConfig]):
    """A locked vault, a daily plan over the tag `Art32Backup`, copies, and a monthly restore test.

    Protects against: a disk or a database that is lost whole; a snapshot that is deleted early
    (vault lock in governance mode, and a policy that lets break-glass alone delete or unlock) or
    kept for ever (the lock has a longest retention); a snapshot that would not have restored; and,
    with a copy, the loss of the region.
    """

    area = "snapshots"

    def __init__(
        self, name: str, args: SnapshotsArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        config = self.config
        self.vault = self._vault("snapshots", args.vault_key_arn, None)
        backup.VaultNotifications(
            "snapshots",
            backup_vault_name=self.vault.name,
            sns_topic_arn=args.alarms_topic_arn,
            # the vault's events on jobs of backup and restore tell nobody any more: alarms.py
            backup_vault_events=["COPY_JOB_FAILED"],
            opts=self.child(),
        )
        self.copy = self._second_region(args.copy_provider) if args.copy_provider else None
        role = self._role()
        plan = backup.Plan(
            "daily",
            name=naming.prefixed(config, "daily"),
            rules=[
                backup.PlanRuleArgs(
                    rule_name="daily",
                    target_vault_name=self.vault.name,
                    schedule="cron(0 3 * * ? *)",
                    start_window=60,
                    completion_window=360,
                    lifecycle=backup.PlanRuleLifecycleArgs(delete_after=config.backup.days),
                    copy_actions=[
                        backup.PlanRuleCopyActionArgs(
                            destination_vault_arn=self.copy.arn,
                            lifecycle=backup.PlanRuleCopyActionLifecycleArgs(
                                delete_after=config.backup.days
                            ),
                        )
                    ]
                    if self.copy
                    else None,
                    recovery_point_tags={"Art32Stack": config.stack},
                )
            ],
            tags=self.tags("daily"),
            opts=self.child(),
        )
        backup.Selection(
            "daily",
            name=naming.prefixed(config, "tagged"),
            plan_id=plan.id,
            iam_role_arn=role.arn,
            selection_tags=[
                backup.SelectionSelectionTagArgs(
                    type="STRINGEQUALS", key="Art32Backup", value=config.stack
                )
            ],
            opts=self.child(),
        )
        self._rehearsal(role, args)
        self.register_outputs({"vault": self.vault.arn})

    def _vault(
        self,
        name: str,
        key_arn: pulumi.Input[str],
        provider: pulumi.ProviderResource | None,
    ) -> backup.Vault:
        """Make a vault with lock and policy.

        The lock has no `changeable_for_days`: with it the lock would become irrevocable.
        """
        config = self.config
        place = {} if provider is None else {"provider": provider}
        vault = backup.Vault(
            name,
            name=naming.prefixed(config, name),
            kms_key_arn=key_arn,
            force_destroy=config.ephemeral,
            tags=self.tags(name, personal_data=True, retention_days=config.backup.days),
            opts=self.kept(**place),
        )
        if not config.ephemeral:
            backup.VaultLockConfiguration(
                name,
                backup_vault_name=vault.name,
                min_retention_days=min(SHORTEST_LOCK, config.backup.days),
                max_retention_days=config.backup.days + 5,
                # Another retention replaces it, which is a call that sets it: `protect` would
                # refuse that. Retained, it is never taken off.
                opts=self.child(retain_on_delete=True, **place),
            )
        backup.VaultPolicy(
            name,
            backup_vault_name=vault.name,
            policy=document(
                deny(
                    "DeletionIsForBreakGlass",
                    _break_glass_alone(config),
                    "*",
                    principal={"AWS": "*"},
                    condition={
                        "ArnNotEquals": {"aws:PrincipalArn": naming.role_arn(config, "breakglass")}
                    },
                )
            ),
            opts=self.kept(**place),
        )
        return vault

    def _second_region(self, provider: pulumi.ProviderResource) -> backup.Vault:
        """Make key and vault in the second region: a key does not leave its own."""
        config = self.config
        key = kms.Key(
            "vault-copy",
            description=f"Art32 {config.stack}: copies of snapshots",
            enable_key_rotation=True,
            rotation_period_in_days=365,
            deletion_window_in_days=7 if config.ephemeral else 30,
            policy=document(account_root(config)),
            tags=self.tags("vault-copy"),
            opts=self.kept(provider=provider),
        )
        return self._vault("snapshots-copy", key.arn, provider)

    def _role(self) -> iam.Role:
        config = self.config
        role = iam.Role(
            "backup",
            name=naming.role(config, "backup"),
            assume_role_policy=trust(config, "backup"),
            tags=self.tags("backup"),
            opts=self.child(),
        )
        for purpose in ("Backup", "Restores"):
            iam.RolePolicyAttachment(
                f"backup-{purpose.lower()}",
                role=role.name,
                policy_arn=naming.managed_policy(
                    config, f"service-role/AWSBackupServiceRolePolicyFor{purpose}"
                ),
                opts=self.child(),
            )
        return role

    def _rehearsal(self, role: iam.Role, args: SnapshotsArgs) -> None:
        """Have AWS Backup restore the newest snapshots once a month and delete the result.

        Left to itself it puts a database into the account's default network, with that network's
        default group, or fails where there is none (AWS Backup, "Restore testing inferred
        metadata").
        """
        config = self.config
        name = naming.prefixed(config, "rehearsal").replace("-", "_")
        plan = backup.RestoreTestingPlan(
            "rehearsal",
            name=name,
            schedule_expression="cron(0 5 1 * ? *)",
            start_window_hours=8,
            recovery_point_selection=backup.RestoreTestingPlanRecoveryPointSelectionArgs(
                algorithm="LATEST_WITHIN_WINDOW",
                include_vaults=[self.vault.arn],
                recovery_point_types=["SNAPSHOT"],
                selection_window_days=7,
            ),
            tags=self.tags("rehearsal"),
            opts=self.child(),
        )
        kinds = ["EBS"] if self._has_volumes() else []
        kinds += ["RDS"] if config.db.form == "rds" else []
        place: dict[str, pulumi.Input[str]] = {}
        if args.database_subnets is not None and args.database_group is not None:
            place = {
                "dbSubnetGroupName": args.database_subnets,
                "vpcSecurityGroupIds": pulumi.Output.json_dumps([args.database_group]),
            }
        for kind in kinds:
            backup.RestoreTestingSelection(
                f"rehearsal-{kind.lower()}",
                name=f"{name}_{kind.lower()}",
                restore_testing_plan_name=plan.name,
                protected_resource_type=kind,
                iam_role_arn=role.arn,
                protected_resource_conditions=(
                    backup.RestoreTestingSelectionProtectedResourceConditionsArgs(
                        string_equals=[
                            backup.RestoreTestingSelectionProtectedResourceConditionsStringEqualArgs(
                                key="aws:ResourceTag/Art32Backup", value=config.stack
                            )
                        ]
                    )
                ),
                restore_metadata_overrides=place if kind == "RDS" else None,
                validation_window_hours=1,
                opts=self.child(),
            )

    def _has_volumes(self) -> bool:
        config = self.config
        return (
            config.web.data == "volume"
            or config.db.form == "server"
            or config.mail.form == "server"
        )


def _break_glass_alone(config: InfraConfig) -> list[str]:
    """Return the calls on a vault that break-glass alone may make.

    Pulumi sets lock and policy of a lasting stack and never takes either off; of an ephemeral one
    it has to remove both.
    """
    snapshots = ["backup:DeleteRecoveryPoint", "backup:UpdateRecoveryPointLifecycle"]
    if config.ephemeral:
        return snapshots
    return [
        *snapshots,
        "backup:DeleteBackupVaultLockConfiguration",
        "backup:DeleteBackupVaultAccessPolicy",
    ]
