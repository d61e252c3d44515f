"""The three examples: what their pages must say, written by hand."""

from __future__ import annotations

from functools import cache

import pytest

from infra.plan.__main__ import ROOT
from infra.plan.page import render
from infra.plan.plan import Plan, make
from infra.plan.stack import captured

EXAMPLES = ("small", "standard", "ha")

# Every place where AWS or a machine of ours keeps something about people, by resource and days:
# None is live data, which ends when it is deleted.
PLACES = {
    ("rds Instance", "db-g1", None),  # live data
    ("rds Instance", "db-g1", 30),  # any point in time
    ("rds Instance", "db-g1", 7),  # Performance Insights
    ("s3 Bucket", "backups", 31),  # a day after the lock, by AWS's daily run
    ("s3 Bucket", "audit", 366),
    ("backup Plan", "daily", 30),
    ("cloudwatch LogGroup", "trail", 90),
    ("cloudwatch LogGroup", "flow-log", 30),
    ("cloudwatch LogGroup", "waf-log", 30),
    ("cloudwatch LogGroup", "db-g1-postgresql", 30),
    ("cloudwatch LogGroup", "db-g1-upgrade", 30),
    *(
        ("cloudwatch LogGroup", f"{duty}-log", 30)
        for duty in ("web", "keeper", "dumper", "restorer")
    ),
    ("sqs Queue", "mail-feedback", 7),
    ("sqs Queue", "mail-feedback-failed", 14),
    ("sesv2 ConfigurationSet", "mail", None),  # addresses that bounced
    *(("ec2 LaunchTemplate", duty, None) for duty in ("web", "keeper", "dumper", "restorer")),
}


@cache
def plan(stack: str) -> Plan:
    config, graph, _ = captured(stack, ROOT)
    return make(graph, region=config.region, facts={"region": config.region})


def test_every_place_that_holds_personal_data_is_in_the_list() -> None:
    found = {
        (one.resource.kind.removeprefix("aws:").replace(":", " "), one.resource.name, one.days)
        for one in plan("standard").places
    }
    assert found == PLACES


@pytest.mark.parametrize("stack", EXAMPLES)
def test_no_place_is_a_problem_and_nothing_in_the_network_is_left_unjudged(stack: str) -> None:
    assert {str(one.resource): one.problems for one in plan(stack).places if one.problems} == {}
    assert plan(stack).network.unread == ()
    assert plan(stack).reachability.blocked == ()


@pytest.mark.parametrize("stack", EXAMPLES)
def test_every_kind_of_resource_has_been_judged_for_its_cost(stack: str) -> None:
    unpriced = {one.item for one in plan(stack).estimate.unpriced}
    assert unpriced <= {"database db.m7g.large with standby"}
    assert plan(stack).estimate.total(assumed=False) > 50


def test_a_bigger_profile_costs_more() -> None:
    totals = [plan(stack).estimate.total(assumed=False) for stack in EXAMPLES]
    assert totals == sorted(totals)


@pytest.mark.parametrize("stack", EXAMPLES)
def test_only_the_load_balancer_is_open_to_the_world(stack: str) -> None:
    exposed = [(one.source, one.destination, str(one.ports)) for one in plan(stack).exposed]
    assert exposed == [("internet", "alb", "80, 443")]


@pytest.mark.parametrize("stack", EXAMPLES)
def test_the_page_names_every_resource_with_its_line(stack: str) -> None:
    page = render(plan(stack))
    for one in plan(stack).graph.resources:
        if one.custom:
            assert f">{one.name}</th>" in page
            assert one.source.rpartition("/")[2] in page
