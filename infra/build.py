"""Builds a stack: components in order, and what they hand to each other."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws.provider as provider

from infra import agent_file, naming, service_alarms
from infra.addresses import Addresses, AddressesArgs
from infra.alarm_rules import MetricAlarm
from infra.alarms import Alarms, AlarmsArgs
from infra.audit import Audit, AuditArgs
from infra.backup_bucket import BackupBucket, BackupBucketArgs
from infra.config.model import InfraConfig
from infra.database import ManagedDatabase, ManagedDatabaseArgs
from infra.database_server import DatabaseServer, DatabaseServerArgs
from infra.dumper import Dumper, DumperArgs
from infra.endpoints import Endpoints, EndpointsArgs
from infra.firewall import Firewall, FirewallArgs
from infra.fleet import Fleet, FleetArgs, run_now
from infra.identities import Identities, IdentitiesArgs
from infra.keeper import Keeper, KeeperArgs
from infra.keys import Keys, KeysArgs
from infra.machine import Machine
from infra.mail_records import DnsRecord, told
from infra.mail_server import MailServer, MailServerArgs
from infra.mail_service import MailService, MailServiceArgs
from infra.mta_sts import MtaSts, MtaStsArgs
from infra.network import Network, NetworkArgs
from infra.oncall import OnCall, OnCallArgs
from infra.patching import Patching, PatchingArgs
from infra.reachability import ENDPOINTS, endpoint_services
from infra.release import Release, ReleaseArgs
from infra.reports import Reports, ReportsArgs
from infra.restorer import Restorer, RestorerArgs
from infra.snapshots import Snapshots, SnapshotsArgs
from infra.waf import Waf, WafArgs
from infra.web import Web, WebArgs


@dataclass(frozen=True)
class Outputs:
    """What a stack tells: addresses and names for people and for the agents' configuration."""

    backup_bucket: pulumi.Output[str]
    break_glass_role: pulumi.Output[str]
    database_address: pulumi.Output[str]
    mail_address: pulumi.Output[str]
    public_address: pulumi.Output[str]
    records_to_make: pulumi.Output[list[str]]
    run_now: str
    site: pulumi.Output[str]
    snapshot_vault: pulumi.Output[str]
    steps_by_hand: list[str]

    def export(self) -> None:
        """Export everything under its own name."""
        for name, value in vars(self).items():
            pulumi.export(name, value)


def build(config: InfraConfig) -> Outputs:
    """Register every resource of a stack and return what it tells. No lookup, no call."""
    return _Stack(config).outputs()


