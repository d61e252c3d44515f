from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from itertools import combinations
from xml.etree import ElementTree as Tree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.plan.diagram import NAT_BAR, Diagram, arrange
from infra.plan.layout import place
from infra.plan.markup import svg
from infra.plan.network import GroupRule, Network
from infra.plan.picture import draw
from infra.plan.ports import tcp
from infra.plan.reachability import evaluate
from tests.infra.plan.networks import small, typical, with_rule

ZONES = ("eu-central-1a", "eu-central-1b", "eu-central-1c")
NETWORKS = {
    "small": small(),
    **{f"{count} zones": typical(ZONES[:count]) for count in (1, 2, 3)},
}


def placed(network: Network, *, wide: bool) -> Diagram:
    diagram = arrange(network, evaluate(network))
    place(diagram, wide=wide)
    return diagram


def arrows(diagram: Diagram) -> set[tuple[str, str, str]]:
    return {
        (source, trunk.destination, trunk.ports)
        for trunk in diagram.trunks
        for source in trunk.sources
    }


def test_every_connection_is_an_arrow_and_every_arrow_a_connection() -> None:
    assert arrows(arrange(small(), evaluate(small()))) == {
        ("internet", "balancer", "443"),
        ("balancer", "web", "8443"),
        ("web", "database", "5432"),
        ("web", "s3", "443"),
        ("web", NAT_BAR, "443"),
        (NAT_BAR, "internet", "443"),
    }


def test_senders_with_the_same_ports_share_an_arrow_and_every_port_is_drawn_once() -> None:
    diagram = arrange(typical(), evaluate(typical()))
    through_nat = {
        trunk.ports: trunk.sources for trunk in diagram.trunks if trunk.destination == NAT_BAR
    }
    assert through_nat == {"80, 443": ("dumper", "keeper", "mail", "web"), "587": ("mail",)}


@pytest.mark.parametrize("wide", [True, False], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_lies_on_top_of_anything_else(name: str, wide: bool) -> None:
    diagram = placed(NETWORKS[name], wide=wide)
    for one, other in combinations(diagram.bars, 2):
        assert one.y + one.height <= other.y or other.y + other.height <= one.y
    for first, second in combinations(diagram.trunks, 2):
        ends = [(min(t.y, *t.joins.values()), max(t.y, *t.joins.values())) for t in (first, second)]
        apart = ends[0][1] < ends[1][0] or ends[1][1] < ends[0][0]
        assert apart or abs(first.x - second.x) >= 12, (first, second)
    heights = [(t.destination, t.y) for t in diagram.trunks]
    heights += [(bar, y) for t in diagram.trunks for bar, y in t.joins.items()]
    assert len(set(heights)) == len(heights)


@pytest.mark.parametrize("wide", [True, False], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", NETWORKS)
def test_everything_is_inside_of_the_picture(name: str, wide: bool) -> None:
    diagram = placed(NETWORKS[name], wide=wide)
    for bar in diagram.bars:
        assert bar.x >= 0
        assert bar.x + bar.width <= diagram.edge
        assert bar.y + bar.height <= diagram.height
    for trunk in diagram.trunks:
        assert diagram.edge < trunk.x < diagram.width
        bar = next(each for each in diagram.bars if each.name == trunk.destination)
        assert bar.y < trunk.y < bar.y + bar.height
    if not wide:
        assert diagram.width == 400


@pytest.mark.parametrize("wide", [True, False], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", NETWORKS)
def test_no_word_is_cut_off_at_the_edge(name: str, wide: bool) -> None:
    network = NETWORKS[name]
    drawn = draw(network, evaluate(network), title="t", wide=wide)
    width = float(drawn.get("width") or 0)
    for text in drawn.iter("text"):
        x, words = float(text.get("x") or 0), "".join(text.itertext())
        long = 5.5 * len(words)
        left, right = (x - long, x) if text.get("text-anchor") == "end" else (x, x + long)
        assert left >= 0, words
        assert right <= width, words


def test_an_arrow_ends_in_its_own_service() -> None:
    diagram = placed(typical(), wide=True)
    bars = {bar.name: bar for bar in diagram.bars}
    for trunk in diagram.trunks:
        for name, y in trunk.joins.items():
            assert bars[name].y < y < bars[name].y + bars[name].height


def test_a_service_spans_the_zones_that_it_has_a_leg_in() -> None:
    diagram = placed(typical(ZONES), wide=True)
    bars = {bar.name: bar for bar in diagram.bars}
    assert bars["mail"].zones == ZONES[:1]
    assert bars["web"].zones == ZONES
    assert bars["web"].width > 3 * bars["mail"].width - 1


@pytest.mark.parametrize("wide", [True, False], ids=["wide", "narrow"])
def test_the_picture_is_the_same_each_time_and_needs_nothing_else(wide: bool) -> None:
    pictures = {
        svg(draw(network, evaluate(network), title="t", wide=wide, alone=True))
        for network in (typical(), typical())
    }
    assert len(pictures) == 1
    text = pictures.pop()
    root = Tree.fromstring(text)
    assert root.find("{*}title") is not None
    assert "web to db on 5432" in "".join(root.find("{*}desc").itertext())  # type: ignore[union-attr]
    assert "href" not in text
    assert "url(" not in text
    assert text.count("http") == 1  # the name space


@given(name=st.text(min_size=1, max_size=60), zone=st.sampled_from(ZONES))
def test_a_strange_name_cannot_break_the_picture(name: str, zone: str) -> None:
    network = typical((zone,))
    node = replace(network.nodes["db"], name=name, detail=name * 9)
    nodes = {**{key: one for key, one in network.nodes.items() if key != "db"}, name: node}
    changed = replace(network, nodes=nodes)
    text = svg(draw(changed, evaluate(changed), title=name, wide=False, alone=True))
    Tree.fromstring(text)


def test_an_opening_to_a_range_gets_a_place_of_its_own() -> None:
    office = ip_network("198.51.100.0/24")
    network = with_rule(typical(), "alb", GroupRule(False, tcp(9443), office))
    assert (str(office), "alb", "9443") in arrows(arrange(network, evaluate(network)))


def test_a_network_without_anybody_in_it_is_still_a_picture() -> None:
    empty = Network((), {}, {}, {})
    Tree.fromstring(svg(draw(empty, evaluate(empty), title="t", wide=True, alone=True)))
