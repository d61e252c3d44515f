from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from infra.plan.network import INTERNET, GroupRule, Network, Subnet
from infra.plan.ports import Ports, span, tcp
from infra.plan.reachability import evaluate
from tests.infra.plan.networks import (
    ANSWERS,
    APP,
    DATA,
    PUBLIC,
    allow,
    deny,
    open_to_all,
    small,
    with_acl,
    with_rule,
    without_acl_rule,
)

INTENDED = {
    ("internet", "balancer", "443", "internet gateway"),
    ("balancer", "web", "8443", "inside"),
    ("web", "database", "5432", "inside"),
    ("web", "internet", "443", "nat"),
    ("web", "s3", "443", "gateway endpoint"),
    # whoever reaches the internet on 443 reaches what the internet reaches on 443
    ("web", "balancer", "443", "inside"),
}


def matrix(network: Network) -> set[tuple[str, str, str, str]]:
    flows = evaluate(network).flows
    return {(one.source, one.destination, str(one.ports), one.way) for one in flows}


def test_the_intended_connections_are_possible_and_no_other() -> None:
    assert matrix(small()) == INTENDED
    assert evaluate(small()).blocked == ()


def test_open_acls_change_nothing_where_the_groups_hold() -> None:
    assert matrix(open_to_all(small())) == INTENDED
    untouched = {name: replace(one, acl=None) for name, one in small().subnets.items()}
    assert matrix(small(subnets=untouched)) == INTENDED


@pytest.mark.parametrize(
    ("subnet", "egress", "ports", "lost"),
    [
        ("public", False, tcp(443), {"balancer", "internet"}),
        ("public", True, ANSWERS, {"balancer", "internet"}),
        ("public", False, ANSWERS, {"web", "internet"}),  # the balancer's and the NAT's answers
        ("app", False, tcp(8443), set()),  # 8443 is among the ports of the answers
        ("app", True, ANSWERS, {"web"}),
        ("app", False, ANSWERS, {"database", "internet", "s3", "balancer"}),
        ("app", True, tcp(5432), {"database"}),
        ("data", False, tcp(5432), {"database"}),
        ("data", True, ANSWERS, {"database"}),
    ],
)
def test_an_acl_closes_what_it_does_not_let_through_in_both_directions(
    subnet: str, egress: bool, ports: Ports, lost: set[str]
) -> None:
    closed = without_acl_rule(small(), subnet, egress, ports)
    assert {one[1] for one in INTENDED - matrix(closed)} == lost
    assert matrix(closed) <= INTENDED


def test_what_the_groups_open_and_an_acl_closes_is_reported() -> None:
    closed = without_acl_rule(small(), "data", True, ANSWERS)
    assert [(one.source, one.destination, str(one.ports)) for one in evaluate(closed).blocked] == [
        ("web", "database", "5432")
    ]


def test_too_few_ports_for_the_answers_are_not_enough() -> None:
    narrow = Ports(tcp=span(32768, 60999))
    # a Linux client sends from these, a load balancer from all above 1024
    data = (allow(False, tcp(5432), APP), allow(True, narrow, APP))
    assert matrix(with_acl(small(), "data", *data)) == INTENDED
    acl = (
        *(one for one in small().subnets["app"].acl or () if one.ports != ANSWERS),
        allow(False, ANSWERS, INTERNET, 110),
        allow(True, narrow, PUBLIC, 110),
    )
    assert ("balancer", "web", "8443", "inside") not in matrix(with_acl(small(), "app", *acl))


def test_the_first_entry_that_fits_decides() -> None:
    acl = small().subnets["data"].acl or ()
    before = with_acl(small(), "data", deny(False, tcp(5432), APP), *acl)
    assert ("web", "database", "5432", "inside") not in matrix(before)
    after = with_acl(small(), "data", deny(False, tcp(5432), APP, 900), *acl)
    assert matrix(after) == INTENDED


def test_an_entry_for_some_addresses_does_not_hide_the_others() -> None:
    some = deny(False, tcp(5432), ip_network("10.0.1.128/25"))
    acl = small().subnets["data"].acl or ()
    assert matrix(with_acl(small(), "data", some, *acl)) == INTENDED


def test_one_rule_without_its_counterpart_opens_nothing_and_is_reported() -> None:
    half = with_rule(open_to_all(small()), "web", GroupRule(True, tcp(22), "database"))
    assert matrix(half) == INTENDED
    assert [(one.source, one.destination, str(one.ports)) for one in evaluate(half).blocked] == [
        ("web", "database", "22")
    ]


