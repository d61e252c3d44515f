from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from infra.graph import Graph, Resource
from infra.plan.compliance import ARTICLES, CONSIDERED_CIS, CONSIDERED_FSBP, render
from infra.policies import all_rules
from infra.policies.rule import Excuse, Rule, run
from tests.infra.plan.graphs import graph, resource


def rule(identifier: str, kind: str, problem: str = "", **controls: str) -> Rule:
    def check(found: Graph) -> Iterator[tuple[Resource, str]]:
        for one in found.of(kind):
            yield one, problem

    given = {name: tuple(words.split()) for name, words in controls.items()}
    return Rule(identifier, f"the rule {identifier}", check, **{"gdpr": (), **given})


@pytest.fixture
def page() -> str:
    rules = [
        rule("kept", "aws:s3:Bucket", gdpr="32 25", fsbp="S3.10 S3.9"),
        rule("broken", "aws:rds:Instance", "is open", gdpr="32", cis="2.3.1"),
        rule("excused", "aws:lb:LoadBalancer", "writes | no logs", gdpr="33"),
        rule("idle", "aws:efs:FileSystem", gdpr="17"),
    ]
    found = graph(
        resource("Bucket", "a", source="infra/a.py:10"),
        resource("Bucket", "b", source="infra/a.py:9"),
        resource("Database", "db", source="infra/db.py:3"),
        resource("LoadBalancer", "web", source="infra/web.py:5"),
    )
    excuses = (Excuse("excused", "lb:*", "minimisation: see P9"),)
    return render(run(found, rules, excuses), rules, "standard")


def test_each_article_leads_to_its_rules_and_their_state(page: str) -> None:
    assert (
        "| Article 25: data protection by design and by default | [the rule kept](#kept) | "
        "kept, 2 looked at |" in page
    )
    assert (
        "| Article 32: security of processing | [the rule kept](#kept) | kept, 2 looked at |"
        in page
    )
    assert "|  | [the rule broken](#broken) | **1 broken** |" in page
    assert "[the rule idle](#idle) | nothing to look at |" in page


def test_each_rule_leads_to_the_line_in_the_program(page: str) -> None:
    assert "- [infra/a.py:9](infra/a.py#L9): s3 Bucket\n- [infra/a.py:10](infra/a.py#L10)" in page
    assert "**the rule idle** (`idle`)\n\n- nothing of that kind in this stack" in page


def test_an_exception_stands_there_with_its_reason(page: str) -> None:
    assert (
        "| the rule excused | lb:LoadBalancer `web` | writes \\| no logs | minimisation: see P9 |"
        in page
    )
    assert "kept, 1 looked at, 1 excused" in page


def test_controls_are_in_the_order_of_their_numbers(page: str) -> None:
    assert page.index("| S3.9 |") < page.index("| S3.10 |")


def test_what_no_rule_is_for_is_said(page: str) -> None:
    missing = re.findall("No rule here: (.*)\\.", page)
    assert len(missing) == 3
    assert "28" in missing[0].split(", ")
    assert "EC2.8" in missing[1].split(", ")
    assert "S3.9" not in missing[1].split(", ")
    assert "2.3.1" not in missing[2].split(", ")


def test_every_article_of_the_rules_has_a_name_and_every_control_the_form_of_one() -> None:
    for one in all_rules().values():
        assert set(one.gdpr) <= set(ARTICLES), one.id
        assert all(re.fullmatch(r"[A-Z][A-Za-z0-9]+\.\d+", name) for name in one.fsbp), one.id
        assert all(re.fullmatch(r"\d+(\.\d+)+", name) for name in one.cis), one.id
    assert len(set(CONSIDERED_FSBP.split())) == len(CONSIDERED_FSBP.split())
    assert len(set(CONSIDERED_CIS.split())) == len(CONSIDERED_CIS.split())


def test_every_link_inside_of_the_page_leads_somewhere(page: str) -> None:
    assert set(re.findall(r"\(#([^)]+)\)", page)) <= set(re.findall('<a id="([^"]+)">', page))
