"""What the picture of a network shows: tiers with their services, and who is joined to whom.

A way through a NAT gateway is two arrows, what follows from being open to the internet is not
drawn, and senders that use the same ports of one destination share one trunk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from infra.plan.network import Network, Node, Subnet
from infra.plan.ports import NOTHING, Ports, tcp
from infra.plan.reachability import Flow, Reachability

Style = Literal["inwards", "inside", "outwards", "service"]

INTERNET_BAR = "internet"
_TIERS = ("public", "private", "app", "data", "isolated")


@dataclass
class Bar:
    """One row: a service in the zones that it has a leg in, or something outside of the network."""

    name: str
    kind: str
    detail: str
    groups: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    urn: str = ""
    x: float = 0
    y: float = 0
    width: float = 0
    height: float = 0


@dataclass
class Band:
    """One tier: its bars, and per zone the subnet's range and place."""

    name: str
    bars: list[Bar]
    subnets: Mapping[str, Subnet]
    route: str
    acl: str
    x: float = 0
    y: float = 0
    width: float = 0
    height: float = 0


@dataclass
class Trunk:
    """All arrows to one destination on the same ports. `joins` are the senders' heights."""

    destination: str
    ports: str
    style: Style
    sources: tuple[str, ...]
    lane: int = 0
    x: float = 0
    y: float = 0
    joins: dict[str, float] = field(default_factory=dict)


@dataclass
class Diagram:
    """The whole picture; `infra.plan.layout.place` fills in what has a default."""

    zones: tuple[str, ...]
    above: list[Bar]
    bands: list[Band]
    below: list[Bar]
    trunks: list[Trunk]
    ranges: str
    wide: bool = True
    width: float = 0
    height: float = 0
    edge: float = 0
    frame: tuple[float, float, float, float] = (0, 0, 0, 0)
    columns: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def bars(self) -> list[Bar]:
        """Return all bars from top to bottom."""
        inner = [bar for band in self.bands for bar in band.bars]
        return [*self.above, *inner, *self.below]


def arrange(network: Network, reachability: Reachability) -> Diagram:
    """Return what the picture shows of a network, from top to bottom, without any place."""
    zones = tuple(sorted({one.zone for one in network.subnets.values()}))
    edges = _edges(network, [one for one in reachability.flows if not one.implied])
    bands = _bands(network, zones, _depths(edges))
    inner = {bar.name for band in bands for bar in band.bars}
    names = sorted({name for edge in edges for name in edge[:2]} - inner)
    above = (
        [Bar(INTERNET_BAR, "internet", "anyone, anywhere")]
        if INTERNET_BAR in names or not names
        else []
    )
    above += [
        Bar(name, "range", "addresses outside of the network")
        for name in names
        if name != INTERNET_BAR and name not in network.gateways
    ]
    below = [
        Bar(name, "service", "AWS, through the gateway endpoint")
        for name in sorted(network.gateways)
    ]
    return Diagram(
        zones=zones,
        above=above,
        bands=bands,
        below=below,
        trunks=_trunks(edges),
        ranges=", ".join(str(one) for one in network.ranges),
    )


def _edges(network: Network, flows: list[Flow]) -> dict[tuple[str, str, Style], Ports]:
    """Return what is drawn: a way through a NAT gateway is two arrows."""
    edges: dict[tuple[str, str, Style], Ports] = {}

    def add(source: str, destination: str, style: Style, ports: Ports) -> None:
        key = (source, destination, style)
        edges[key] = edges.get(key, NOTHING) | ports

    for one in flows:
        nats = [name for name in one.way.split(" and ") if name in network.nats]
        if nats:
            add(one.source, NAT_BAR, "outwards", one.ports)
            add(NAT_BAR, one.destination, "outwards", one.ports)
        elif one.source in network.nodes and one.destination in network.nodes:
            endpoint = network.nodes[one.destination].kind == "endpoint"
            add(one.source, one.destination, "service" if endpoint else "inside", one.ports)
        elif one.destination in network.gateways:
            # the few old clients' port 80 stands in the table; the picture has TLS
            add(one.source, one.destination, "service", one.ports & tcp(443) or one.ports)
        else:
            inwards = one.source not in network.nodes
            style: Style = "inwards" if inwards else "outwards"
            add(one.source, one.destination, style, one.ports)
    return edges


NAT_BAR = "NAT gateway"


