"""What a rule is, and how rules are run over a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from infra.graph import Graph, Resource

Checked = Iterator[tuple[Resource, str]]
"""What a rule yields: each resource that it looked at, and what is wrong with it or nothing."""


@dataclass(frozen=True)
class Rule:
    """One demand on a graph.

    `fsbp` are controls of AWS' Foundational Security Best Practices, `cis` of the CIS AWS
    Foundations Benchmark 3.0, `gdpr` the articles that the demand serves.
    """

    id: str
    title: str
    check: Callable[[Graph], Checked]
    gdpr: tuple[str, ...]
    fsbp: tuple[str, ...] = ()
    cis: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """Return the area that the rule belongs to, `network` or `storage`."""
        return self.check.__module__.rpartition(".")[2]


@dataclass(frozen=True)
class Excuse:
    """Why a rule does not hold for some resources: a decision with its reason, on the record."""

    rule: str
    resources: str
    reason: str

    def covers(self, rule: Rule, resource: Resource) -> bool:
        """Tell whether this is about a finding; `resources` is a pattern like `lb:* web`."""
        return self.rule == rule.id and fnmatchcase(
            f"{resource.kind.removeprefix('aws:')} {resource.name}", self.resources
        )


@dataclass(frozen=True)
class Finding:
    """What a rule says of one resource: nothing wrong, a problem, or a problem with an excuse."""

    rule: Rule
    resource: Resource
    problem: str = ""
    excuse: str = ""

    @property
    def passed(self) -> bool:
        """Tell whether the rule holds."""
        return not self.problem

    @property
    def failed(self) -> bool:
        """Tell whether the rule is broken and nobody has said why."""
        return bool(self.problem) and not self.excuse

    def __str__(self) -> str:
        return f"{self.resource.source}: {self.resource}: {self.problem} [{self.rule.id}]"


_RULES: dict[str, Rule] = {}


def rule(
    identifier: str, title: str, *, gdpr: str, fsbp: str = "", cis: str = ""
) -> Callable[[Callable[[Graph], Checked]], Rule]:
    """Make a function a rule; controls and articles are given as words."""

    def register(check: Callable[[Graph], Checked]) -> Rule:
        if identifier in _RULES:
            raise ValueError(f"two rules are called `{identifier}`")
        made = Rule(
            identifier,
            title,
            check,
            tuple(gdpr.split()),
            tuple(fsbp.split()),
            tuple(cis.split()),
        )
        _RULES[identifier] = made
        return made

    return register


def all_rules() -> Mapping[str, Rule]:
    """Return every rule by its identifier, in the order of the areas."""
    return dict(_RULES)


def run(
    graph: Graph, rules: Iterable[Rule], exceptions: Iterable[Excuse] = ()
) -> tuple[Finding, ...]:
    """Run rules over a graph; the findings come in the order of rules and URNs."""
    known = tuple(exceptions)
    found = []
    for one in rules:
        for resource, problem in sorted(one.check(graph), key=lambda pair: (pair[0].urn, pair[1])):
            excuse = next((e.reason for e in known if problem and e.covers(one, resource)), "")
            found.append(Finding(one, resource, problem, excuse))
    return tuple(found)


def unless(holds: object, problem: str) -> str:
    """Return the problem unless something holds."""
    return "" if holds else problem


def ephemeral(resource: Resource) -> bool:
    """Tell whether a resource belongs to a stack that is made to be destroyed."""
    return bool(resource.get("tags.Art32Ephemeral") == "yes")
