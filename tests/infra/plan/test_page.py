from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from infra.graph import Graph
from infra.plan.comparison import NOTHING, Change, Comparison
from infra.plan.network import Node
from infra.plan.page import render
from infra.plan.plan import Plan, concerns, make
from infra.plan.reachability import evaluate
from tests.fixtures.chromium import Measure
from tests.infra.plan.graphs import graph, resource
from tests.infra.plan.networks import typical
from tests.infra.plan.test_markup import Reader

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


def plan_of(found: Graph, **changes: Any) -> Plan:
    made = make(found, region="eu-central-1", facts={"region": "eu-central-1"})
    return replace(made, **changes)


@pytest.fixture
def whole() -> Plan:
    """Return a plan with something in every section."""
    network = typical()
    return plan_of(
        graph(
            resource("Database", "db", {"storageEncrypted": True, "backupRetentionPeriod": 7}),
            resource("LogGroup", "flow", {"retentionInDays": 400}, personal=30),
            resource("Nat", "nat"),
            resource("Instance", "x", {"instanceType": "x9.metal"}),
        ),
        network=network,
        reachability=evaluate(network),
        comparison=Comparison(
            "the saved graph `x`",
            (
                Change("replace", "aws:rds:Instance", "db", ("storageEncrypted",), data=True),
                Change("create", "aws:ec2:NatGateway", "nat"),
            ),
            5,
        ),
    )


def test_the_page_says_first_that_it_is_a_design(whole: Plan) -> None:
    text = Reader(render(whole)).text
    assert text.index("design, not preview") < text.index("What would change")


def test_what_would_lose_data_stands_at_the_top_and_in_red(whole: Plan) -> None:
    page = render(whole)
    first = next(iter(concerns(whole)))
    assert first.sentence == "`db` (rds Instance) holds data and would be replaced"
    assert page.index("holds data and would be replaced") < page.index('id="changes"')
    assert re.search(r'<tr role="row" class="bad"><th [^>]*>db</th>', page)


def test_without_anything_to_compare_with_the_page_says_so(whole: Plan) -> None:
    text = Reader(render(replace(whole, comparison=NOTHING))).text
    assert "Compared with nothing." in text
    assert not [
        one for one in concerns(replace(whole, comparison=NOTHING)) if one.section == "changes"
    ]


def test_what_has_no_price_is_shown_and_the_sum_is_a_least(whole: Plan) -> None:
    text = Reader(render(whole)).text
    assert "not priced" in text
    assert re.search(r"at least [\d,]+ USD", text)


def test_every_place_of_personal_data_is_on_the_page_with_its_end(whole: Plan) -> None:
    text = Reader(render(whole)).text
    for place in whole.places:
        assert place.what in text
        assert all(part in text for part in place.keeps.split("; "))
    assert "more than 30 days for client addresses" in text


def test_a_machine_that_the_world_can_reach_is_a_concern(whole: Plan) -> None:
    network = whole.network
    nodes = {**network.nodes, "alb": replace(network.nodes["alb"], kind="server")}
    exposed = replace(whole, network=replace(network, nodes=nodes))
    sentences = [one.sentence for one in concerns(exposed)]
    assert "`alb` can be reached from outside (internet) on 80, 443" in sentences
    assert not any("`alb`" in one.sentence for one in concerns(whole))


def test_a_stack_without_any_network_has_a_page() -> None:
    text = Reader(render(plan_of(graph()))).text
    assert "0 resources" in text


def test_nothing_in_a_design_becomes_markup(whole: Plan) -> None:
    node = Node(HOSTILE, "server", ("private-a",), (HOSTILE,), detail=HOSTILE, policy=HOSTILE)
    network = replace(
        whole.network,
        nodes={**whole.network.nodes, HOSTILE: node},
        policies={HOSTILE: HOSTILE},
        unread=(HOSTILE,),
    )
    changes = (Change("destroy", HOSTILE, HOSTILE, (HOSTILE,), data=True),)
    made = make(
        graph(
            resource("Bucket", HOSTILE, {"tags": {"PersonalData": "yes"}}, source=HOSTILE),
            resource("Instance", "x", {"instanceType": HOSTILE}),
        ),
        region=HOSTILE,
        facts={HOSTILE: HOSTILE},
    )
    page = render(
        replace(
            made,
            network=network,
            reachability=evaluate(network),
            comparison=Comparison(HOSTILE, changes, 0, (HOSTILE,)),
        )
    )
    read = Reader(page)
    names = {name for name, _ in read.tags}
    assert "script" not in names
    assert "img" not in names
    assert not [one for _, given in read.tags for one in given if one.startswith("on")]
    assert HOSTILE in read.text


def test_the_page_needs_nothing_from_anywhere(whole: Plan) -> None:
    page = render(whole)
    read = Reader(page)
    assert {name for name, _ in read.tags} & {"script", "link", "iframe", "object", "img"} == set()
    links = [given[key] or "" for _, given in read.tags for key in ("href", "src") if key in given]
    assert links
    assert {link[:1] for link in links} == {"#"}
    targets = {given.get("id") for _, given in read.tags}
    assert {link[1:] for link in links} <= targets
    assert "url(" not in page
    assert "@import" not in page


def test_headings_tables_and_pictures_can_be_heard(whole: Plan) -> None:
    tags = Reader(render(whole)).tags
    levels = [int(name[1]) for name, _ in tags if re.fullmatch("h[1-6]", name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    names = [name for name, _ in tags]
    assert names.count("caption") == names.count("table") > 5
    assert all(given.get("scope") for name, given in tags if name == "th")
    assert dict(tags)["html"] == {"lang": "en"}
    for name, given in tags:
        if name == "svg":
            assert given["role"] == "img"
            assert given["aria-labelledby"]
    identifiers = [given["id"] for _, given in tags if "id" in given]
    assert len(identifiers) == len(set(identifiers))


def luminance(colour: str) -> float:
    parts = [int(one) / 255 for one in re.findall(r"\d+", colour)[:3]]
    linear = [one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.slow
@pytest.mark.parametrize(("width", "picture"), [(1280, "wide"), (390, "narrow"), (320, "narrow")])
def test_a_browser_shows_all_of_it_at_every_width(
    whole: Plan, chromium: Measure, tmp_path: Path, width: int, picture: str
) -> None:
    page = tmp_path / "plan.html"
    page.write_text(render(whole), encoding="utf-8")
    seen = chromium(page, width)
    assert seen["heading"] == "Plan of stack prod"
    assert seen["requests"] == []
    assert seen["width"] <= width  # nothing to scroll sideways but tables in their frames
    assert [one[0] for one in seen["pictures"]] == [f"network {picture}"]
    left, _, right, _ = seen["pictures"][0][1:]
    assert left >= 0
    assert right <= max(width, 390)  # on the smallest it scrolls in its frame
    assert min(seen["letters"]) >= 9.5
    for words, x, _, end, _ in seen["texts"]:
        assert left - 1 <= x, words
        assert end <= right + 1, words
    if width < 700:
        assert seen["headers"] > 0  # the matrix keeps its own


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_can_be_read_by_day_and_by_night(
    whole: Plan, chromium: Measure, tmp_path: Path, dark: bool
) -> None:
    page = tmp_path / "plan.html"
    page.write_text(render(whole), encoding="utf-8")
    options = ("--blink-settings=preferredColorScheme=0",) if dark else ()
    seen = chromium(page, 1280, *options)
    paper, ink = luminance(seen["background"]), luminance(seen["ink"])
    assert (paper < ink) == dark
    assert (max(paper, ink) + 0.05) / (min(paper, ink) + 0.05) > 7
