"""A network as reachability needs it: subnets with routes and ACLs, groups, who has a leg where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Literal

from infra.plan.ports import Ports

Network4or6 = IPv4Network | IPv6Network
Kind = Literal["balancer", "group", "template", "server", "database", "endpoint", "function"]

INTERNET = ip_network("0.0.0.0/0")
INTERNET_GATEWAY = "internet gateway"


@dataclass(frozen=True)
class AclRule:
    """One entry of a network ACL."""

    number: int
    egress: bool
    allow: bool
    ports: Ports
    peers: Network4or6


@dataclass(frozen=True)
class Subnet:
    """A subnet: its tier and zone, its ranges, its ACL, and what its route table leads to.

    `routes` maps a range outside of the VPC to a gate (`internet gateway`, or the name of the NAT
    gateway); `endpoints` are the names of the gateway endpoints in its route table. An `acl` that
    is None lets everything pass, as AWS's untouched default does.
    """

    name: str
    tier: str
    zone: str
    ranges: tuple[Network4or6, ...]
    acl: tuple[AclRule, ...] | None
    acl_name: str
    routes: Mapping[Network4or6, str]
    endpoints: tuple[str, ...]


@dataclass(frozen=True)
class GroupRule:
    """One rule of a security group; the peer is a range, a group's name, or a prefix list."""

    egress: bool
    ports: Ports
    peer: Network4or6 | str
    source: str = ""


@dataclass(frozen=True)
class Node:
    """What has a network interface: a service, a machine, an endpoint.

    `public` says that it has an address of the internet. `count` is how many machines run at once,
    0 for a template that no group starts.
    """

    name: str
    kind: Kind
    subnets: tuple[str, ...]
    groups: tuple[str, ...]
    public: bool = False
    count: int = 1
    detail: str = ""
    policy: str = ""
    urn: str = ""


@dataclass(frozen=True)
class Network:
    """All of it, by name. `nats` maps a NAT gateway to its subnet, `gateways` a gateway endpoint to
    its service; `unread` names what has a place in the network and is not understood here.
    """

    ranges: tuple[Network4or6, ...]
    subnets: Mapping[str, Subnet]
    groups: Mapping[str, tuple[GroupRule, ...]]
    nodes: Mapping[str, Node]
    nats: Mapping[str, str] = field(default_factory=dict)
    gateways: Mapping[str, str] = field(default_factory=dict)
    policies: Mapping[str, str] = field(default_factory=dict)
    unread: tuple[str, ...] = ()


def covers(outer: Network4or6, inner: Network4or6) -> bool:
    """Tell whether a range holds all of another."""
    return outer.version == inner.version and (
        int(outer.network_address) <= int(inner.network_address)
        and int(outer.broadcast_address) >= int(inner.broadcast_address)
    )


def meets(one: Network4or6, other: Network4or6) -> bool:
    """Tell whether two ranges share an address: one then holds the other."""
    return covers(one, other) or covers(other, one)
