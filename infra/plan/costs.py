"""What a stack costs in a month: fixed items from a dated table of list prices, use as assumed.

A price that the table does not have is None and shown as "not priced", never as nothing. The sums
then say "at least".
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from infra.graph import Graph, Resource

HOURS = 730
"""Hours in a month, as AWS's own calculator counts them."""

_FOLDER = Path(__file__).parent / "prices"


@dataclass(frozen=True)
class Price:
    """A price for an hour, a month, or a unit of use; `seen` if it was compared with a source."""

    amount: float
    seen: bool


@dataclass(frozen=True)
class Prices:
    """The table of one region; `as_of` is None when there is none for it."""

    region: str
    as_of: date | None
    currency: str
    table: Mapping[str, Price]


@dataclass(frozen=True)
class Line:
    """One line of the estimate: so many units of an item at a price. Use is `assumed`."""

    item: str
    resource: str
    quantity: float
    unit: str
    price: Price | None
    assumed: bool = False

    @property
    def monthly(self) -> float | None:
        """Return the cost of a month, or None when there is no price."""
        if self.price is None:
            return None
        return self.quantity * self.price.amount * (HOURS if self.unit == "running" else 1)


@dataclass(frozen=True)
class Estimate:
    """All lines, and the kinds of resources that are free for being there."""

    prices: Prices
    lines: tuple[Line, ...]

    def total(self, *, assumed: bool) -> float:
        """Return the sum of the fixed or of the assumed lines that have a price."""
        return sum(one.monthly or 0 for one in self.lines if one.assumed == assumed)

    @property
    def unpriced(self) -> tuple[Line, ...]:
        """Return the lines without a price."""
        return tuple(one for one in self.lines if one.price is None)


def load(region: str, folder: Path = _FOLDER) -> Prices:
    """Return the prices of a region; an empty table when there is no file for it."""
    file = folder / f"{region}.toml"
    if not region.replace("-", "").isalnum() or not file.is_file():
        return Prices(region, None, "USD", {})
    data = tomllib.loads(file.read_text(encoding="utf-8"))
    table = {
        item: Price(float(amount), seen=basis == "seen")
        for basis in ("remembered", "seen")
        for items in data.get(basis, {}).values()
        for item, amount in items.items()
    }
    return Prices(region, data["as_of"], data["currency"], table)


def estimate(graph: Graph, prices: Prices, folder: Path = _FOLDER) -> Estimate:
    """Return what a month costs: fixed lines by resource, then the assumed use."""
    free = tomllib.loads((folder / "free.toml").read_text(encoding="utf-8"))["kinds"]
    lines: list[Line] = []
    for one in graph.resources:
        if not one.custom or one.kind.startswith("pulumi:"):
            continue
        fixed = _FIXED.get(one.kind)
        if fixed is not None:
            for item, what, quantity, unit in fixed(graph, one):
                lines.append(Line(item, one.name, quantity, unit, prices.table.get(what)))
        elif not any(fnmatchcase(one.kind, pattern) for pattern in free):
            words = one.kind.removeprefix("aws:").replace(":", " ")
            lines.append(Line(words, one.name, 1, "monthly", None))
    lines += _assumed(graph, prices, folder)
    return Estimate(prices, tuple(lines))


def _assumed(graph: Graph, prices: Prices, folder: Path) -> Iterator[Line]:
    data = tomllib.loads((folder / "usage.toml").read_text(encoding="utf-8"))
    for one in data["assumed"]:
        if graph.of(one["kind"]):
            price = prices.table.get(one["price"])
            yield Line(one["item"], "", one["quantity"], one["unit"], price, assumed=True)


Fixed = Iterator[tuple[str, str, float, str]]  # item, its name in the table, quantity, unit


def _machine(words: str, kind: object, count: int) -> Fixed:
    yield f"{words} {kind}", f"ec2 {kind}", count, "running"


def _disk(words: str, kind: object, size: object, count: int) -> Fixed:
    name = str(kind or "gp3")
    yield f"{words}, {name}", f"volume {name} GB", float(str(size or 8)) * count, "GB"


def _instance(_: Graph, one: Resource) -> Fixed:
    yield from _machine("machine", one.get("instanceType"), 1)
    root = one.get("rootBlockDevice") or {}
    yield from _disk("root disk", root.get("volumeType"), root.get("volumeSize"), 1)


def _group(graph: Graph, one: Resource) -> Fixed:
    count = int(one.get("desiredCapacity", one.get("minSize", 0)) or 0)
    for template in graph.targets(one, "launchTemplate"):
        if template.kind != "aws:ec2:LaunchTemplate":
            continue
        words = "machine" if count else "machine, while it is started,"
        yield from _machine(words, template.get("instanceType"), count)
        for device in template.get("blockDeviceMappings") or []:
            disk = device.get("ebs") or {}
            yield from _disk("root disk", disk.get("volumeType"), disk.get("volumeSize"), count)


def _volume(_: Graph, one: Resource) -> Fixed:
    yield from _disk("data volume", one.get("type"), one.get("size"), 1)


def _database(_: Graph, one: Resource) -> Fixed:
    copies = 2 if one.get("multiAz") else 1
    kind, storage = one.get("instanceClass"), str(one.get("storageType", "gp3"))
    standby = " with standby" if copies == 2 else ""
    yield f"database {kind}{standby}", f"rds {kind}", copies, "running"
    size = float(str(one.get("allocatedStorage", 20)))
    yield f"database storage, {storage}{standby}", f"rds {storage} GB", size * copies, "GB"
    if one.get("manageMasterUserPassword"):
        yield "secret of the database's master", "secret", 1, "monthly"


def _balancer(_: Graph, one: Resource) -> Fixed:
    yield "load balancer", "load balancer", 1, "running"
    if not one.get("internal", False):
        subnets = one.get("subnets") or one.get("subnetMappings") or []
        yield "its public addresses", "public address", len(subnets), "running"


def _endpoint(_: Graph, one: Resource) -> Fixed:
    if one.get("vpcEndpointType", "Gateway") == "Interface":
        legs = len(one.get("subnetIds") or [])
        yield "interface endpoint", "interface endpoint", legs, "running"


def _web_acl(_: Graph, one: Resource) -> Fixed:
    yield "web application firewall", "web acl", 1, "monthly"
    yield "its rules", "web acl rule", len(one.get("rules") or []), "monthly"


def _single(item: str, what: str, unit: str) -> Any:
    def fixed(_: Graph, __: Resource) -> Fixed:
        yield item, what, 1, unit

    return fixed


_FIXED: Mapping[str, Any] = {
    "aws:autoscaling:Group": _group,
    "aws:cloudwatch:MetricAlarm": _single("alarm", "alarm", "monthly"),
    "aws:cloudwatch:CompositeAlarm": _single("composite alarm", "composite alarm", "monthly"),
    "aws:ebs:Volume": _volume,
    "aws:ec2:Eip": _single("public address", "public address", "running"),
    "aws:ec2:Instance": _instance,
    "aws:ec2:NatGateway": _single("NAT gateway", "nat gateway", "running"),
    "aws:ec2:VpcEndpoint": _endpoint,
    "aws:kms:Key": _single("encryption key", "kms key", "monthly"),
    "aws:lb:LoadBalancer": _balancer,
    "aws:rds:Instance": _database,
    "aws:route53:HealthCheck": _single("health check", "health check", "monthly"),
    "aws:route53:Zone": _single("DNS zone", "hosted zone", "monthly"),
    "aws:secretsmanager:Secret": _single("secret", "secret", "monthly"),
    "aws:wafv2:WebAcl": _web_acl,
}
