"""Who reaches whom: the table that everything is rendered from, against one written by hand."""

from __future__ import annotations

from itertools import product

import pytest

from infra import host_guard, naming, reachability
from tests.fixtures.stacks import HA, MAIL_SERVER, stack

MANAGED = {
    ("internet", "alb", 443),
    ("internet", "alb", 80),
    ("alb", "web", 8443),
    ("web", "db", 5432),
    ("restorer", "db", 5432),
    ("dumper", "db", 5432),
    ("web", "internet", 443),
    ("web", "internet", 80),
    ("dumper", "internet", 443),
    ("dumper", "internet", 80),
    ("keeper", "internet", 443),
    ("keeper", "internet", 80),
    ("restorer", "s3", 443),
}
SERVERS = (MANAGED - {flow for flow in MANAGED if flow[0] == "dumper"}) | {
    ("db", "internet", 443),
    ("db", "internet", 80),
    ("mail", "internet", 443),
    ("mail", "internet", 80),
    ("web", "mail", 587),
    ("mail", "internet", 587),
}


def table(**changes: object) -> set[tuple[str, str, int]]:
    return {(flow.source, flow.target, flow.port) for flow in reachability.flows(stack(**changes))}


def test_the_table_is_what_we_mean() -> None:
    assert table() == MANAGED
    assert table(**MAIL_SERVER, dbForm="server") == SERVERS


def test_endpoints_are_reached_only_when_they_exist() -> None:
    duties = ("web", "dumper", "keeper", "restorer")
    assert table(**HA) - MANAGED == {(duty, "endpoints", 443) for duty in duties}
    assert table(restorerCount=1) - MANAGED == {(duty, "endpoints", 443) for duty in duties}


def test_direct_delivery_opens_port_25_and_nothing_else() -> None:
    server: dict[str, object] = {
        "mailForm": "server",
        "mailDelivery": "direct",
        "mailPort25Unblocked": True,
    }
    assert table(**server) - table(**MAIL_SERVER) == {("mail", "internet", 25)}


def rules(tier: str, **changes: object) -> set[tuple[str, int, int, str]]:
    return {
        ("out" if rule.egress else "in", rule.first, rule.last, rule.cidr)
        for rule in reachability.acl_rules(stack(**changes), tier)
    }


def test_the_data_tier_speaks_with_private_and_isolated_machines_alone() -> None:
    assert rules("data") == {
        ("in", 5432, 5432, "10.32.64.0/18"),
        ("in", 5432, 5432, "10.32.192.0/18"),
        ("out", 1024, 65535, "10.32.64.0/18"),
        ("out", 1024, 65535, "10.32.192.0/18"),
    }


def test_the_internet_reaches_the_private_tier_by_answers_alone() -> None:
    inward = {rule for rule in rules("private") if rule[0] == "in" and rule[3] == "0.0.0.0/0"}
    assert inward == {("in", 1024, 65535, "0.0.0.0/0")}
    assert ("in", 443, 443, "0.0.0.0/0") in rules("public")
    assert ("in", 80, 80, "10.32.64.0/18") in rules("public")


@pytest.mark.parametrize("tier", ["public", "private", "data", "isolated"])
@pytest.mark.parametrize("changes", [{}, HA, {**MAIL_SERVER, "dbForm": "server"}])
def test_an_acl_stays_below_the_limit_of_aws(tier: str, changes: dict[str, object]) -> None:
    found = reachability.acl_rules(stack(**changes), tier)
    for egress in (True, False):
        assert sum(rule.egress == egress for rule in found) <= 20


def test_a_rule_has_one_number_in_every_configuration_and_shares_it_with_none() -> None:
    forms: list[dict[str, object]] = [
        {},
        {**MAIL_SERVER, "mailRelayPort": 587},
        {**MAIL_SERVER, "mailRelayPort": 465},
        {"mailForm": "server", "mailDelivery": "direct", "mailPort25Unblocked": True},
    ]
    numbers: dict[tuple[str, bool, int, int, str], int] = {}
    for form, db, restorers, endpoints, size in product(
        forms, ("rds", "server"), (0, 1), ("none", "all"), ({}, HA)
    ):
        more = {"dbForm": db, "restorerCount": restorers, "interfaceEndpoints": endpoints}
        config = stack(**{**size, **form, **more})
        for tier in naming.TIERS:
            for rule in reachability.acl_rules(config, tier):
                key = (tier, rule.egress, rule.first, rule.last, rule.cidr)
                assert numbers.setdefault(key, rule.number) == rule.number, key
                assert 1 <= rule.number <= 32766
    assert len({(tier, egress, number) for (tier, egress, *_), number in numbers.items()}) == len(
        numbers
    )


@pytest.mark.parametrize("duty", ["web", "db", "mail", "keeper", "restorer"])
def test_a_machine_lets_in_what_its_security_group_lets_in(duty: str) -> None:
    config = stack(**MAIL_SERVER, dbForm="server")
    text = host_guard.nftables(config, duty)
    ports = {
        int(line.split()[2])
        for line in text.splitlines()
        if "tcp dport" in line and "saddr" in line
    }
    assert ports == {port for _, target, port in SERVERS if target == duty}
    assert "policy drop" in text
    assert "169.254.169.254 meta skuid != @metadata_users reject" in text
