"""From resources to a network: what the program says, and what AWS does where it says nothing."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from infra.graph import Resource
from infra.plan.network import INTERNET, INTERNET_GATEWAY, GroupRule, Network
from infra.plan.ports import EVERYTHING, tcp
from infra.plan.read_network import read
from tests.infra.plan.graphs import graph, marker, resource

SUBNET = resource(
    "Subnet",
    "private-a",
    {
        "cidrBlock": "10.0.1.0/24",
        "availabilityZone": "eu-central-1a",
        "tags": {"Art32Tier": "private"},
    },
)
VPC = resource("Vpc", inputs={"cidrBlock": "10.0.0.0/16"})


def network(*resources: Resource) -> Network:
    return read(graph(VPC, SUBNET, *resources))


def in_subnet(name: str) -> str:
    return marker("Subnet", name)


def group(name: str) -> str:
    return marker("SecurityGroup", name)


def test_a_subnet_has_its_tier_zone_and_range() -> None:
    (found,) = network().subnets.values()
    assert (found.tier, found.zone, found.ranges) == (
        "private",
        "eu-central-1a",
        (ip_network("10.0.1.0/24"),),
    )


def test_without_an_acl_of_its_own_a_subnet_has_the_default_one() -> None:
    assert network().subnets["private-a"].acl is None
    emptied = network(resource("DefaultAcl", "default", {"defaultNetworkAclId": "x"}))
    assert emptied.subnets["private-a"].acl == ()


def test_the_entries_of_an_acl_are_read_inline_and_alone() -> None:
    acl = resource(
        "Acl",
        "private",
        {
            "subnetIds": [in_subnet("private-a")],
            "ingress": [
                {
                    "ruleNo": 7,
                    "action": "deny",
                    "protocol": "tcp",
                    "cidrBlock": "10.0.0.0/8",
                    "fromPort": 22,
                    "toPort": 22,
                }
            ],
        },
    )
    rule = resource(
        "AclRule",
        "out",
        {
            "networkAclId": marker("Acl", "private"),
            "egress": True,
            "ruleNumber": 100,
            "ruleAction": "allow",
            "protocol": "-1",
            "cidrBlock": "0.0.0.0/0",
        },
    )
    found = network(acl, rule).subnets["private-a"]
    assert found.acl_name == "private"
    assert [(one.number, one.egress, one.allow) for one in found.acl or ()] == [
        (7, False, False),
        (100, True, True),
    ]
    assert [one.ports for one in found.acl or ()] == [tcp(22), EVERYTHING]


def routed(table: dict[str, Any], *more: Resource) -> Network:
    return network(
        resource("Gateway", "internet"),
        resource("Nat", "nat", {"subnetId": in_subnet("private-a")}),
        resource("RouteTable", "private", table),
        resource(
            "RouteTableAssociation",
            "private-a",
            {
                "subnetId": in_subnet("private-a"),
                "routeTableId": marker("RouteTable", "private"),
            },
        ),
        *more,
    )


def test_routes_are_read_inline_and_alone() -> None:
    inline = routed(
        {
            "routes": [
                {"cidrBlock": "0.0.0.0/0", "natGatewayId": marker("Nat", "nat")},
                {"cidrBlock": "192.0.2.0/24", "gatewayId": marker("Gateway", "internet")},
            ]
        }
    )
    assert inline.subnets["private-a"].routes == {
        INTERNET: "nat",
        ip_network("192.0.2.0/24"): INTERNET_GATEWAY,
    }
    alone = resource(
        "Route",
        "out",
        {
            "routeTableId": marker("RouteTable", "private"),
            "destinationCidrBlock": "0.0.0.0/0",
            "gatewayId": marker("Gateway", "internet"),
        },
    )
    assert routed({}, alone).subnets["private-a"].routes == {INTERNET: INTERNET_GATEWAY}
    assert inline.nats == {"nat": "private-a"}


def test_a_gateway_endpoint_is_in_the_tables_that_it_names() -> None:
    endpoint = resource(
        "Endpoint",
        "s3",
        {
            "serviceName": "com.amazonaws.eu-central-1.s3",
            "routeTableIds": [marker("RouteTable", "private")],
        },
    )
    found = routed({}, endpoint)
    assert found.subnets["private-a"].endpoints == ("s3",)
    assert found.gateways == {"s3": "s3"}
    assert found.policies == {"s3": "no policy: everyone, everything"}
    assert found.nodes == {}


def test_rules_name_a_range_a_group_or_a_prefix_list() -> None:
    rules = [
        resource(
            "Ingress",
            "in",
            {
                "securityGroupId": group("web"),
                "ipProtocol": "tcp",
                "fromPort": 443,
                "toPort": 443,
                "cidrIpv4": "198.51.100.0/24",
            },
        ),
        resource(
            "Egress",
            "db",
            {
                "securityGroupId": group("web"),
                "ipProtocol": "tcp",
                "fromPort": 5432,
                "toPort": 5432,
                "referencedSecurityGroupId": group("db"),
            },
        ),
        resource(
            "Egress",
            "s3",
            {
                "securityGroupId": group("web"),
                "ipProtocol": "-1",
                "prefixListId": marker("Endpoint", "s3", "prefixListId"),
            },
        ),
    ]
    found = network(
        resource("SecurityGroup", "web"),
        resource("SecurityGroup", "db"),
        resource("Endpoint", "s3", {"serviceName": "x.s3"}),
        *rules,
    )
    assert set(found.groups["web"]) == {
        GroupRule(False, tcp(443), ip_network("198.51.100.0/24"), "infra/in.py:1"),
        GroupRule(True, tcp(5432), "db", "infra/db.py:1"),
        GroupRule(True, EVERYTHING, "prefix list s3", "infra/s3.py:1"),
    }
    assert found.groups["db"] == ()


def test_rules_inside_of_a_group_count_too() -> None:
    inline = resource(
        "SecurityGroup",
        "web",
        {
            "ingress": [
                {"protocol": "tcp", "fromPort": 22, "toPort": 22, "cidrBlocks": ["0.0.0.0/0"]}
            ]
        },
    )
    assert network(inline).groups["web"] == (GroupRule(False, tcp(22), INTERNET, "infra/web.py:1"),)


def test_machines_of_a_template_stand_where_their_group_puts_them() -> None:
    template = resource(
        "LaunchTemplate",
        "web",
        {
            "instanceType": "t4g.small",
            "networkInterfaces": [
                {"associatePublicIpAddress": "false", "securityGroups": [group("web")]}
            ],
        },
    )
    machines = resource(
        "Group",
        "web",
        {
            "minSize": 2,
            "vpcZoneIdentifiers": [in_subnet("private-a")],
            "launchTemplate": {"id": marker("LaunchTemplate", "web")},
        },
    )
    found = network(resource("SecurityGroup", "web"), template, machines).nodes
    assert list(found) == ["web"]
    node = found["web"]
    assert (node.kind, node.subnets, node.groups, node.count, node.public) == (
        "group",
        ("private-a",),
        ("web",),
        2,
        False,
    )


def test_a_template_that_no_group_starts_is_still_seen() -> None:
    template = resource(
        "LaunchTemplate",
        "restorer",
        {
            "networkInterfaces": [
                {
                    "associatePublicIpAddress": "true",
                    "securityGroups": [group("web")],
                    "subnetId": in_subnet("private-a"),
                }
            ]
        },
    )
    node = network(resource("SecurityGroup", "web"), template).nodes["web"]
    assert (node.kind, node.subnets, node.public) == ("template", ("private-a",), True)


def test_an_address_of_its_own_makes_a_machine_public() -> None:
    server = resource(
        "Instance",
        "mail",
        {"subnetId": in_subnet("private-a"), "vpcSecurityGroupIds": [group("mail")]},
    )
    groups = resource("SecurityGroup", "mail")
    assert not network(groups, server).nodes["mail"].public
    address = resource("Eip", "mail", {"instance": marker("Instance", "mail")})
    assert network(groups, server, address).nodes["mail"].public


def test_a_database_stands_in_its_subnet_group() -> None:
    database = resource(
        "Database",
        "db-g1",
        {
            "dbSubnetGroupName": marker("SubnetGroup", "db", "name"),
            "vpcSecurityGroupIds": [group("db")],
        },
    )
    subnets = resource("SubnetGroup", "db", {"subnetIds": [in_subnet("private-a")]})
    found = network(resource("SecurityGroup", "db"), subnets, database).nodes
    assert (found["db"].subnets, found["db"].kind) == (("private-a",), "database")
    second = resource("Database", "db-g2", dict(database.inputs))
    both = network(resource("SecurityGroup", "db"), subnets, database, second).nodes
    assert set(both) == {"db-g1", "db-g2"}


def test_endpoints_that_share_group_and_subnets_are_one() -> None:
    endpoints = [
        resource(
            "Endpoint",
            name,
            {
                "serviceName": f"com.amazonaws.eu-central-1.{name}",
                "vpcEndpointType": "Interface",
                "subnetIds": [in_subnet("private-a")],
                "securityGroupIds": [group("endpoints")],
                "policy": '{"Statement": [{"Effect": "Allow", "Action": "*", "Condition": '
                '{"StringEquals": {"aws:PrincipalAccount": "1"}}}]}',
            },
        )
        for name in ("ssm", "logs")
    ]
    found = network(resource("SecurityGroup", "endpoints"), *endpoints)
    assert {name: node.detail for name, node in found.nodes.items()} == {"endpoints": "logs, ssm"}
    assert found.policies["ssm"] == "allow * if aws:PrincipalAccount"


def test_two_services_of_one_name_are_both_there() -> None:
    groups = [resource("SecurityGroup", name) for name in ("alb", "shared")]
    balancer = resource(
        "LoadBalancer",
        "web",
        {"subnets": [in_subnet("private-a")], "securityGroups": [group("alb"), group("shared")]},
    )
    server = resource(
        "Instance",
        "web",
        {
            "subnetId": in_subnet("private-a"),
            "vpcSecurityGroupIds": [group("alb"), group("shared")],
        },
    )
    found = network(*groups, balancer, server).nodes
    assert set(found) == {"web", "web (server)"}


def test_a_function_in_the_network_is_seen() -> None:
    function = resource(
        "Function",
        "job",
        {
            "vpcConfig": {
                "subnetIds": [in_subnet("private-a")],
                "securityGroupIds": [group("job")],
            }
        },
    )
    found = network(resource("SecurityGroup", "job"), function)
    assert found.nodes["job"].kind == "function"
    assert found.unread == ()


def test_what_is_not_understood_is_named_and_not_left_out() -> None:
    mount = resource("Mount", "files", {"subnetId": in_subnet("private-a")})
    assert network(mount).unread == ("efs:MountTarget `files`",)


@pytest.mark.parametrize(
    ("where", "unread"), [("db", ()), ("wide", ("backup:RestoreTestingSelection `monthly`",))]
)
def test_a_rehearsed_restore_is_judged_with_the_database_whose_group_it_gets(
    where: str, unread: tuple[str, ...]
) -> None:
    database = resource("Database", "db-g1", {"vpcSecurityGroupIds": [group("db")]})
    copy = {"restoreMetadataOverrides": {"vpcSecurityGroupIds": f'["{group(where)}"]'}}
    groups = (resource("SecurityGroup", "db"), resource("SecurityGroup", "wide"))
    found = network(*groups, database, resource("Rehearsal", "monthly", copy))
    assert found.unread == unread
