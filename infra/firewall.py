"""One security group for each duty, with the rules that the reachability table demands."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws.ec2 as ec2
import pulumi_aws.vpc as vpc

from infra import reachability
from infra.component import Component
from infra.config.model import InfraConfig


@dataclass(frozen=True)
class FirewallArgs:
    """The network, and the prefix list of S3's addresses."""

    config: InfraConfig
    vpc_id: pulumi.Input[str]
    s3_prefix_list_id: pulumi.Input[str]


class Firewall(Component[InfraConfig]):
    """Security groups by duty; standalone rules, group to group.

    Protects against: a machine that is reached by more than its duty needs, and a stolen machine
    that reaches more than its duty needs. AWS' own "all egress" rule is gone because every group
    has rules of its own, and inline rules, which fight standalone ones, are never used.
    """

    area = "firewall"

    def __init__(
        self, name: str, args: FirewallArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        self.groups = {
            duty: ec2.SecurityGroup(
                duty,
                description=f"Art32 {self.config.stack}: {duty}",
                vpc_id=args.vpc_id,
                revoke_rules_on_delete=True,
                tags=self.tags(duty, Art32Duty=duty),
                opts=self.child(),
            )
            for duty in reachability.groups(self.config)
        }
        for flow in reachability.flows(self.config):
            self._open(flow, args.s3_prefix_list_id)
        self.register_outputs({duty: group.id for duty, group in self.groups.items()})

    def _open(self, flow: reachability.Flow, s3_prefix_list_id: pulumi.Input[str]) -> None:
        name = f"{flow.source}-{flow.target}-{flow.port}"
        description = f"{flow.source} to {flow.target}: {flow.reason}"
        source, target = self.groups.get(flow.source), self.groups.get(flow.target)
        if source is not None:
            vpc.SecurityGroupEgressRule(
                name,
                security_group_id=source.id,
                ip_protocol="tcp",
                from_port=flow.port,
                to_port=flow.port,
                referenced_security_group_id=target.id if target else None,
                cidr_ipv4="0.0.0.0/0" if flow.target == reachability.INTERNET else None,
                prefix_list_id=s3_prefix_list_id if flow.target == reachability.S3 else None,
                description=description,
                tags=self.tags(name),
                opts=self.child(),
            )
        if target is not None:
            vpc.SecurityGroupIngressRule(
                name,
                security_group_id=target.id,
                ip_protocol="tcp",
                from_port=flow.port,
                to_port=flow.port,
                referenced_security_group_id=source.id if source else None,
                cidr_ipv4="0.0.0.0/0" if source is None else None,
                description=description,
                tags=self.tags(name),
                opts=self.child(),
            )
