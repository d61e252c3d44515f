"""A small network made by hand: a balancer, a web server and a database in three tiers."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from infra.plan.network import (
    INTERNET,
    INTERNET_GATEWAY,
    AclRule,
    GroupRule,
    Network,
    Network4or6,
    Node,
    Subnet,
)
from infra.plan.ports import EVERYTHING, Ports, span, tcp

VPC = ip_network("10.0.0.0/16")
PUBLIC, APP, DATA = (ip_network(f"10.0.{number}.0/24") for number in range(3))
ANSWERS = Ports(tcp=span(1024, 65535))


def allow(egress: bool, ports: Ports, peers: Network4or6, number: int = 100) -> AclRule:
    return AclRule(number, egress, True, ports, peers)


def deny(egress: bool, ports: Ports, peers: Network4or6, number: int = 50) -> AclRule:
    return AclRule(number, egress, False, ports, peers)


def small(**changes: Any) -> Network:
    """Return the network: internet -> balancer 443 -> web 8443 -> database 5432, web -> NAT 443."""
    subnets = {
        "public": Subnet(
            "public",
            "public",
            "a",
            (PUBLIC,),
            (
                allow(False, tcp(443), INTERNET),
                allow(False, ANSWERS, INTERNET, 110),
                allow(True, tcp(443, 8443), INTERNET),
                allow(True, ANSWERS, INTERNET, 110),
            ),
            "public",
            {INTERNET: INTERNET_GATEWAY},
            (),
        ),
        "app": Subnet(
            "app",
            "app",
            "a",
            (APP,),
            (
                allow(False, tcp(8443), PUBLIC),
                allow(False, ANSWERS, INTERNET, 110),
                allow(True, tcp(443), INTERNET),
                allow(True, tcp(5432), DATA, 105),
                allow(True, ANSWERS, PUBLIC, 110),
            ),
            "app",
            {INTERNET: "nat"},
            ("s3",),
        ),
        "data": Subnet(
            "data",
            "data",
            "a",
            (DATA,),
            (allow(False, tcp(5432), APP), allow(True, ANSWERS, APP)),
            "data",
            {},
            (),
        ),
    }
    groups = {
        "balancer": (
            GroupRule(False, tcp(443), INTERNET, "firewall.py:1"),
            GroupRule(True, tcp(8443), "web", "firewall.py:2"),
        ),
        "web": (
            GroupRule(False, tcp(8443), "balancer", "firewall.py:3"),
            GroupRule(True, tcp(5432), "database", "firewall.py:4"),
            GroupRule(True, tcp(443), INTERNET, "firewall.py:5"),
        ),
        "database": (GroupRule(False, tcp(5432), "web", "firewall.py:6"),),
    }
    nodes = {
        "balancer": Node("balancer", "balancer", ("public",), ("balancer",), public=True),
        "web": Node("web", "group", ("app",), ("web",)),
        "database": Node("database", "database", ("data",), ("database",)),
    }
    whole = Network((VPC,), subnets, groups, nodes, {"nat": "public"}, {"s3": "s3"})
    return replace(whole, **changes)


def with_acl(network: Network, subnet: str, *rules: AclRule) -> Network:
    changed = replace(network.subnets[subnet], acl=rules)
    return replace(network, subnets={**network.subnets, subnet: changed})


def without_acl_rule(network: Network, subnet: str, egress: bool, ports: Ports) -> Network:
    acl = network.subnets[subnet].acl or ()
    kept = [one for one in acl if (one.egress, one.ports) != (egress, ports)]
    assert len(kept) == len(acl) - 1
    return with_acl(network, subnet, *kept)


def with_rule(network: Network, group: str, rule: GroupRule) -> Network:
    return replace(
        network, groups={**network.groups, group: (*network.groups.get(group, ()), rule)}
    )


def open_to_all(network: Network) -> Network:
    """Return the network with every ACL letting everything pass."""
    for name in network.subnets:
        network = with_acl(
            network, name, allow(False, EVERYTHING, INTERNET), allow(True, EVERYTHING, INTERNET)
        )
    return network


def typical(zones: tuple[str, ...] = ("eu-central-1a", "eu-central-1b")) -> Network:
    """Return a network of the size that a company of ten people has: every service, four tiers."""
    subnets: dict[str, Subnet] = {}
    for row, tier in enumerate(("public", "private", "data", "isolated")):
        for column, zone in enumerate(zones):
            routes: dict[Network4or6, str] = {}
            if tier == "public":
                routes = {INTERNET: INTERNET_GATEWAY}
            if tier == "private":
                routes = {INTERNET: "nat-a"}
            subnets[f"{tier}-{zone[-1]}"] = Subnet(
                f"{tier}-{zone[-1]}",
                tier,
                zone,
                (ip_network(f"10.32.{(row * 4 + column) * 16}.0/20"),),
                None,
                tier,
                routes,
                ("s3",) if tier in ("private", "isolated") else (),
            )
    everywhere = {
        tier: tuple(name for name in subnets if name.startswith(tier))
        for tier in ("public", "private", "data", "isolated")
    }
    links = [
        ("alb", "web", 8443),
        ("web", "db", 5432),
        ("dumper", "db", 5432),
        ("restorer", "db", 5432),
        ("web", "mail", 587),
        *((each, "endpoints", 443) for each in ("web", "dumper", "keeper", "mail", "restorer")),
    ]
    rules: dict[str, list[GroupRule]] = {
        name: []
        for name in ("alb", "web", "db", "mail", "dumper", "keeper", "restorer", "endpoints")
    }
    for source, target, port in links:
        rules[source].append(GroupRule(True, tcp(port), target, f"firewall.py:{port}"))
        rules[target].append(GroupRule(False, tcp(port), source, f"firewall.py:{port}"))
    for port in (80, 443):
        rules["alb"].append(GroupRule(False, tcp(port), INTERNET, "firewall.py:1"))
        for host in ("web", "mail", "dumper", "keeper"):
            rules[host].append(GroupRule(True, tcp(port), INTERNET, "firewall.py:2"))
    rules["mail"].append(GroupRule(True, tcp(587), INTERNET, "firewall.py:3"))
    rules["restorer"].append(GroupRule(True, tcp(443), "prefix list s3", "firewall.py:4"))
    private = everywhere["private"]
    nodes = [
        Node("alb", "balancer", everywhere["public"], ("alb",), public=True),
        Node("web", "group", private, ("web",), count=2, detail="t4g.medium"),
        Node("mail", "server", private[:1], ("mail",), detail="t4g.small"),
        Node("dumper", "group", private, ("dumper",), detail="t4g.micro"),
        Node("keeper", "group", private, ("keeper",), detail="t4g.micro"),
        Node("endpoints", "endpoint", private, ("endpoints",), detail="ssm, logs, kms"),
        Node("db", "database", everywhere["data"], ("db",), detail="db.t4g.small"),
        Node(
            "restorer", "group", everywhere["isolated"], ("restorer",), count=0, detail="t4g.medium"
        ),
    ]
    return Network(
        (ip_network("10.32.0.0/16"),),
        subnets,
        {name: tuple(each) for name, each in rules.items()},
        {node.name: node for node in nodes},
        {"nat-a": f"public-{zones[0][-1]}"},
        {"s3": "s3"},
    )
