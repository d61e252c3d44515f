"""The network: tiers that cannot reach each other unless the reachability table says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws.cloudwatch as cloudwatch
import pulumi_aws.ec2 as ec2
import pulumi_aws.iam as iam

from infra import naming, reachability
from infra.component import Component
from infra.config.model import InfraConfig
from infra.documents import allow, document, from_account, trust
from infra.endpoints import gateway_policy


@dataclass(frozen=True)
class NetworkArgs:
    """What the network needs: the key of the log group."""

    config: InfraConfig
    logs_key_arn: pulumi.Input[str]


class Network(Component[InfraConfig]):
    """One VPC with four tiers: public, private, data, isolated.

    Protects against: a database or a restorer that talks to the internet (their tiers have no
    default route), a machine that is reached from it (only the load balancer and the NAT gateway
    have public addresses), resources that fall into AWS' permissive defaults (default security
    group, ACL and route table are emptied), and intrusions that nobody sees (flow logs).
    """

    area = "network"

    def __init__(
        self, name: str, args: NetworkArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        config = self.config
        self.vpc = ec2.Vpc(
            "vpc",
            cidr_block=config.cidr,
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags=self.tags("vpc"),
            opts=self.child(),
        )
        self._empty_the_defaults()
        self.gateway = ec2.InternetGateway(
            "internet", vpc_id=self.vpc.id, tags=self.tags("internet"), opts=self.child()
        )
        self._subnets = self._make_subnets()
        self.tables = {
            tier: ec2.RouteTable(tier, vpc_id=self.vpc.id, tags=self.tags(tier), opts=self.child())
            for tier in naming.TIERS
        }
        for (tier, zone), subnet in self._subnets.items():
            ec2.RouteTableAssociation(
                f"{tier}-{zone[-1]}",
                subnet_id=subnet.id,
                route_table_id=self.tables[tier].id,
                opts=self.child(),
            )
        self.address = ec2.Eip("nat", domain="vpc", tags=self.tags("nat"), opts=self.child())
        self.nat = self._way_out()
        self._acls()
        self.s3_endpoint = ec2.VpcEndpoint(
            "s3",
            vpc_id=self.vpc.id,
            service_name=naming.endpoint_service(config, "s3"),
            vpc_endpoint_type="Gateway",
            route_table_ids=[self.tables["private"].id, self.tables["isolated"].id],
            policy=gateway_policy(config),
            tags=self.tags("s3"),
            opts=self.child(),
        )
        self._flow_log(args.logs_key_arn)
        self.register_outputs({"vpcId": self.vpc.id, "publicAddress": self.address.public_ip})

    def subnet_ids(self, tier: str) -> list[pulumi.Output[str]]:
        """Return the ids of a tier's subnets, in the order of the zones."""
        return [subnet.id for (found, _), subnet in self._subnets.items() if found == tier]

    def subnet_id(self, tier: str, zone: str) -> pulumi.Output[str]:
        """Return the id of a tier's subnet in a zone."""
        return self._subnets[tier, zone].id

    def _empty_the_defaults(self) -> None:
        ec2.DefaultSecurityGroup(
            "default", vpc_id=self.vpc.id, tags=self.tags("default-unused"), opts=self.child()
        )
        ec2.DefaultNetworkAcl(
            "default",
            default_network_acl_id=self.vpc.default_network_acl_id,
            tags=self.tags("default-unused"),
            # a subnet that is being made belongs to it for a moment
            opts=self.child(ignore_changes=["subnetIds"]),
        )
        ec2.DefaultRouteTable(
            "default",
            default_route_table_id=self.vpc.default_route_table_id,
            routes=[],
            tags=self.tags("default-unused"),
            opts=self.child(),
        )

    def _make_subnets(self) -> Mapping[tuple[str, str], ec2.Subnet]:
        return {
            (tier, zone): ec2.Subnet(
                f"{tier}-{zone[-1]}",
                vpc_id=self.vpc.id,
                cidr_block=cidr,
                availability_zone=zone,
                map_public_ip_on_launch=False,
                tags=self.tags(f"{tier}-{zone[-1]}", Art32Tier=tier),
                opts=self.child(),
            )
            for (tier, zone), cidr in naming.subnets(self.config.cidr, self.config.zones).items()
        }

    def _way_out(self) -> ec2.NatGateway:
        ec2.Route(
            "public-internet",
            route_table_id=self.tables["public"].id,
            destination_cidr_block="0.0.0.0/0",
            gateway_id=self.gateway.id,
            opts=self.child(),
        )
        nat = ec2.NatGateway(
            "nat",
            allocation_id=self.address.allocation_id,
            subnet_id=self.subnet_id("public", self.config.zones[0]),
            tags=self.tags("nat"),
            opts=self.child(depends_on=[self.gateway]),
        )
        ec2.Route(
            "private-nat",
            route_table_id=self.tables["private"].id,
            destination_cidr_block="0.0.0.0/0",
            nat_gateway_id=nat.id,
            opts=self.child(),
        )
        return nat

    def _acls(self) -> None:
        for tier in naming.TIERS:
            acl = ec2.NetworkAcl(
                tier,
                vpc_id=self.vpc.id,
                subnet_ids=self.subnet_ids(tier),
                tags=self.tags(tier, Art32Tier=tier),
                opts=self.child(),
            )
            for rule in reachability.acl_rules(self.config, tier):
                direction = "out" if rule.egress else "in"
                network = rule.cidr.replace(".", "-").replace("/", "-")
                ec2.NetworkAclRule(
                    f"{tier}-{direction}-{rule.first}-{network}",
                    network_acl_id=acl.id,
                    egress=rule.egress,
                    rule_number=rule.number,
                    rule_action="allow",
                    protocol="tcp",
                    cidr_block=rule.cidr,
                    from_port=rule.first,
                    to_port=rule.last,
                    opts=self.child(),
                )

    def _flow_log(self, key_arn: pulumi.Input[str]) -> None:
        config = self.config
        group = cloudwatch.LogGroup(
            "flow-log",
            name=naming.log_group(config, "network"),
            retention_in_days=config.log_days,
            kms_key_id=key_arn,
            tags=self.tags("flow-log", personal_data=True, retention_days=config.log_days),
            opts=self.child(),
        )
        source = naming.arn(config, "ec2", "vpc-flow-log/*")
        role = iam.Role(
            "flow-log",
            name=naming.role(config, "flow-log"),
            assume_role_policy=trust(config, "vpc-flow-logs", from_account(config, source=source)),
            tags=self.tags("flow-log"),
            opts=self.child(),
        )
        policy = iam.RolePolicy(
            "flow-log",
            role=role.id,
            policy=document(
                allow(
                    "Write",
                    ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
                    [group.arn, pulumi.Output.concat(group.arn, ":*")],
                ),
                allow("Find", "logs:DescribeLogGroups", "*"),
            ),
            opts=self.child(),
        )
        ec2.FlowLog(
            "flow-log",
            vpc_id=self.vpc.id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            max_aggregation_interval=60,
            tags=self.tags("flow-log", personal_data=True, retention_days=config.log_days),
            opts=self.child(depends_on=[policy]),
        )
