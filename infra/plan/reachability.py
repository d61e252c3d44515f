"""Who can reach whom on which port, from the graph alone.

A connection is possible when all of these say so: an egress rule of the sender's groups, an ingress
rule of the receiver's, the network ACLs of both subnets in both directions (an answer goes to the
sender's ephemeral ports), and a route. A group keeps state, an ACL does not. Within one subnet no
ACL is asked. Not filtered by AWS, and so not here: Amazon's DNS and time servers, DHCP and a
machine's own metadata service.

Sources: the VPC guide's chapters on security groups, network ACLs ("ephemeral ports") and NAT
gateways.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from infra.plan.network import (
    INTERNET,
    INTERNET_GATEWAY,
    GroupRule,
    Network,
    Network4or6,
    Node,
    Subnet,
    covers,
    meets,
)
from infra.plan.ports import ANY_CLIENT, EVERYTHING, LINUX, NOTHING, Ports, ephemeral, tcp

_SERVED = tcp(80, 443)  # all that S3 and DynamoDB listen on
_MACHINES = ("group", "template", "server")


@dataclass(frozen=True)
class Flow:
    """A connection that can be made: from whom, to whom, on which ports and by which way.

    `partly` says that it holds for some of the zones or addresses only. `implied` marks what
    follows from two others: who may reach the internet on a port may reach what the internet
    reaches on it. `rules` are the places in the program of the rules that open it.
    """

    source: str
    destination: str
    ports: Ports
    way: str
    partly: bool = False
    implied: bool = False
    rules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Blocked:
    """What a group opens and something else closes: a rule without effect, or a mistake."""

    source: str
    destination: str
    ports: Ports
    reason: str


@dataclass(frozen=True)
class Reachability:
    """All possible connections, sorted, and all that are half open."""

    flows: tuple[Flow, ...]
    blocked: tuple[Blocked, ...]


def evaluate(network: Network) -> Reachability:
    """Return who can reach whom in a network."""
    flows: list[Flow] = []
    blocked: list[Blocked] = []
    for found in _all(network):
        if isinstance(found, Flow):
            flows.append(found)
        else:
            blocked.append(found)
    return Reachability(
        tuple(
            sorted(
                _implied(_beyond_everybody(flows)),
                key=lambda one: (one.source, one.destination, one.way),
            )
        ),
        tuple(sorted(blocked, key=lambda one: (one.source, one.destination, one.reason))),
    )


def _beyond_everybody(flows: list[Flow]) -> list[Flow]:
    """Return the flows with those to and from a range cut to what the whole internet may not."""
    known = {(one.source, one.destination): one.ports for one in flows}
    rest = []
    for one in flows:
        ports, pair = one.ports, (_anybody(one.source), _anybody(one.destination))
        if pair != (one.source, one.destination):
            ports -= known.get(pair, NOTHING)
        if ports:
            rest.append(replace(one, ports=ports))
    return rest


def _anybody(name: str) -> str:
    """Return `internet` for a range of addresses, any other name as it is."""
    return "internet" if "/" in name and name[0] in "0123456789abcdef:" else name


def _implied(flows: list[Flow]) -> Iterator[Flow]:
    out = {one.source: one.ports for one in flows if one.destination == "internet"}
    into = {one.destination: one.ports for one in flows if one.source == "internet"}
    for one in flows:
        both = out.get(one.source, NOTHING) & into.get(one.destination, NOTHING)
        yield replace(one, implied=not one.ports - both)


def external(peer: Network4or6) -> str:
    """Return what a range outside of the VPC is called."""
    return "internet" if peer.prefixlen == 0 else str(peer)


def _all(network: Network) -> Iterator[Flow | Blocked]:
    nodes = network.nodes.values()
    for source, destination in product(nodes, nodes):
        if source.name != destination.name:
            yield from _inside(network, source, destination)
    for node in nodes:
        for peer in _outside_peers(network, node, egress=True):
            yield from _outwards(network, node, peer)
        for peer in _outside_peers(network, node, egress=False):
            yield from _inwards(network, node, peer)
        for endpoint in network.gateways:
            yield from _to_gateway(network, node, endpoint)


def _inside(network: Network, source: Node, destination: Node) -> Iterator[Flow | Blocked]:
    found: list[Ports] = []
    agreed, half = NOTHING, NOTHING
    places: set[str] = set()
    for name, other in product(source.subnets, destination.subnets):
        here, there = network.subnets[name], network.subnets[other]
        sending = _opened(network, source, True, destination, there)
        taking = _opened(network, destination, False, source, here)
        sends, takes = _together(sending), _together(taking)
        agreed |= sends & takes
        half |= _named(network, source, True, destination) - takes
        half |= _named(network, destination, False, source) - sends
        passed = sends & takes if here is there else NOTHING
        if here is not there:
            for a, b in product(here.ranges, there.ranges):
                if a.version == b.version:
                    passed |= sends & takes & _crossing(here, a, there, b, source)
        found.append(passed)
        places |= _places([*sending, *taking], passed)
    yield from _reported(source.name, destination.name, found, agreed, "inside", places)
    if half:
        reason = "one of the two groups has the rule, the other has none that answers it"
        yield Blocked(source.name, destination.name, half, reason)


def _outwards(network: Network, node: Node, peer: Network4or6) -> Iterator[Flow | Blocked]:
    found: list[Ports] = []
    opening = _opened(network, node, True, peer, None)
    opened = _together(opening)
    gates = set()
    for name in node.subnets:
        here = network.subnets[name]
        gate = _route(here, peer)
        own = _same_version(here, peer)
        passed = NOTHING
        if gate == INTERNET_GATEWAY and node.public:
            passed = opened & _towards(here, peer, node)
        elif gate in network.nats and own is not None:
            middle = network.subnets[network.nats[gate]]
            entry = _same_version(middle, peer)
            if _route(middle, peer) == INTERNET_GATEWAY and entry is not None:
                passed = opened & _towards(here, peer, node) & _acl(middle, False, own)
                passed &= _answered(_acl(middle, True, own), _client(node))
                passed &= _acl(middle, True, peer)
                passed &= _answered(_acl(middle, False, peer), ephemeral(ANY_CLIENT))
        if passed:
            gates.add(gate)
        found.append(passed)
    way = " and ".join(sorted(gates))
    yield from _reported(node.name, external(peer), found, opened, way, _places(opening, opened))


def _inwards(network: Network, node: Node, peer: Network4or6) -> Iterator[Flow | Blocked]:
    found: list[Ports] = []
    opening = _opened(network, node, False, peer, None)
    opened, places = _together(opening), _places(opening, EVERYTHING)
    for name in node.subnets:
        here = network.subnets[name]
        passed = NOTHING
        if node.public and _route(here, peer) == INTERNET_GATEWAY:
            passed = opened & _acl(here, False, peer)
            passed &= _answered(_acl(here, True, peer), ephemeral(ANY_CLIENT))
        found.append(passed)
    yield from _reported(external(peer), node.name, found, opened, INTERNET_GATEWAY, places)


def _to_gateway(network: Network, node: Node, endpoint: str) -> Iterator[Flow | Blocked]:
    found: list[Ports] = []
    naming = [one for one in _rules(network, node, True) if one.peer == f"prefix list {endpoint}"]
    opening = [*naming, *_opened(network, node, True, INTERNET, None)]
    for name in node.subnets:
        here = network.subnets[name]
        passed = NOTHING
        if endpoint in here.endpoints:
            passed = _together(opening) & _SERVED & _towards(here, INTERNET, node)
        found.append(passed)
    places = _places(opening, _together(opening))
    yield from _reported(node.name, endpoint, found, _together(naming), "gateway endpoint", places)


def _reported(
    source: str,
    destination: str,
    found: list[Ports],
    agreed: Ports,
    way: str,
    places: set[str],
) -> Iterator[Flow | Blocked]:
    """Yield what gets through, and what the groups agree on and does not."""
    through = NOTHING
    for one in found:
        through |= one
    if through:
        partly = any(one != through for one in found)
        rules = tuple(sorted(places))
        yield Flow(source, destination, through, way, partly, rules=rules)
    if agreed - through:
        reason = "the security groups agree, a network ACL or a missing route stops it"
        yield Blocked(source, destination, agreed - through, reason)


def _rules(network: Network, node: Node, egress: bool) -> Iterator[GroupRule]:
    for name in node.groups:
        for rule in network.groups.get(name, ()):
            if rule.egress == egress:
                yield rule


def _outside_peers(network: Network, node: Node, egress: bool) -> list[Network4or6]:
    """Return the ranges outside of the VPC that a node's groups name, the widest alone."""
    peers = {
        rule.peer
        for rule in _rules(network, node, egress)
        if not isinstance(rule.peer, str)
        and not any(covers(own, rule.peer) for own in network.ranges)
    }
    return sorted(peers, key=lambda one: (one.version, one.prefixlen, int(one.network_address)))


