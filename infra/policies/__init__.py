"""The rules that every stack keeps: one set for tests, for the plan page and for `pulumi up`.

`check` runs them over a graph. The folder `pack` offers the same rules to Pulumi's engine
(`pulumi preview --policy-pack infra/policies/pack`). A rule is a function that yields every
resource it looked at, so that a report can tell "kept" from "nothing to look at".
"""

from __future__ import annotations

from infra.graph import Graph
from infra.policies import (  # noqa: F401 - each module registers its rules
    backups,
    compute,
    database,
    fleet,
    identity,
    keys,
    mail,
    network,
    retention,
    stack,
    storage,
    watching,
    web,
)
from infra.policies.exceptions import EXCEPTIONS
from infra.policies.rule import Excuse, Finding, Rule, all_rules, run

__all__ = ["EXCEPTIONS", "Excuse", "Finding", "Rule", "all_rules", "check"]


def check(graph: Graph) -> tuple[Finding, ...]:
    """Return what every rule says of every resource that it looks at."""
    return run(graph, all_rules().values(), EXCEPTIONS)
