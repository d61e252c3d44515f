"""The database as a managed service: PostgreSQL on RDS, one instance a generation."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws.cloudwatch as cloudwatch
import pulumi_aws.iam as iam
import pulumi_aws.rds as rds

from infra import naming, reachability
from infra.agent_file import BACKUP_USER, DATABASE
from infra.component import Component
from infra.config.model import Generation, InfraConfig
from infra.documents import allow, document, trust


@dataclass(frozen=True)
class ManagedDatabaseArgs:
    """Where it lies, which group guards it, which keys encrypt it, whose role dumps it."""

    config: InfraConfig
    subnet_ids: list[pulumi.Output[str]]
    security_group_id: pulumi.Input[str]
    data_key_arn: pulumi.Input[str]
    logs_key_arn: pulumi.Input[str]
    alarms_topic_arn: pulumi.Input[str]
    dumper_role_id: pulumi.Input[str]


class ManagedDatabase(Component[InfraConfig]):
    """RDS for PostgreSQL.

    Protects against: an unencrypted connection (refused), a password in the state (AWS makes and
    keeps it), a deleted or dropped database (deletion protection, point in time, final snapshot,
    automated backups that outlive it), and a restore that replaces what it should sit beside
    (generations). A new major version is a new generation, from a manual
    snapshot that RDS has upgraded: restored as it is, it would not fit the new parameters.
    """

    area = "database"

    def __init__(
        self,
        name: str,
        args: ManagedDatabaseArgs,
        options: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(name, args.config, options)
        self.args = args
        config = self.config
        self.subnets = rds.SubnetGroup(
            "db", subnet_ids=args.subnet_ids, tags=self.tags("db"), opts=self.child()
        )
        self.settings = {
            major: self._settings(major)
            for major in sorted({_major(config, one) for one in config.db.generations})
        }
        self.monitor = iam.Role(
            "db-monitor",
            name=naming.role(config, "db-monitor"),
            assume_role_policy=trust(config, "monitoring.rds"),
            tags=self.tags("db-monitor"),
            opts=self.child(),
        )
        iam.RolePolicyAttachment(
            "db-monitor",
            role=self.monitor.name,
            policy_arn=naming.managed_policy(
                config, "service-role/AmazonRDSEnhancedMonitoringRole"
            ),
            opts=self.child(),
        )
        self.instances = {
            generation.name: self._instance(generation) for generation in config.db.generations
        }
        active = self.instances[config.db.active]
        self.address = active.address
        self.resource_id = active.resource_id
        self.secret_arn = active.master_user_secrets[0].secret_arn
        self._dumping()
        rds.EventSubscription(
            "db",
            sns_topic=args.alarms_topic_arn,
            source_type="db-instance",
            source_ids=[instance.identifier for instance in self.instances.values()],
            event_categories=["availability", "deletion", "failover", "failure", "low storage"],
            tags=self.tags("db"),
            opts=self.child(),
        )
        self.register_outputs({"address": self.address})

    def _settings(self, major: str) -> rds.ParameterGroup:
        """Make the parameters: TLS forced; connections logged, values of statements never."""
        parameters = {
            "rds.force_ssl": "1",
            "log_connections": "1",
            "log_disconnections": "1",
            "log_statement": "none",
            "log_min_error_statement": "panic",
            "log_parameter_max_length": "0",
            "log_parameter_max_length_on_error": "0",
        }
        return rds.ParameterGroup(
            f"db-postgres{major}",
            family=f"postgres{major}",
            parameters=[
                rds.ParameterGroupParameterArgs(
                    name=name,
                    value=value,
                    # RDS answers so whatever it was asked: else no preview is ever clean
                    apply_method="pending-reboot" if name == "rds.force_ssl" else "immediate",
                )
                for name, value in parameters.items()
            ],
            tags=self.tags("db"),
            opts=self.child(),
        )

    def _instance(self, generation: Generation) -> rds.Instance:
        config, args = self.config, self.args
        identifier = naming.prefixed(config, "db", generation.name)
        fresh = generation.snapshot is None
        logs = [
            cloudwatch.LogGroup(
                f"db-{generation.name}-{kind}",
                name=f"/aws/rds/instance/{identifier}/{kind}",
                retention_in_days=config.log_days,
                kms_key_id=args.logs_key_arn,
                tags=self.tags(
                    f"db-{generation.name}-log",
                    personal_data=True,
                    retention_days=config.log_days,
                ),
                opts=self.child(),
            )
            for kind in ("postgresql", "upgrade")
        ]
        return rds.Instance(
            f"db-{generation.name}",
            identifier=identifier,
            engine="postgres",
            engine_version=generation.version or config.db.version,
            allow_major_version_upgrade=False,
            auto_minor_version_upgrade=True,
            instance_class=config.db.class_,
            snapshot_identifier=generation.snapshot,
            db_name=DATABASE if fresh else None,
            username="art32_admin" if fresh else None,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=args.data_key_arn,
            port=reachability.DATABASE_PORT,
            allocated_storage=config.db.storage,
            max_allocated_storage=config.db.storage * 4,
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=args.data_key_arn,
            db_subnet_group_name=self.subnets.name,
            vpc_security_group_ids=[args.security_group_id],
            parameter_group_name=self.settings[_major(config, generation)].name,
            availability_zone=None if config.db.standby == "zone" else generation.zone,
            multi_az=config.db.standby == "zone",
            publicly_accessible=False,
            iam_database_authentication_enabled=True,
            ca_cert_identifier="rds-ca-rsa2048-g1",
            backup_retention_period=min(config.backup.days, 35),
            backup_window="01:00-01:30",
            maintenance_window="sun:02:00-sun:03:00",
            copy_tags_to_snapshot=True,
            delete_automated_backups=config.ephemeral,
            deletion_protection=not config.ephemeral,
            skip_final_snapshot=config.ephemeral,
            final_snapshot_identifier=None if config.ephemeral else f"{identifier}-final",
            enabled_cloudwatch_logs_exports=["postgresql", "upgrade"],
            monitoring_interval=60,
            monitoring_role_arn=self.monitor.arn,
            performance_insights_enabled=True,
            performance_insights_kms_key_id=args.data_key_arn,
            performance_insights_retention_period=7,
            tags={
                **self.tags(f"db-{generation.name}", personal_data=True),
                "Art32Backup": config.stack,
                "Art32Generation": generation.name,
            },
            # Each of these is what the instance was made from: an edit would replace it.
            opts=self.kept(
                depends_on=logs,
                ignore_changes=[
                    *("snapshotIdentifier", "dbName", "username", "availabilityZone"),
                    # RDS keeps the key of the snapshot, whichever is asked for
                    *(() if fresh else ("kmsKeyId",)),
                ],
            ),
        )

    def _dumping(self) -> None:
        """Let the dumper log in to the active generation by IAM, as the role that reads all."""
        user = self.resource_id.apply(
            lambda found: naming.arn(self.config, "rds-db", f"dbuser:{found}/{BACKUP_USER}")
        )
        iam.RolePolicy(
            "dumper-database",
            role=self.args.dumper_role_id,
            policy=document(allow("LogInToDump", "rds-db:connect", user)),
            opts=self.child(),
        )


def _major(config: InfraConfig, generation: Generation) -> str:
    return (generation.version or config.db.version).partition(".")[0]
