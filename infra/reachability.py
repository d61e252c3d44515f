"""Who may reach whom on which port: the one table that firewalls are made from.

Security groups, network ACLs and the machines' own nftables are rendered from it. What it means is
tested against a table written by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from infra import naming
from infra.config.model import InfraConfig

INTERNET = "internet"
ENDPOINTS = "endpoints"
S3 = "s3"
"""Amazon's S3 through the gateway endpoint, by its prefix list."""

WEB_PORT, DATABASE_PORT, SUBMISSION_PORT = 8443, 5432, 587

TIER = {
    "alb": "public",
    "web": "private",
    "db": "private",
    "mail": "private",
    "dumper": "private",
    "keeper": "private",
    "endpoints": "private",
    "restorer": "isolated",
}


@dataclass(frozen=True)
class Flow:
    """One direction of one TCP port, from one duty to another, and why."""

    source: str
    target: str
    port: int
    reason: str


def tier(config: InfraConfig, duty: str) -> str:
    """Return the tier that a duty's machines or addresses lie in."""
    return "data" if duty == "db" and config.db.form == "rds" else TIER[duty]


def groups(config: InfraConfig) -> tuple[str, ...]:
    """Return the duties that have a security group."""
    duties = {"alb", "db", *config.duties}
    if endpoint_services(config):
        duties.add(ENDPOINTS)
    return tuple(name for name in TIER if name in duties)


def endpoint_services(config: InfraConfig) -> tuple[str, ...]:
    """Return the services of AWS that have an interface endpoint.

    The isolated tier has no other way to Systems Manager, so it gets what a session needs while a
    restorer runs. Every duty may then use them: their names resolve to them in the whole network.
    """
    session = ("ssm", "ssmmessages", "ec2messages", "logs")
    if config.interface_endpoints == "all":
        return (*session, "monitoring", "secretsmanager")
    return session if config.restorer.count > 0 else ()


def flows(config: InfraConfig) -> tuple[Flow, ...]:
    """Return every flow of a stack, sorted; whatever is not in it is refused."""
    return tuple(sorted(_flows(config), key=lambda flow: (flow.source, flow.target, flow.port)))


def _flows(config: InfraConfig) -> Iterator[Flow]:
    yield Flow(INTERNET, "alb", 443, "the site")
    yield Flow(INTERNET, "alb", 80, "redirect to HTTPS")
    yield Flow("alb", "web", WEB_PORT, "requests")
    yield Flow("web", "db", DATABASE_PORT, "queries")
    yield Flow("restorer", "db", DATABASE_PORT, "a dump into a new database")
    if config.db.form == "rds":
        yield Flow("dumper", "db", DATABASE_PORT, "dumps")
    if config.mail.form == "server":
        yield Flow("web", "mail", SUBMISSION_PORT, "submission of mail")
        port = 25 if config.mail.delivery == "direct" else config.mail.relay_port
        yield Flow("mail", INTERNET, port, "delivery of mail")
    for duty in config.duties:
        where = tier(config, duty)
        if where == "private":
            yield Flow(duty, INTERNET, 443, "AWS, packages, error reports")
            yield Flow(duty, INTERNET, 80, "signed packages of Debian")
        else:
            yield Flow(duty, S3, 443, "backups and packages")
        if endpoint_services(config):
            yield Flow(duty, ENDPOINTS, 443, "AWS inside of the network")


def mail_ports(config: InfraConfig) -> tuple[int, ...]:
    """Return the ports towards the internet beside 443 and 80."""
    return tuple(
        flow.port
        for flow in flows(config)
        if flow.target == INTERNET and flow.port not in (443, 80)
    )


@dataclass(frozen=True)
class AclRule:
    """One rule of a tier's network ACL: TCP ports to (`egress`) or from a network.

    `number` is unique for each direction and follows from ports and network alone: AWS replaces a
    rule whose number changes, and refuses one whose number another rule still holds.
    """

    egress: bool
    first: int
    last: int
    cidr: str
    number: int


_ANYWHERE = "0.0.0.0/0"
_ANSWERS = (1024, 65535)
"""Where answers go: NAT gateways and load balancers use this whole range as source ports."""
_SLOTS = (_ANSWERS, *((port, port) for port in (443, 80, WEB_PORT, DATABASE_PORT, 587, 465, 25)))
"""Ports by their place in the numbers of rules; a new one goes to the end, none is ever moved."""


def acl_rules(config: InfraConfig, where: str) -> tuple[AclRule, ...]:
    """Return the rules of a tier's network ACL, which knows no connections: both ways are named.

    What goes from the private tier to the internet passes the NAT gateway in the public tier.
    """
    rules: set[AclRule] = set()

    def add(egress: bool, ports: tuple[int, int], other: str | None) -> None:
        cidr = _ANYWHERE if other is None else naming.tier_cidr(config.cidr, other)
        place = 0 if other is None else 1 + naming.TIERS.index(other)
        rules.add(AclRule(egress, *ports, cidr, 1000 + 10 * _SLOTS.index(ports) + place))

    def way(tier_from: str | None, tier_to: str | None, port: int) -> None:
        if where == tier_from:
            add(True, (port, port), tier_to)
            add(False, _ANSWERS, tier_to)
        if where == tier_to:
            add(False, (port, port), tier_from)
            add(True, _ANSWERS, tier_from)

    for flow in flows(config):
        origin = None if flow.source == INTERNET else tier(config, flow.source)
        if flow.target == S3:
            way(origin, None, flow.port)
        elif flow.target == INTERNET:
            way(origin, None, flow.port)
            way("private", "public", flow.port)
            way("public", None, flow.port)
        else:
            way(origin, tier(config, flow.target), flow.port)
    return tuple(sorted(rules, key=lambda rule: (rule.egress, rule.number)))
