"""Reads the network of a graph.

Only what the program says is read: an association that it leaves to AWS is filled in as AWS would
(the default route table and the default ACL of the VPC). What has a place in the network and is not
understood here is named, never left out in silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from infra.graph import MARKER, Graph, Resource, markers
from infra.plan.network import (
    INTERNET_GATEWAY,
    AclRule,
    GroupRule,
    Network,
    Network4or6,
    Node,
    Subnet,
)
from infra.plan.ports import of_rule
from infra.plan.read_nodes import named, nodes_of, policy_words, service, targets


def read(graph: Graph) -> Network:
    """Return the network that a graph describes."""
    ranges = tuple(
        parsed
        for vpc in graph.of("aws:ec2:Vpc")
        for text in (vpc.get("cidrBlock"), vpc.get("ipv6CidrBlock"))
        if (parsed := _range(text)) is not None
    )
    gateways = {
        one.name: service(one)
        for one in graph.of("aws:ec2:VpcEndpoint")
        if one.get("vpcEndpointType", "Gateway") == "Gateway"
    }
    found = list(nodes_of(graph))
    known = {one.urn for one in found}
    nodes = {one.name: one for one in named(found)}
    return Network(
        ranges=ranges,
        subnets={one.name: _subnet(graph, one) for one in graph.of("aws:ec2:Subnet")},
        groups={one.name: tuple(_group_rules(graph, one)) for one in graph.of(*_GROUPS)},
        nodes=nodes,
        nats={
            one.name: subnet.name
            for one in graph.of("aws:ec2:NatGateway")
            for subnet in targets(graph, one, "subnetId", "aws:ec2:Subnet")
        },
        gateways=gateways,
        policies={
            one.name: policy_words(one.document("policy"))
            for one in graph.of("aws:ec2:VpcEndpoint")
        },
        unread=tuple(
            str(one)
            for one in graph.resources
            if one.custom
            and one.kind not in _READ
            and one.urn not in known
            and any(target.kind in _PLACES for target in graph.targets(one))
            and not _beside_a_database(graph, one, found)
        ),
    )


def _beside_a_database(graph: Graph, one: Resource, nodes: list[Node]) -> bool:
    """Whether a rehearsed restore goes where a database is: who reaches that reaches the copy."""
    if one.kind != "aws:backup:RestoreTestingSelection":
        return False
    groups = {target.name for target in graph.targets(one) if target.kind in _PLACES}
    return any(node.kind == "database" and groups <= set(node.groups) for node in nodes)


_GROUPS = ("aws:ec2:SecurityGroup", "aws:ec2:DefaultSecurityGroup")
_PLACES = {"aws:ec2:Subnet", "aws:ec2:SecurityGroup"}
_READ = {
    "aws:ec2:NatGateway",
    "aws:ec2:NetworkAcl",
    "aws:ec2:NetworkAclAssociation",
    "aws:ec2:RouteTableAssociation",
    "aws:ec2:FlowLog",
    "aws:ec2:LaunchTemplate",
    "aws:ec2:SecurityGroup",
    "aws:rds:SubnetGroup",
    "aws:vpc:SecurityGroupIngressRule",
    "aws:vpc:SecurityGroupEgressRule",
    "aws:ssm:Parameter",
    "aws:ssm:Association",
    "aws:cloudwatch:MetricAlarm",
}


def _tag(resource: Resource, *names: str) -> str:
    tags = {str(key).lower(): str(value) for key, value in (resource.get("tags") or {}).items()}
    return next((tags[name] for name in names if name in tags), "")


def _subnet(graph: Graph, subnet: Resource) -> Subnet:
    acls = [
        *graph.attached(subnet, "aws:ec2:NetworkAcl", "subnetIds"),
        *(
            acl
            for association in graph.users(subnet, "aws:ec2:NetworkAclAssociation")
            for acl in targets(graph, association, "networkAclId", "aws:ec2:NetworkAcl")
        ),
    ] or list(graph.of("aws:ec2:DefaultNetworkAcl"))
    tables = [
        table
        for association in graph.users(subnet, "aws:ec2:RouteTableAssociation")
        for table in targets(graph, association, "routeTableId", "aws:ec2:RouteTable")
    ] or list(graph.of("aws:ec2:DefaultRouteTable"))
    routes: dict[Network4or6, str] = {}
    endpoints: set[str] = set()
    for table in tables[:1]:
        routes = dict(_routes(graph, table))
        endpoints |= {
            one.name
            for one in graph.users(
                table, "aws:ec2:VpcEndpoint", "aws:ec2:VpcEndpointRouteTableAssociation"
            )
            if one.kind == "aws:ec2:VpcEndpoint"
        }
    ranges = (_range(subnet.get("cidrBlock")), _range(subnet.get("ipv6CidrBlock")))
    zone = str(subnet.get("availabilityZone") or subnet.get("availabilityZoneId") or "?")
    return Subnet(
        name=subnet.name,
        tier=_tag(subnet, "art32tier", "tier") or subnet.name.rpartition("-")[0] or subnet.name,
        zone=zone,
        ranges=tuple(one for one in ranges if one is not None),
        acl=tuple(_acl_rules(graph, acls[0])) if acls else None,
        acl_name=acls[0].name if acls else "default",
        routes=routes,
        endpoints=tuple(sorted(endpoints)),
    )


def _routes(graph: Graph, table: Resource) -> Iterator[tuple[Network4or6, str]]:
    inline = table.get("routes") or []
    found: list[tuple[Resource, Any]] = [(table, one) for one in inline]
    found += [(one, one.inputs) for one in graph.users(table, "aws:ec2:Route")]
    for owner, route in found:
        for key in (
            "destinationCidrBlock",
            "cidrBlock",
            "destinationIpv6CidrBlock",
            "ipv6CidrBlock",
        ):
            destination = _range(route.get(key))
            if destination is None:
                continue
            gates = graph.targets(owner) if owner is not table else _found(graph, route)
            for gate in gates:
                if gate.kind in ("aws:ec2:InternetGateway", "aws:ec2:EgressOnlyInternetGateway"):
                    yield destination, INTERNET_GATEWAY
                if gate.kind == "aws:ec2:NatGateway":
                    yield destination, gate.name


def _found(graph: Graph, value: Any) -> list[Resource]:
    found = [graph.find(marker) for marker in markers(value)]
    return [one for one in found if one is not None]


def _acl_rules(graph: Graph, acl: Resource) -> Iterator[AclRule]:
    for egress, key in ((False, "ingress"), (True, "egress")):
        for rule in acl.get(key) or []:
            yield from _acl_rule(egress, rule, rule.get("ruleNo"), rule.get("action"))
    for one in graph.users(acl, "aws:ec2:NetworkAclRule"):
        yield from _acl_rule(
            bool(one.get("egress", False)), one.inputs, one.get("ruleNumber"), one.get("ruleAction")
        )


def _acl_rule(egress: bool, rule: Mapping[str, Any], number: Any, action: Any) -> Iterator[AclRule]:
    for key in ("cidrBlock", "ipv6CidrBlock"):
        peers = _range(rule.get(key))
        if peers is not None:
            ports = of_rule(rule.get("protocol", "-1"), rule.get("fromPort"), rule.get("toPort"))
            yield AclRule(int(number), egress, str(action).lower() == "allow", ports, peers)


def _group_rules(graph: Graph, group: Resource) -> Iterator[GroupRule]:
    for kind, egress in (("Ingress", False), ("Egress", True)):
        for one in graph.attached(group, f"aws:vpc:SecurityGroup{kind}Rule", "securityGroupId"):
            ports = of_rule(one.get("ipProtocol", "-1"), one.get("fromPort"), one.get("toPort"))
            for peer in _peers(graph, one):
                yield GroupRule(egress, ports, peer, one.source)
        for rule in group.get(kind.lower()) or []:
            ports = of_rule(rule.get("protocol", "-1"), rule.get("fromPort"), rule.get("toPort"))
            for text in [*(rule.get("cidrBlocks") or []), *(rule.get("ipv6CidrBlocks") or [])]:
                if (peers := _range(text)) is not None:
                    yield GroupRule(egress, ports, peers, group.source)
            for other in targets(graph, group, kind.lower(), "aws:ec2:SecurityGroup"):
                yield GroupRule(egress, ports, other.name, group.source)
            if rule.get("self"):
                yield GroupRule(egress, ports, group.name, group.source)


def _peers(graph: Graph, rule: Resource) -> Iterator[Network4or6 | str]:
    for key in ("cidrIpv4", "cidrIpv6"):
        peers = _range(rule.get(key))
        if peers is not None:
            yield peers
    for other in targets(graph, rule, "referencedSecurityGroupId", "aws:ec2:SecurityGroup"):
        yield other.name
    prefix = rule.get("prefixListId")
    if prefix:
        endpoints = targets(graph, rule, "prefixListId", "aws:ec2:VpcEndpoint")
        yield f"prefix list {endpoints[0].name if endpoints else prefix}"


def _range(text: Any) -> Network4or6 | None:
    if not isinstance(text, str) or MARKER.search(text):
        return None
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
