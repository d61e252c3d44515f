"""Names, ARNs, tags and addresses."""

from __future__ import annotations

import ipaddress

import pytest

from infra import naming
from tests.fixtures.stacks import HA, SOVEREIGN, stack


def test_subnets_never_overlap_and_keep_their_place_when_a_zone_is_added() -> None:
    two = naming.subnets("10.32.0.0/16", ("a", "b"))
    three = naming.subnets("10.32.0.0/16", ("a", "b", "c"))
    assert two.items() <= three.items()
    networks = [ipaddress.IPv4Network(text) for text in three.values()]
    for place, network in enumerate(networks):
        assert not any(network.overlaps(other) for other in networks[place + 1 :])
        assert network.subnet_of(ipaddress.IPv4Network("10.32.0.0/16"))


@pytest.mark.parametrize("tier", naming.TIERS)
def test_a_tier_holds_its_subnets(tier: str) -> None:
    whole = ipaddress.IPv4Network(naming.tier_cidr("10.32.0.0/16", tier))
    for (found, _), text in naming.subnets("10.32.0.0/16", ("a", "b", "c")).items():
        assert ipaddress.IPv4Network(text).subnet_of(whole) == (found == tier)


def test_names_of_buckets_and_roles_fit_into_what_aws_takes() -> None:
    config = stack("a" * 16, **HA)
    assert len(naming.bucket(config, "backups")) <= 63
    for duty in (*config.duties, "breakglass", "db-monitor"):
        assert len(naming.role(config, duty)) <= 64


def test_arns_and_services_follow_the_partition() -> None:
    config = stack(**SOVEREIGN)
    assert naming.arn(config, "sns", "x").startswith("arn:aws-eusc:sns:eusc-de-east-1:")
    assert naming.service(config, "ec2") == "ec2.amazonaws.eu"
    assert naming.endpoint_service(config, "s3") == "eu.amazonaws.eusc-de-east-1.s3"
    assert naming.endpoint_service(stack(), "s3") == "com.amazonaws.eu-central-1.s3"


def test_what_holds_personal_data_says_for_how_long() -> None:
    tags = naming.tags(stack(), "web", "log", personal_data=True, retention_days=30)
    assert (tags["PersonalData"], tags["RetentionDays"]) == ("yes", "30")
    assert (
        naming.tags(stack(), "web", "data", personal_data=True)["RetentionDays"] == "until-deleted"
    )
    assert "RetentionDays" not in naming.tags(stack(), "web", "x")
