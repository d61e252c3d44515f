"""The pages in the repository that show what is built: generated from one example stack."""

from __future__ import annotations

from functools import cache

from infra.plan.__main__ import ROOT
from infra.plan.compliance import render
from infra.plan.markup import svg
from infra.plan.picture import draw
from infra.plan.plan import Plan, make
from infra.plan.stack import captured
from infra.policies import all_rules

EXAMPLE = "standard"


@cache
def example() -> Plan:
    """Return the plan of the example; it is the same wherever and whenever it is made."""
    config, graph, _ = captured(EXAMPLE, ROOT)
    return make(graph, region=config.region)


def picture() -> str:
    """Return `docs/plan-standard.svg`: the network of the example."""
    plan = example()
    title = f"The network of the profile {EXAMPLE}"
    return svg(draw(plan.network, plan.reachability, title=title, wide=True, alone=True))


def controls() -> str:
    """Return `COMPLIANCE.md`: what the rules say of the example."""
    return render(example().findings, list(all_rules().values()), EXAMPLE)