class _Stack:
    """The components of one stack, made in the order in which they need each other."""

    def __init__(self, config: InfraConfig) -> None:
        self.config = config
        self.options = pulumi.ResourceOptions(provider=_provider("main", config, config.region))
        self.alarms: list[MetricAlarm] = []
        self.records: list[DnsRecord] = []
        self.database_subnets: pulumi.Output[str] | None = None

        self.keys = Keys("keys", KeysArgs(config), self.options)
        self.oncall = OnCall("oncall", OnCallArgs(config, self.keys.logs.arn), self.options)
        self.network = Network("network", NetworkArgs(config, self.keys.logs.arn), self.options)
        self.firewall = Firewall(
            "firewall",
            FirewallArgs(config, self.network.vpc.id, self.network.s3_endpoint.prefix_list_id),
            self.options,
        )
        private = self.network.subnet_ids("private")
        if endpoint_services(config):
            Endpoints(
                "endpoints",
                EndpointsArgs(
                    config,
                    self.network.vpc.id,
                    private,
                    self.firewall.groups[ENDPOINTS].id,
                ),
                self.options,
            )
        self.backups = BackupBucket("backup-bucket", BackupBucketArgs(config), self.options)
        self.identities = Identities("identities", IdentitiesArgs(config), self.options)
        if config.rollbar:
            Reports(
                "reports",
                ReportsArgs(config, self.keys.data.arn, self.identities.roles),
                self.options,
            )
        self.managed = self._managed_database() if config.db.form == "rds" else None
        self.release = Release(
            "release",
            ReleaseArgs(config, None if self.managed is None else self.managed.address),
            self.options,
        )

        self.web = self._web()
        self.database_address = self._database()
        self.mail_address = self._mail()
        Addresses(
            "addresses",
            AddressesArgs(config, self.database_address, self.mail_address),
            self.options,
        )
        Keeper("keeper", KeeperArgs(config, private, self._machine("keeper")), self.options)
        Restorer(
            "restorer",
            RestorerArgs(config, self.network.subnet_ids("isolated"), self._machine("restorer")),
            self.options,
        )
        self.snapshots = self._snapshots()
        audit = Audit("audit", AuditArgs(config, self.keys.logs.arn), self.options)
        Alarms(
            "alarms",
            AlarmsArgs(config, audit.group.name, self.oncall.topic.arn, self.alarms),
            self.options,
        )
        Patching("patching", PatchingArgs(config), self.options)
        Fleet("fleet", FleetArgs(config, self.keys.logs.arn), self.options)

    def _machine(self, duty: str) -> Machine:
        sizes = {
            "web": self.config.web.size,
            "db": self.config.db.size,
            "mail": self.config.mail.size,
            "keeper": self.config.keeper.size,
            "restorer": self.config.restorer.size,
            "dumper": self.config.dumper.size,
        }
        return Machine(
            duty=duty,
            size=sizes[duty],
            security_group_id=self.firewall.groups[duty].id,
            profile_name=self.identities.profiles[duty].name,
            disk_key_arn=self.keys.data.arn,
            logs_key_arn=self.keys.logs.arn,
            ready=self.release.ready[duty],
        )

    def _private_subnets(self) -> dict[str, pulumi.Output[str]]:
        return {zone: self.network.subnet_id("private", zone) for zone in self.config.zones}

    def _web(self) -> Web:
        web = Web(
            "web",
            WebArgs(
                self.config,
                self.network.vpc.id,
                self.network.subnet_ids("public"),
                self._private_subnets(),
                self.firewall.groups["alb"].id,
                self.identities.roles["web"].id,
                self._machine("web"),
            ),
            self.options,
        )
        Waf("waf", WafArgs(self.config, web.balancer.arn, self.keys.logs.arn), self.options)
        if self.config.mail.inbound_mx:
            MtaSts(
                "mta-sts",
                MtaStsArgs(self.config, web.https.arn, web.balancer.dns_name, web.balancer.zone_id),
                self.options,
            )
        self.alarms += service_alarms.web_alarms(
            web.balancer.arn_suffix, web.target_group.arn_suffix
        )
        return web

    def _managed_database(self) -> ManagedDatabase:
        config = self.config
        return ManagedDatabase(
            "database",
            ManagedDatabaseArgs(
                config,
                self.network.subnet_ids("data"),
                self.firewall.groups["db"].id,
                self.keys.data.arn,
                self.keys.logs.arn,
                self.oncall.topic.arn,
                self.identities.roles["dumper"].id,
            ),
            self.options,
        )

    def _database(self) -> pulumi.Output[str]:
        config = self.config
        if self.managed is None:
            server = DatabaseServer(
                "database",
                DatabaseServerArgs(config, self._private_subnets(), self._machine("db")),
                self.options,
            )
            self.alarms += [
                service_alarms.machine_alarm(f"db-{generation}", instance.id, "database-host-lost")
                for generation, instance in server.instances.items()
            ]
            return server.address
        service = self.managed
        self.database_subnets = service.subnets.name
        self.alarms += service_alarms.database_alarms(config, service.instances)
        Dumper(
            "dumper",
            DumperArgs(
                config,
                self.network.subnet_ids("private"),
                self._machine("dumper"),
                self.identities.roles["dumper"].id,
                service.address,
                service.secret_arn,
            ),
            self.options,
        )
        return service.address

    def _mail(self) -> pulumi.Output[str]:
        config = self.config
        if config.mail.form == "server":
            server = MailServer(
                "mail",
                MailServerArgs(
                    config,
                    self._private_subnets(),
                    self.network.address.public_ip,
                    self.network.address.allocation_id,
                    self.identities.roles["mail"].id,
                    self._machine("mail"),
                ),
                self.options,
            )
            self.records += server.records
            self.alarms += [
                service_alarms.machine_alarm(f"mail-{generation}", instance.id, "mail-stuck")
                for generation, instance in server.instances.items()
            ]
            return server.address
        service = MailService(
            "mail",
            MailServiceArgs(config, self.keys.logs.arn, self.identities.roles["web"].id),
            self.options,
        )
        self.records += service.records
        self.alarms += service_alarms.mail_alarms(service.feedback.name, service.failed.name)
        return pulumi.Output.from_input(naming.endpoint(config, "email"))

    def _snapshots(self) -> Snapshots:
        copy = self.config.backup.copy_region
        return Snapshots(
            "snapshots",
            SnapshotsArgs(
                self.config,
                self.keys.vault.arn,
                self.oncall.topic.arn,
                None if copy is None else _provider("copy", self.config, copy),
                self.database_subnets,
                self.firewall.groups["db"].id,
            ),
            self.options,
        )

    def outputs(self) -> Outputs:
        """Return what the stack tells."""
        config = self.config
        by_hand = [] if config.dns_zone_id else [f"{config.web.domain} CNAME (see site)"]
        return Outputs(
            backup_bucket=self.backups.bucket.bucket,
            break_glass_role=self.identities.break_glass.arn,
            database_address=self.database_address,
            mail_address=self.mail_address,
            public_address=self.network.address.public_ip,
            records_to_make=told([] if config.dns_zone_id else self.records).apply(
                lambda lines: [*by_hand, *lines]
            ),
            run_now=run_now(config),
            site=self.web.balancer.dns_name,
            snapshot_vault=self.snapshots.vault.name,
            steps_by_hand=_steps_by_hand(config),
        )


def _provider(name: str, config: InfraConfig, region: str) -> provider.Provider:
    """Make a provider that refuses every account but the stack's."""
    return provider.Provider(name, region=region, allowed_account_ids=[config.account_id])


def _steps_by_hand(config: InfraConfig) -> list[str]:
    """Return what no program can do."""
    steps = [f"confirm the subscription that AWS has mailed to {config.alarm_email}"]
    if config.mail.form == "ses":
        steps.append("ask AWS to take SES out of its sandbox in this region")
    else:
        steps.append("put the DKIM key and the smarthost's password into the two empty secrets")
    if config.dns_zone_id is None:
        steps.append("make the DNS records under `records_to_make`")
    if config.db.form == "rds":
        steps.append(
            "have the role made that dumps the database: infra/README.md, `A managed database`"
        )
    if config.rollbar:
        name = naming.prefixed(config, agent_file.ROLLBAR)
        steps.append(f"put Rollbar's token for `post_server_item` into the empty secret {name}")
    steps.append("accept each machine's signing key on the keeper: art32 host accept")
    return steps
