"""Names, ARNs and mandatory tags. Pure functions of the configuration.

Physical names are given only where AWS or a policy needs to know them (buckets, roles, log groups,
parameters); everything else is named by Pulumi, so that it can be created before its predecessor is
deleted. ARNs are written with the partition and never with a literal `arn:aws:`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Protocol

TIERS = ("public", "private", "data", "isolated")
"""Tiers of the network; the order is part of every stack's addresses and never changes."""


SESSIONS = "/art32/sessions"
"""The account's log group of interactive sessions, which `infra/bootstrap` makes."""


class Place(Protocol):
    """What names depend on; a stack's configuration and the account's both are one."""

    @property
    def stack(self) -> str:
        """Return the name of the stack."""

    @property
    def account_id(self) -> str:
        """Return the account's twelve digits."""

    @property
    def region(self) -> str:
        """Return the region."""

    @property
    def partition(self) -> str:
        """Return the partition of the region."""

    @property
    def dns_suffix(self) -> str:
        """Return what host names of the partition end in."""

    @property
    def ephemeral(self) -> bool:
        """Return whether everything is destroyed with the stack."""


def prefixed(config: Place, *parts: str) -> str:
    """Return a physical name: `art32-<stack>-<parts>`."""
    return "-".join(("art32", config.stack, *parts))


def bucket(config: Place, purpose: str) -> str:
    """Return a bucket's name. It carries account and region: bucket names are the world's."""
    return prefixed(config, purpose, config.account_id, config.region)


def artifact_bucket(config: Place) -> str:
    """Return the name of the account's bucket of packages, which `infra/bootstrap` makes."""
    return f"art32-artifacts-{config.account_id}-{config.region}"


def role(config: Place, duty: str) -> str:
    """Return a role's name. IAM is global, so the region keeps two stacks of one name apart."""
    return prefixed(config, config.region, duty)


def parameter(config: Place, *parts: str) -> str:
    """Return a parameter's name in Systems Manager: `/art32/<stack>/<parts>`."""
    return "/".join(("", "art32", config.stack, *parts))


def log_group(config: Place, purpose: str) -> str:
    """Return a log group's name."""
    return f"/art32/{config.stack}/{purpose}"


def metric_namespace(config: Place) -> str:
    """Return the namespace in which the keeper, and nobody else, puts metrics."""
    return f"Art32/{config.stack}"


def host_namespace(config: Place) -> str:
    """Return the namespace in which machines report their own state."""
    return f"Art32Host/{config.stack}"


def arn(config: Place, service: str, resource: str, region: str | None = None) -> str:
    """Return the ARN of something in the stack's account; `region` is its own unless given."""
    place = config.region if region is None else region
    return f"arn:{config.partition}:{service}:{place}:{config.account_id}:{resource}"


def bucket_arn(config: Place, purpose: str, path: str = "") -> str:
    """Return the ARN of a bucket of the stack, or of the objects below a path in it."""
    return f"arn:{config.partition}:s3:::{bucket(config, purpose)}" + (f"/{path}" if path else "")


def role_arn(config: Place, duty: str) -> str:
    """Return the ARN of a role of the stack."""
    return arn(config, "iam", f"role/{role(config, duty)}", region="")


def managed_policy(config: Place, name: str) -> str:
    """Return the ARN of a policy that AWS maintains."""
    return f"arn:{config.partition}:iam::aws:policy/{name}"


def service(config: Place, name: str) -> str:
    """Return a service principal, `ec2.amazonaws.com` in most partitions."""
    return f"{name}.{config.dns_suffix}"


def endpoint(config: Place, name: str) -> str:
    """Return the host name of a service in the stack's region."""
    return f"{name}.{config.region}.{config.dns_suffix}"


def endpoint_service(config: Place, name: str) -> str:
    """Return the name of a VPC endpoint service: the suffix, reversed, comes first."""
    return ".".join((*reversed(config.dns_suffix.split(".")), config.region, name))


def tags(
    config: Place,
    component: str,
    name: str,
    *,
    personal_data: bool = False,
    retention_days: int | None = None,
    **more: str,
) -> Mapping[str, str]:
    """Return the tags of a resource.

    `PersonalData` and `RetentionDays` are what the plan page and the rules read; what holds
    personal data says for how long it keeps it (`until-deleted` for the live data itself). The
    rules that demand protection let a stack go that is tagged `Art32Ephemeral`.
    """
    retention = {"Art32Ephemeral": "yes"} if config.ephemeral else {}
    if personal_data:
        retention["RetentionDays"] = (
            "until-deleted" if retention_days is None else str(retention_days)
        )
    return {
        "Name": prefixed(config, name),
        "Art32Stack": config.stack,
        "Art32Component": component,
        "PersonalData": "yes" if personal_data else "no",
        **retention,
        **more,
    }


def subnets(cidr: str, zones: tuple[str, ...]) -> Mapping[tuple[str, str], str]:
    """Return the network of each tier in each zone: a /20 of the /16, by tier and zone.

    Four places are kept for each tier, so that a zone can be added without moving another.
    """
    places = list(ipaddress.IPv4Network(cidr).subnets(new_prefix=20))
    return {
        (tier, zone): str(places[row * 4 + column])
        for row, tier in enumerate(TIERS)
        for column, zone in enumerate(zones)
    }


def tier_cidr(cidr: str, tier: str) -> str:
    """Return the network that holds a tier's subnets in all zones, a /18."""
    return str(list(ipaddress.IPv4Network(cidr).subnets(new_prefix=18))[TIERS.index(tier)])