def _depths(edges: Mapping[tuple[str, str, Style], Ports]) -> Mapping[str, int]:
    """Return how many steps each bar is away from the internet's visitors."""
    depths, frontier = {INTERNET_BAR: 0}, {INTERNET_BAR}
    while frontier:
        reached = {
            destination
            for source, destination, style in edges
            if source in frontier and destination not in depths and style in ("inwards", "inside")
        }
        depths |= dict.fromkeys(reached, len(depths))
        frontier = reached
    return depths


def _bands(network: Network, zones: tuple[str, ...], depths: Mapping[str, int]) -> list[Band]:
    tiers: dict[str, dict[str, Subnet]] = {}
    for one in network.subnets.values():
        tiers.setdefault(one.tier, {})[one.zone] = one
    order = sorted(
        tiers, key=lambda name: (_TIERS.index(name) if name in _TIERS else len(_TIERS), name)
    )
    bands = []
    for tier in order:
        subnets = tiers[tier]
        bars = [
            _bar(network, node, zones)
            for node in sorted(network.nodes.values(), key=lambda one: _rank(one, depths))
            if node.subnets and network.subnets[node.subnets[0]].tier == tier
        ]
        nats = {
            network.subnets[subnet].zone
            for subnet in network.nats.values()
            if network.subnets[subnet].tier == tier
        }
        if nats:
            detail = "outwards only" if len(nats) == 1 else f"{len(nats)}, outwards only"
            bars.append(Bar(NAT_BAR, "nat", detail, zones=tuple(sorted(nats))))
        first = next(iter(subnets.values()))
        bands.append(Band(tier, bars, subnets, _route_words(first, network), first.acl_name))
    return bands


def _rank(node: Node, depths: Mapping[str, int]) -> tuple[bool, int, str]:
    return node.kind == "endpoint", depths.get(node.name, len(depths)), node.name


def _bar(network: Network, node: Node, zones: tuple[str, ...]) -> Bar:
    legs = {network.subnets[name].zone for name in node.subnets}
    return Bar(
        node.name,
        node.kind,
        _words(node),
        node.groups,
        tuple(zone for zone in zones if zone in legs),
        node.urn,
    )


def _words(node: Node) -> str:
    if node.kind == "balancer":
        return "load balancer"
    if node.kind == "endpoint":
        return f"interface endpoints, {node.detail}"
    if node.kind == "template" or (node.kind == "group" and node.count == 0):
        return f"started when needed, {node.detail}"
    count = f"{node.count} \N{MULTIPLICATION SIGN} " if node.count > 1 else ""
    words = f"{count}{node.detail}"
    return f"{words}, recreated when lost" if node.kind == "group" else words


def _route_words(subnet: Subnet, network: Network) -> str:
    gates = set(subnet.routes.values())
    words = ["internet gateway"] if gates - set(network.nats) else []
    words += ["NAT"] if gates & set(network.nats) else []
    words += [f"{network.gateways[one]} endpoint" for one in subnet.endpoints]
    return "routes to " + ", ".join(words) if words else "no route out"


def _trunks(edges: Mapping[tuple[str, str, Style], Ports]) -> list[Trunk]:
    """Return one trunk for each destination and set of senders that share ports."""
    grouped: dict[tuple[str, Style], dict[str, Ports]] = {}
    for (source, destination, style), ports in edges.items():
        grouped.setdefault((destination, style), {})[source] = ports
    return [
        Trunk(destination, str(ports), style, senders)
        for (destination, style), wanted in sorted(grouped.items())
        for senders, ports in sorted(_shared(wanted).items())
    ]


def _shared(wanted: Mapping[str, Ports]) -> Mapping[tuple[str, ...], Ports]:
    """Return the ports by who uses them: every port has exactly one set of senders."""
    parts: list[tuple[tuple[str, ...], Ports]] = []
    for source, ports in sorted(wanted.items()):
        rest = ports
        split: list[tuple[tuple[str, ...], Ports]] = []
        for senders, shared in parts:
            split += [((*senders, source), shared & ports), (senders, shared - ports)]
            rest -= shared
        parts = [(senders, each) for senders, each in [*split, ((source,), rest)] if each]
    found: dict[tuple[str, ...], Ports] = {}
    for senders, ports in parts:
        found[senders] = found.get(senders, NOTHING) | ports
    return found
