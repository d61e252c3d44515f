"""Outgoing e-mail by a machine of its own: Postfix, through a smarthost or directly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws.ec2 as ec2
import pulumi_aws.iam as iam
import pulumi_aws.secretsmanager as secretsmanager

from infra import machine, naming
from infra.component import Component
from infra.config.model import InfraConfig
from infra.documents import allow, document
from infra.machine import Machine
from infra.mail_records import server_records, write
from infra.user_data import DataVolume


@dataclass(frozen=True)
class MailServerArgs:
    """The private subnets by zone, the address that mail leaves from, the machine, its role."""

    config: InfraConfig
    subnet_ids: Mapping[str, pulumi.Output[str]]
    public_address: pulumi.Output[str]
    address_id: pulumi.Input[str]
    role_id: pulumi.Input[str]
    machine: Machine


class MailServer(Component[InfraConfig]):
    """One instance and one queue volume a generation, and the empty secrets that it reads.

    Protects against: a password or a DKIM key in state or user-data (both are put into an empty
    secret by hand), a queue that dies with its machine, mail without TLS, and an open relay (the
    webservers alone may submit).
    """

    area = "mail"

    def __init__(
        self, name: str, args: MailServerArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        config = self.config
        machine.log_group(self, "mail", args.machine.logs_key_arn)
        self.secrets = [
            self._secret("relay", "the line `[smarthost]:port user:password`", args),
            self._secret("dkim", "private DKIM key", args),
        ]
        iam.RolePolicy(
            "mail-secrets",
            role=args.role_id,
            policy=document(
                allow(
                    "ReadOwnSecrets",
                    "secretsmanager:GetSecretValue",
                    [secret.arn for secret in self.secrets],
                ),
                allow(
                    "DecryptOwnSecrets",
                    "kms:Decrypt",
                    args.machine.disk_key_arn,
                    condition={
                        "StringEquals": {
                            "kms:ViaService": naming.endpoint(config, "secretsmanager")
                        }
                    },
                ),
            ),
            opts=self.child(),
        )
        self.instances = {}
        for generation in config.mail.generations:
            volume = machine.data_volume(
                self,
                f"mail-{generation.name}",
                generation,
                config.mail.storage,
                args.machine.disk_key_arn,
            )
            data = DataVolume(volume.id, "/var/spool/postfix", blank=generation.snapshot is None)
            self.instances[generation.name] = machine.single_instance(
                self,
                f"mail-{generation.name}",
                machine.with_volume(args.machine, data),
                generation,
                args.subnet_ids[generation.zone or config.zones[0]],
                volume,
            )
        self.address = self.instances[config.mail.active].private_dns
        self.records = server_records(config, args.public_address)
        made = write(self, self.records)
        if config.mail.delivery == "direct" and config.dns_zone_id is not None:
            ec2.EipDomainName(
                "mail",
                allocation_id=args.address_id,
                domain_name=config.mail.domain,
                opts=self.child(depends_on=made),
            )
        self.register_outputs({"address": self.address})

    def _secret(self, name: str, purpose: str, args: MailServerArgs) -> secretsmanager.Secret:
        return secretsmanager.Secret(
            f"mail-{name}",
            name=naming.prefixed(self.config, "mail", name),
            description=f"Mail server: {purpose}. Filled by hand.",
            kms_key_id=args.machine.disk_key_arn,
            recovery_window_in_days=0 if self.config.ephemeral else 30,
            tags=self.tags(f"mail-{name}"),
            opts=self.kept(),
        )