def _opened(
    network: Network, node: Node, egress: bool, peer: Node | Network4or6, subnet: Subnet | None
) -> list[GroupRule]:
    """Return the rules of a node's groups that fit a peer (in a subnet, if it is a node)."""
    fitting = []
    for rule in _rules(network, node, egress):
        if isinstance(rule.peer, str):
            fits = isinstance(peer, Node) and rule.peer in peer.groups
        elif isinstance(peer, Node):
            fits = subnet is not None and any(meets(rule.peer, one) for one in subnet.ranges)
        else:
            fits = covers(rule.peer, peer)
        if fits:
            fitting.append(rule)
    return fitting


def _together(rules: Iterable[GroupRule]) -> Ports:
    ports = NOTHING
    for rule in rules:
        ports |= rule.ports
    return ports


def _places(rules: Iterable[GroupRule], ports: Ports) -> set[str]:
    """Return where the rules stand that have a part in some ports."""
    return {rule.source for rule in rules if rule.ports & ports}


def _named(network: Network, node: Node, egress: bool, peer: Node) -> Ports:
    """Return what a node's groups open to a peer by the name of one of its groups."""
    return _together(
        rule
        for rule in _rules(network, node, egress)
        if isinstance(rule.peer, str) and rule.peer in peer.groups
    )