def test_a_range_in_a_rule_reaches_whoever_lives_there() -> None:
    network = with_rule(open_to_all(small()), "balancer", GroupRule(True, tcp(5432), DATA))
    network = with_rule(network, "database", GroupRule(False, tcp(5432), PUBLIC))
    assert matrix(network) - INTENDED == {("balancer", "database", "5432", "inside")}
    everywhere = with_rule(open_to_all(small()), "database", GroupRule(False, tcp(443), INTERNET))
    assert matrix(everywhere) - INTENDED == {("web", "database", "443, 5432", "inside")}


def test_without_a_route_the_internet_is_not_reached_whatever_the_groups_say() -> None:
    network = with_rule(open_to_all(small()), "database", GroupRule(True, tcp(443), INTERNET))
    assert matrix(network) - INTENDED == {("database", "balancer", "443", "inside")}
    assert [(one.source, one.destination) for one in evaluate(network).blocked] == [
        ("database", "internet")
    ]


def test_a_private_address_is_not_reached_from_the_internet() -> None:
    network = with_rule(open_to_all(small()), "web", GroupRule(False, tcp(22), INTERNET))
    assert matrix(network) - INTENDED == set()
    nodes = {**small().nodes, "web": replace(small().nodes["web"], public=True)}
    exposed = replace(network, nodes=nodes)
    assert matrix(exposed) == INTENDED  # still without a route through the internet gateway
    routed = {
        **network.subnets,
        "app": replace(network.subnets["app"], routes=network.subnets["public"].routes),
    }
    assert ("internet", "web", "22", "internet gateway") in matrix(replace(exposed, subnets=routed))


def test_a_narrower_route_wins() -> None:
    host = ip_network("198.51.100.7/32")
    network = with_rule(open_to_all(small()), "web", GroupRule(True, tcp(587), host))
    assert ("web", "198.51.100.7/32", "587", "nat") in matrix(network)
    app = replace(network.subnets["app"], routes={INTERNET: "nat", host: "nowhere"})
    network = replace(network, subnets={**network.subnets, "app": app})
    assert ("web", "198.51.100.7/32", "587", "nat") not in matrix(network)
    assert ("web", "internet", "443", "nat") in matrix(network)


def test_a_prefix_list_opens_the_gateway_endpoint_alone() -> None:
    groups = {
        **small().groups,
        "web": (GroupRule(True, tcp(443), "prefix list s3"),),
    }
    assert {one for one in matrix(small(groups=groups)) if one[0] == "web"} == {
        ("web", "s3", "443", "gateway endpoint")
    }
    unrouted = {**small().subnets, "app": replace(small().subnets["app"], endpoints=())}
    network = small(groups=groups, subnets=unrouted)
    assert {one for one in matrix(network) if one[0] == "web"} == set()
    assert ("web", "s3") in {(one.source, one.destination) for one in evaluate(network).blocked}


def test_within_one_subnet_no_acl_is_asked() -> None:
    nodes = {**small().nodes, "database": replace(small().nodes["database"], subnets=("app",))}
    acl = {**small().subnets, "app": replace(small().subnets["app"], acl=())}
    flows = {
        (one.source, one.destination) for one in evaluate(small(nodes=nodes, subnets=acl)).flows
    }
    assert flows == {("internet", "balancer"), ("web", "database")}


def test_what_holds_for_one_zone_only_is_marked() -> None:
    other = Subnet("data-b", "data", "b", (ip_network("10.0.9.0/24"),), (), "closed", {}, ())
    nodes = {
        **small().nodes,
        "database": replace(small().nodes["database"], subnets=("data", "data-b")),
    }
    found = evaluate(small(nodes=nodes, subnets={**small().subnets, "data-b": other})).flows
    assert [one.partly for one in found if one.destination == "database"] == [True]
    assert not any(one.partly for one in evaluate(small()).flows)


def test_what_follows_from_being_open_to_the_internet_is_marked() -> None:
    implied = {(one.source, one.destination) for one in evaluate(small()).flows if one.implied}
    assert implied == {("web", "balancer")}


def test_each_connection_names_the_rules_that_open_it() -> None:
    places = {(one.source, one.destination): one.rules for one in evaluate(small()).flows}
    assert places["web", "database"] == ("firewall.py:4", "firewall.py:6")
    assert places["internet", "balancer"] == ("firewall.py:1",)
