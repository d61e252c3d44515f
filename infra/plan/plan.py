"""Everything that is known about a stack before it is applied, in one value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from infra.graph import Graph
from infra.plan import costs, personal_data
from infra.plan.comparison import NOTHING, Comparison
from infra.plan.costs import Estimate
from infra.plan.network import Network
from infra.plan.personal_data import Place
from infra.plan.reachability import Flow, Reachability, evaluate
from infra.plan.read_network import read
from infra.policies import Finding, check


@dataclass(frozen=True)
class Plan:
    """A graph and what follows from it. `facts` stand in the page's head, in their order."""

    graph: Graph
    network: Network
    reachability: Reachability
    places: tuple[Place, ...]
    findings: tuple[Finding, ...]
    estimate: Estimate
    comparison: Comparison = NOTHING
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def exposed(self) -> tuple[Flow, ...]:
        """Return what the outside world can reach."""
        return tuple(one for one in self.reachability.flows if one.source not in self.network.nodes)


@dataclass(frozen=True)
class Concern:
    """A reason to look twice, and the section that tells more."""

    sentence: str
    section: str


def make(
    graph: Graph,
    *,
    region: str,
    comparison: Comparison = NOTHING,
    facts: Mapping[str, str] | None = None,
) -> Plan:
    """Return the plan of a graph."""
    network = read(graph)
    return Plan(
        graph=graph,
        network=network,
        reachability=evaluate(network),
        places=personal_data.places(graph),
        findings=check(graph),
        estimate=costs.estimate(graph, costs.load(region)),
        comparison=comparison,
        facts=facts or {},
    )


def concerns(plan: Plan) -> Iterator[Concern]:
    """Yield what should keep a person from applying a plan without a second look."""
    for change in plan.comparison.changes:
        if change.dangerous:
            words = "replaced" if change.action == "replace" else "destroyed"
            refused = ", which Pulumi refuses because it is protected" if change.refused else ""
            yield Concern(
                f"`{change.name}` ({_words(change.kind)}) holds data and would be {words}{refused}",
                "changes",
            )
    for flow in plan.exposed:
        if plan.network.nodes[flow.destination].kind != "balancer":
            yield Concern(
                f"`{flow.destination}` can be reached from outside ({flow.source}) on {flow.ports}",
                "reach",
            )
    for name in plan.network.unread:
        yield Concern(f"{name} has a place in the network that this page cannot judge", "reach")
    for place in plan.places:
        for problem in place.problems:
            where = f"{_words(place.resource.kind)} `{place.resource.name}`"
            yield Concern(f"{where} holds personal data: {problem}", "personal-data")
    for group in broken(plan.findings):
        names = ", ".join(f"`{one.resource.name}`" for one in group[:3])
        more = f" and {len(group) - 3} more" if len(group) > 3 else ""
        words = f"{_words(group[0].resource.kind)} {names}{more}: {group[0].problem}"
        yield Concern(words, "controls")
    for remark in plan.comparison.remarks:
        yield Concern(remark, "changes")


def broken(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Return what is broken, what differs in the resource alone together."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for one in findings:
        if one.failed:
            groups.setdefault((one.rule.id, one.problem, one.resource.kind), []).append(one)
    return list(groups.values())


def _words(kind: str) -> str:
    return kind.split(":", 1)[-1].replace(":", " ")
