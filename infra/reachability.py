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
    """One rule of a tier's network ACL: TCP ports to (`egress`) or from a network."""

    egress: bool
    first: int
    last: int
    cidr: str


_ANYWHERE = "0.0.0.0/0"
_ANSWERS = (1024, 65535)
"""Where answers go: NAT gateways and load balancers use this whole range as source ports."""


def acl_rules(config: InfraConfig, where: str) -> tuple[AclRule, ...]:
    """Return the rules of a tier's network ACL, which knows no connections: both ways are named.

    What goes from the private tier to the internet passes the NAT gateway in the public tier.
    """
    rules: set[AclRule] = set()

    def way(tier_from: str | None, tier_to: str | None, port: int) -> None:
        cidr_from, cidr_to = _tier_cidr(config, tier_from), _tier_cidr(config, tier_to)
        if where == tier_from:
            rules.add(AclRule(True, port, port, cidr_to))
            rules.add(AclRule(False, *_ANSWERS, cidr_to))
        if where == tier_to:
            rules.add(AclRule(False, port, port, cidr_from))
            rules.add(AclRule(True, *_ANSWERS, cidr_from))

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
    return tuple(sorted(rules, key=lambda rule: (rule.egress, rule.first, rule.last, rule.cidr)))


def _tier_cidr(config: InfraConfig, where: str | None) -> str:
    return _ANYWHERE if where is None else naming.tier_cidr(config.cidr, where)
