"""Reads who has a network interface in a graph: balancers, machines, databases, endpoints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from infra.graph import Graph, Resource
from infra.plan.network import Kind, Node


def nodes_of(graph: Graph) -> Iterator[Node]:
    for one in graph.of("aws:lb:LoadBalancer"):
        public = not one.get("internal", False)
        yield _node(graph, one, "balancer", "subnets", "securityGroups", public=public)
    started = set()
    for one in graph.of("aws:autoscaling:Group"):
        for template in targets(graph, one, "launchTemplate", "aws:ec2:LaunchTemplate"):
            started.add(template.urn)
            yield from _machines(graph, one, template)
    for one in graph.of("aws:ec2:LaunchTemplate"):
        if one.urn not in started:
            yield from _machines(graph, None, one)
    for one in graph.of("aws:ec2:Instance"):
        public = bool(one.get("associatePublicIpAddress")) or bool(
            graph.users(one, "aws:ec2:Eip", "aws:ec2:EipAssociation")
        )
        inputs = ("subnetId", "vpcSecurityGroupIds")
        detail = str(one.get("instanceType", ""))
        yield _node(graph, one, "server", *inputs, public=public, detail=detail)
    for one in graph.of("aws:rds:Instance"):
        node = _node(
            graph,
            one,
            "database",
            "dbSubnetGroupName",
            "vpcSecurityGroupIds",
            public=bool(one.get("publiclyAccessible", False)),
            detail=str(one.get("instanceClass", "")),
        )
        groups = targets(graph, one, "dbSubnetGroupName", "aws:rds:SubnetGroup")
        names = [
            subnet.name
            for group in groups
            for subnet in targets(graph, group, "subnetIds", "aws:ec2:Subnet")
        ]
        yield replace(node, subnets=tuple(names))
    for one in graph.of("aws:ec2:VpcEndpoint"):
        if one.get("vpcEndpointType", "Gateway") == "Interface":
            yield _node(
                graph, one, "endpoint", "subnetIds", "securityGroupIds", detail=service(one)
            )
    for one in graph.of("aws:lambda:Function"):
        if one.get("vpcConfig"):
            yield _node(graph, one, "function", "vpcConfig", "vpcConfig")


def named(nodes: list[Node]) -> Iterator[Node]:
    """Yield the nodes with names of their own: endpoints that share groups and subnets as one,
    whoever is alone in a security group by the group's name (it is the duty's).
    """
    shared: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Node]] = {}
    for node in nodes:
        if node.kind == "endpoint":
            shared.setdefault((node.groups, node.subnets), []).append(node)
    nodes = [node for node in nodes if node.kind != "endpoint"] + [
        replace(all_[0], detail=", ".join(sorted(one.detail for one in all_)))
        for all_ in shared.values()
    ]
    members = Counter(name for node in nodes for name in node.groups)
    taken: set[str] = set()
    for node in nodes:
        name = node.name
        if len(node.groups) == 1 and members[node.groups[0]] == 1:
            name = node.groups[0]
        for other in (name, node.name, f"{node.name} ({node.kind})", node.urn):
            if other not in taken:
                name = other
                break
        taken.add(name)
        yield replace(node, name=name)


def _machines(graph: Graph, group: Resource | None, template: Resource) -> Iterator[Node]:
    interfaces = template.get("networkInterfaces") or [{}]
    public = any(str(one.get("associatePublicIpAddress")).lower() == "true" for one in interfaces)
    owner, place = (group, "vpcZoneIdentifiers") if group else (template, "networkInterfaces")
    node = _node(graph, owner, "group" if group else "template", place, "", public=public)
    groups = [
        one.name
        for key in ("networkInterfaces", "vpcSecurityGroupIds")
        for one in targets(graph, template, key, "aws:ec2:SecurityGroup")
    ]
    count = 0
    if group is not None:
        count = int(group.get("desiredCapacity", group.get("minSize", 0)) or 0)
    yield replace(
        node,
        groups=tuple(dict.fromkeys(groups)),
        count=count,
        detail=str(template.get("instanceType", "")),
    )


def _node(
    graph: Graph,
    one: Resource,
    kind: Kind,
    subnets: str,
    groups: str,
    *,
    public: bool = False,
    detail: str = "",
) -> Node:
    return Node(
        name=one.name,
        kind=kind,
        subnets=tuple(found.name for found in targets(graph, one, subnets, "aws:ec2:Subnet")),
        groups=tuple(found.name for found in targets(graph, one, groups, "aws:ec2:SecurityGroup"))
        if groups
        else (),
        public=public,
        detail=detail,
        policy=policy_words(one.document("policy")) if kind == "endpoint" else "",
        urn=one.urn,
    )


def policy_words(document: Any) -> str:
    """Return what an endpoint's policy allows, in a line: actions, then the keys it asks for."""
    if not isinstance(document, Mapping):
        return "no policy: everyone, everything"
    lines = []
    statements = document.get("Statement") or []
    for one in statements if isinstance(statements, list) else [statements]:
        actions = one.get("Action", "*")
        words = actions if isinstance(actions, str) else ", ".join(str(each) for each in actions)
        keys = sorted({key for tests in (one.get("Condition") or {}).values() for key in tests})
        lines.append(
            f"{str(one.get('Effect', 'Allow')).lower()} {words}"
            + (f" if {', '.join(keys)}" if keys else "")
        )
    return "; ".join(lines) or "nothing is allowed"


def targets(graph: Graph, resource: Resource, inputs: str, kind: str) -> list[Resource]:
    """Return the resources of one kind that one input refers to."""
    return [one for one in graph.targets(resource, inputs) if one.kind == kind]


def service(endpoint: Resource) -> str:
    """Return the short name of an endpoint's service: `s3`, `ssm`."""
    return str(endpoint.get("serviceName", endpoint.name)).rpartition(".")[2]
