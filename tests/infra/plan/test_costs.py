from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from infra.plan import costs
from infra.plan.costs import HOURS, Estimate, Price, Prices, estimate, load
from tests.infra.plan.graphs import graph, marker, resource

PRICES = Prices(
    "eu-test-1",
    date(2026, 1, 1),
    "USD",
    {
        "ec2 t4g.small": Price(0.02, seen=True),
        "volume gp3 GB": Price(0.1, seen=True),
        "rds db.t4g.small": Price(0.04, seen=True),
        "rds gp3 GB": Price(0.2, seen=False),
        "public address": Price(0.005, seen=True),
        "load balancer": Price(0.03, seen=True),
    },
)


def fixed(found: Estimate) -> dict[str, float | None]:
    return {one.item: one.monthly for one in found.lines if not one.assumed}


def test_a_machine_costs_its_hours_and_its_disk() -> None:
    one = resource(
        "Instance", inputs={"instanceType": "t4g.small", "rootBlockDevice": {"volumeSize": 20}}
    )
    assert fixed(estimate(graph(one), PRICES)) == {
        "machine t4g.small": pytest.approx(0.02 * HOURS),
        "root disk, gp3": pytest.approx(2.0),
    }


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_group_costs_as_many_machines_as_it_starts(count: int) -> None:
    template = resource(
        "LaunchTemplate",
        "web",
        {
            "instanceType": "t4g.small",
            "blockDeviceMappings": [{"ebs": {"volumeSize": 10, "volumeType": "gp3"}}],
        },
    )
    group = resource(
        "Group",
        "web",
        {"minSize": count, "launchTemplate": {"id": marker("LaunchTemplate", "web")}},
    )
    found = estimate(graph(template, group), PRICES)
    assert found.total(assumed=False) == pytest.approx(count * (0.02 * HOURS + 1.0))
    assert found.unpriced == ()


def test_a_standby_costs_a_second_database() -> None:
    inputs = {"instanceClass": "db.t4g.small", "allocatedStorage": 30, "storageType": "gp3"}
    alone = estimate(graph(resource("Database", inputs=inputs)), PRICES)
    both = estimate(graph(resource("Database", inputs={**inputs, "multiAz": True})), PRICES)
    assert alone.total(assumed=False) == pytest.approx(0.04 * HOURS + 6)
    assert both.total(assumed=False) == pytest.approx(2 * alone.total(assumed=False))


def test_a_load_balancer_pays_for_an_address_in_each_zone() -> None:
    inner = resource("LoadBalancer", inputs={"internal": True, "subnets": ["a", "b"]})
    outer = resource("LoadBalancer", inputs={"internal": False, "subnets": ["a", "b"]})
    difference = [estimate(graph(one), PRICES).total(assumed=False) for one in (inner, outer)]
    assert difference[1] - difference[0] == pytest.approx(2 * 0.005 * HOURS)


def test_what_has_no_price_is_not_nothing() -> None:
    found = estimate(graph(resource("Instance", inputs={"instanceType": "x9.metal"})), PRICES)
    assert fixed(found)["machine x9.metal"] is None
    assert [one.item for one in found.unpriced] == ["machine x9.metal"]


def test_a_kind_that_nobody_has_judged_is_not_priced_and_a_free_one_is_left_out() -> None:
    found = estimate(graph(resource("Robot"), resource("Role")), PRICES)
    assert fixed(found) == {"robomaker Robot": None}


def test_a_region_without_a_table_prices_nothing() -> None:
    prices = load("eu-north-9")
    assert (prices.as_of, prices.table) == (None, {})
    assert load("../eu-central-1").as_of is None
    found = estimate(graph(resource("Nat"), resource("Eip")), prices)
    assert {one.monthly for one in found.lines} == {None}


def test_a_gateway_endpoint_is_free_and_an_interface_endpoint_costs_each_leg() -> None:
    gateway = resource("Endpoint", "s3", {"vpcEndpointType": "Gateway"})
    legs = resource("Endpoint", "ssm", {"vpcEndpointType": "Interface", "subnetIds": ["a", "b"]})
    lines = estimate(graph(gateway, legs), load("eu-central-1")).lines
    assert [(one.resource, one.quantity) for one in lines] == [("ssm", 2)]


def test_use_is_assumed_only_of_what_is_there() -> None:
    prices = load("eu-central-1")
    assert [one for one in estimate(graph(), prices).lines if one.assumed] == []
    found = estimate(graph(resource("Nat"), resource("Nat", "second")), prices)
    assert len([one for one in found.lines if one.assumed]) == 1


@pytest.mark.parametrize(
    "file", sorted(Path(costs.__file__).parent.glob("prices/eu-*.toml")), ids=lambda file: file.stem
)
def test_the_tables_are_dated_and_every_assumption_has_its_price(file: Path) -> None:
    prices = load(file.stem)
    assert prices.region == file.stem
    assert isinstance(prices.as_of, date)
    assert all(0 < one.amount < 100 for one in prices.table.values())
    everything = graph(
        resource("Nat"),
        resource("LoadBalancer"),
        resource("WebAcl"),
        resource("LogGroup"),
        resource("Bucket"),
        resource("Plan"),
    )
    assumed = [one for one in estimate(everything, prices).lines if one.assumed]
    assert len(assumed) == 7
    assert all(one.monthly for one in assumed)