def _acl(subnet: Subnet, egress: bool, peers: Network4or6) -> Ports:
    """Return what a subnet's ACL lets pass; an entry for some of the peers opens, but never closes.

    So what is reported as reachable may be less in truth, never more than reported.
    """
    if subnet.acl is None:
        return EVERYTHING
    passed, decided = NOTHING, NOTHING
    for rule in sorted(subnet.acl, key=lambda one: one.number):
        if rule.egress != egress or not meets(rule.peers, peers):
            continue
        if rule.allow:
            passed |= rule.ports - decided
        if covers(rule.peers, peers):
            decided |= rule.ports
    return passed


def _crossing(
    here: Subnet, own: Network4or6, there: Subnet, other: Network4or6, client: Node
) -> Ports:
    """Return what the ACLs of two subnets let through in both directions."""
    forth = _acl(here, True, other) & _acl(there, False, own)
    back = _acl(there, True, own) & _acl(here, False, other)
    return forth & _answered(back, _client(client))


def _towards(here: Subnet, peer: Network4or6, client: Node) -> Ports:
    """Return what a subnet's ACL lets out to a range, the answers let in."""
    return _acl(here, True, peer) & _answered(_acl(here, False, peer), _client(client))


def _client(node: Node) -> Ports:
    return ephemeral(LINUX if node.kind in _MACHINES else ANY_CLIENT)


def _answered(back: Ports, answers: Ports) -> Ports:
    """Return the ports of the protocols whose answers all come back."""
    return Ports(
        tcp=EVERYTHING.tcp if not answers.tcp & ~back.tcp else 0,
        udp=EVERYTHING.udp if not answers.udp & ~back.udp else 0,
        icmp=back.icmp,
        other=back.other,
    )


def _route(subnet: Subnet, peer: Network4or6) -> str:
    """Return where the narrowest route that holds a whole range leads, or nothing."""
    fitting = [(one.prefixlen, gate) for one, gate in subnet.routes.items() if covers(one, peer)]
    return max(fitting)[1] if fitting else ""


def _same_version(subnet: Subnet, peer: Network4or6) -> Network4or6 | None:
    return next((one for one in subnet.ranges if one.version == peer.version), None)
