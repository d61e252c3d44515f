"""The webserver: a group of machines behind a load balancer and a web firewall."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws.ebs as ebs
import pulumi_aws.iam as iam
import pulumi_aws.lb as lb
import pulumi_aws.route53 as route53

from infra import machine, naming, reachability
from infra.certificate import validated
from infra.component import Component
from infra.config.model import Generation, InfraConfig
from infra.documents import allow, document
from infra.machine import Group, Machine
from infra.user_data import DataVolume


@dataclass(frozen=True)
class WebArgs:
    """The network around the webserver, and the machine without its volume."""

    config: InfraConfig
    vpc_id: pulumi.Input[str]
    public_subnet_ids: list[pulumi.Output[str]]
    private_subnet_ids: Mapping[str, pulumi.Output[str]]
    balancer_group_id: pulumi.Input[str]
    role_id: pulumi.Input[str]
    machine: Machine


class Web(Component[InfraConfig]):
    """Load balancer with TLS 1.3, a group that replaces a lost machine, a data volume if asked for.

    Protects against: plain HTTP, requests with invalid headers, a machine that dies at night, and
    the loss of the data volume with its machine (the volume is a resource of its own, a
    generation, protected and retained). A changed AMI or size rolls through the group.
    """

    area = "web"

    def __init__(
        self, name: str, args: WebArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        config = self.config
        self.args = args
        self.balancer = lb.LoadBalancer(
            "web",
            internal=False,
            load_balancer_type="application",
            security_groups=[args.balancer_group_id],
            subnets=args.public_subnet_ids,
            drop_invalid_header_fields=True,
            desync_mitigation_mode="strictest",
            enable_deletion_protection=not config.ephemeral,
            tags=self.tags("web"),
            opts=self.child(),
        )
        self.target_group = lb.TargetGroup(
            "web",
            port=reachability.WEB_PORT,
            protocol="HTTPS",
            vpc_id=args.vpc_id,
            deregistration_delay=30,
            health_check=lb.TargetGroupHealthCheckArgs(
                path="/healthz", protocol="HTTPS", matcher="200", interval=15
            ),
            tags=self.tags("web"),
            opts=self.child(),
        )
        self.https = self._listeners(self._certificate())
        machine.log_group(self, "web", args.machine.logs_key_arn)
        if config.web.data == "volume":
            self._with_volume()
        else:
            machine.self_healing_group(
                self,
                args.machine,
                Group(
                    list(args.private_subnet_ids.values()),
                    minimum=config.web.minimum,
                    maximum=config.web.maximum,
                    target_group_arns=[self.target_group.arn],
                    overlap=True,
                ),
            )
        if config.dns_zone_id is not None:
            route53.Record(
                "web",
                zone_id=config.dns_zone_id,
                name=config.web.domain,
                type="A",
                aliases=[
                    route53.RecordAliasArgs(
                        name=self.balancer.dns_name,
                        zone_id=self.balancer.zone_id,
                        evaluate_target_health=True,
                    )
                ],
                opts=self.child(),
            )
        self.register_outputs({"address": self.balancer.dns_name})

    def _certificate(self) -> pulumi.Input[str]:
        """Return the ARN of the certificate: the configuration's, or one made and validated."""
        config = self.config
        if config.web.certificate is not None or config.dns_zone_id is None:
            return config.web.certificate or ""
        return validated(self, "web", domain=config.web.domain, zone_id=config.dns_zone_id)

    def _listeners(self, certificate_arn: pulumi.Input[str]) -> lb.Listener:
        lb.Listener(
            "http",
            load_balancer_arn=self.balancer.arn,
            port=80,
            protocol="HTTP",
            default_actions=[
                lb.ListenerDefaultActionArgs(
                    type="redirect",
                    redirect=lb.ListenerDefaultActionRedirectArgs(
                        port="443", protocol="HTTPS", status_code="HTTP_301"
                    ),
                )
            ],
            tags=self.tags("http"),
            opts=self.child(),
        )
        return lb.Listener(
            "https",
            load_balancer_arn=self.balancer.arn,
            port=443,
            protocol="HTTPS",
            ssl_policy="ELBSecurityPolicy-TLS13-1-2-2021-06",
            certificate_arn=certificate_arn,
            default_actions=[
                lb.ListenerDefaultActionArgs(type="forward", target_group_arn=self.target_group.arn)
            ],
            routing_http_response_strict_transport_security_header_value="max-age=31536000",
            tags=self.tags("https"),
            opts=self.child(),
        )

    def _with_volume(self) -> None:
        """Make every generation's volume, and one machine in the zone of the active one's.

        A group cannot attach an existing volume: the machine does it at boot, with a right to
        this volume alone.
        """
        config, args = self.config, self.args
        volumes = {
            generation.name: self._volume(generation) for generation in config.web.generations
        }
        active = next(one for one in config.web.generations if one.name == config.web.active)
        volume = volumes[active.name]
        iam.RolePolicy(
            "web-volume",
            role=args.role_id,
            policy=document(
                allow("AttachOwnVolume", "ec2:AttachVolume", volume.arn),
                allow(
                    "AttachToOwnMachine",
                    "ec2:AttachVolume",
                    naming.arn(config, "ec2", "instance/*"),
                    condition={
                        "StringEquals": {
                            "aws:ResourceTag/Art32Stack": config.stack,
                            "aws:ResourceTag/Art32Duty": "web",
                        }
                    },
                ),
            ),
            opts=self.child(),
        )
        data = DataVolume(volume.id, "/srv", blank=active.snapshot is None, attach=True)
        machine.self_healing_group(
            self,
            machine.with_volume(args.machine, data),
            Group(
                [args.private_subnet_ids[active.zone or config.zones[0]]],
                target_group_arns=[self.target_group.arn],
            ),
        )

    def _volume(self, generation: Generation) -> ebs.Volume:
        return machine.data_volume(
            self,
            f"web-{generation.name}",
            generation,
            self.config.web.storage,
            self.args.machine.disk_key_arn,
        )
