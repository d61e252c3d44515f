"""What runs on many machines at once: which documents take what, and what is only looked at."""

from __future__ import annotations

from collections.abc import Mapping

from infra.fleet import takes_no_shell
from infra.graph import Graph
from infra.policies.rule import Checked, rule, unless


@rule(
    "run-documents-take-no-shell",
    "a parameter of a document cannot become a command on the machines",
    gdpr="32",
)
def documents(graph: Graph) -> Checked:
    for one in graph.of("aws:ssm:Document"):
        content = one.document("content")
        parameters = content.get("parameters") if isinstance(content, Mapping) else None
        if one.get("documentType") != "Command" or not isinstance(parameters, Mapping):
            continue
        open_ = [
            name
            for name, parameter in parameters.items()
            if not takes_no_shell(str(parameter.get("allowedPattern", "")))
        ]
        yield one, unless(not open_, f"takes anything as {', '.join(sorted(open_))}")


@rule(
    "patches-are-scanned-not-installed",
    "Systems Manager looks for missing patches every day and installs none",
    gdpr="32(1)(d)",
    fsbp="SSM.2",
)
def patches(graph: Graph) -> Checked:
    for one in graph.of("aws:ssm:Association"):
        if one.get("name") == "AWS-RunPatchBaseline":
            scans = one.get("parameters.Operation") == "Scan"
            yield one, unless(scans and one.get("scheduleExpression"), "does not only look, daily")


@rule(
    "releases-roll-out-one-by-one",
    "what is installed on running machines goes one machine at a time and stops at the first error",
    gdpr="32(1)(b)",
)
def roll_out(graph: Graph) -> Checked:
    for one in graph.of("aws:ssm:Association"):
        if graph.targets(one, "name"):  # a document of our own
            careful = (one.get("maxConcurrency"), one.get("maxErrors")) == ("1", "0")
            yield one, unless(careful, "would take a bad release to every machine")
