"""Every rule holds for every stack that can be built, and none of them looks at nothing."""

from __future__ import annotations

import pytest

from infra.build import build
from infra.capture import capture
from infra.config import ConfigError, parse
from infra.graph import Graph
from infra.policies import EXCEPTIONS, all_rules, check
from infra.policies.retention import holders
from infra.terraform import convert
from tests.infra import cases

# no stack has a bucket that a service logs addresses of people into; the rule waits for one
ELSEWHERE = {"sinks-of-addresses-end"}


def test_every_rule_holds_for_every_pair_of_choices_and_finds_something_to_look_at() -> None:
    graphs = [*map(cases.graph, cases.PAIRS), cases.bootstrap()]
    found = [one for graph in graphs for one in check(graph)]
    assert [str(one) for one in found if one.failed] == []
    assert set(all_rules()) - {one.rule.id for one in found} == ELSEWHERE
    # an exception that excuses nothing is a hole for later
    assert {one.reason for one in EXCEPTIONS} <= {one.excuse for one in found}
    assert {one.rule for one in EXCEPTIONS} <= set(all_rules())
    unmapped = {path for graph in graphs for path in convert(graph).unmapped}
    assert unmapped == set()


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", cases.ALL, ids=cases.name)
def test_every_rule_holds_for_every_combination(case: cases.Case) -> None:
    graph = cases.graph(case)
    assert [str(one) for one in check(graph) if one.failed] == []
    assert convert(graph).unmapped == []
    cases.graph.cache_clear()


def test_one_zone_is_refused_because_balancer_and_database_need_two() -> None:
    values = {**cases.values(cases.PROFILES[0]), "zones": ["eu-central-1a"]}
    with pytest.raises(ConfigError, match="`zones`"):
        parse("staging", values)


def with_generation(case: cases.Case, generation: str) -> Graph:
    place = list(cases.DIMENSIONS).index("generation")
    return cases.graph((*case[:place], generation, *case[place + 1 :]))


@pytest.mark.parametrize(
    "case",
    [
        ("standard", "rds", "server", "volume", "2", "1", "0", "lasting"),
        ("small", "server", "server", "volume", "3", "1", "0", "lasting"),
        ("ha", "rds", "ses", "none", "3", "1", "0", "lasting"),
    ],
    ids=cases.name,
)
def test_a_new_generation_stands_beside_the_old_one(case: cases.Case) -> None:
    before, after = with_generation(case, "1"), with_generation(case, "2")
    kept = {one.urn: one for one in holders(before)}
    assert set(kept) <= set(after.by_urn)
    for urn, one in kept.items():
        assert after.by_urn[urn].inputs == one.inputs
    made = {one.urn for one in holders(after)} - set(kept)
    assert made
    for urn in made:
        one = after.by_urn[urn]
        assert one.get("snapshotId") or one.get("snapshotIdentifier"), one
        assert (one.protect, one.retain) == (True, True)


def test_a_new_major_version_stands_beside_the_old_one_with_parameters_of_its_own() -> None:
    case = cases.PROFILES[1]
    values = {**cases.values(case), "dbGenerations": ["g1", "g2/18=before"], "dbActive": "g2"}
    made = capture(lambda: build(parse("staging", values)), project="art32", stack="staging")
    before = {one.urn: one.inputs for one in cases.graph(case).of("aws:rds:Instance")}
    old, new = made.of("aws:rds:Instance")
    assert {old.urn: old.inputs} == before
    assert new.get("engineVersion") == "18"
    assert not new.get("allowMajorVersionUpgrade")
    families = [
        [group.get("family") for group in made.targets(one, "parameterGroupName")]
        for one in (old, new)
    ]
    assert families == [["postgres17"], ["postgres18"]]
    assert [str(one) for one in check(made) if one.failed] == []


def test_a_restorer_that_starts_changes_no_rule_of_a_network() -> None:
    case = ("standard", "rds", "ses", "none", "2", "1", "0", "lasting")
    place = list(cases.DIMENSIONS).index("restorer")
    before, after = (
        {
            one.urn: one.inputs
            for one in cases.graph((*case[:place], count, *case[place + 1 :])).of(
                "aws:ec2:NetworkAclRule"
            )
        }
        for count in ("0", "1")
    )
    assert len(after) > len(before) > 20
    assert {urn: after.get(urn) for urn in before} == before


def test_graphs_of_two_stacks_share_no_name_that_the_world_sees() -> None:
    case = cases.PROFILES[1]
    names: list[set[str]] = []
    for stack in ("staging", "prod"):
        graph = cases.graph(case) if stack == "staging" else cases.named(case, stack)
        names.append(
            {
                str(one.get(key))
                for one in graph.resources
                for key in ("bucket", "name", "identifier", "topicName")
                if one.get(key) and "@@" not in str(one.get(key))
                if one.kind
                in ("aws:s3:Bucket", "aws:iam:Role", "aws:rds:Instance", "aws:ssm:Parameter")
            }
        )
    assert names[0]
    assert names[0] & names[1] == set()


def test_the_recorder_delivers_by_its_own_role_and_waits_for_every_right() -> None:
    graph = cases.bootstrap()
    (channel,) = graph.of("aws:cfg:DeliveryChannel")
    (delivery,) = [one for one in graph.of("aws:iam:RolePolicy") if "recorder" in one.name]
    allowed = {one["Action"] for one in delivery.document("policy")["Statement"]}
    assert allowed == {"s3:GetBucketAcl", "s3:PutObject"}
    assert delivery.urn in channel.dependencies
