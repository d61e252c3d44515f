"""The rules for Pulumi's engine: what a policy pack is asked becomes a graph, which is checked.

A stack policy sees outputs, in which AWS has already filled in what was not asked for; a resource
policy sees inputs. So one resource policy collects the inputs of everything that is registered,
and the stack policies, one for each rule, look at what was collected. What is unknown until the
deployment is a marker; a finding that hangs on an unknown document waits for `pulumi up`, which
asks again with the values. `retainOnDelete` is not shown to policies: the tests look at that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from infra.graph import Graph, Resource
from infra.policies import EXCEPTIONS, all_rules
from infra.policies.rule import Rule, run

_DOCUMENTS = ("policy", "assumeRolePolicy", "policyDocument", "redrivePolicy", "userData")
_HOLDERS = ("aws:s3:Bucket", "aws:sns:Topic", "aws:sqs:Queue", "aws:iam:Role")
_ATTACHED = (
    *("aws:s3:BucketPolicy", "aws:sns:TopicPolicy", "aws:sqs:QueuePolicy"),
    *("aws:sqs:RedrivePolicy", "aws:iam:RolePolicy"),
)
_HIDDEN = "@@unknown::unknown::unknown@@"


class Collector:
    """The inputs of everything that was registered, by URN."""

    def __init__(self) -> None:
        self.inputs: dict[str, Mapping[str, Any]] = {}

    def collect(self, args: ResourceValidationArgs, _report: ReportViolation) -> None:
        """Keep a resource's inputs."""
        self.inputs[args.urn] = _plain(args.props)

    def policies(self) -> list[ResourceValidationPolicy | StackValidationPolicy]:
        """Return the pack's policies: the collector and one for each rule."""
        collecting = ResourceValidationPolicy(
            name="collect",
            description="collects what the other policies look at",
            validate=self.collect,
            enforcement_level=EnforcementLevel.ADVISORY,
        )
        return [collecting, *(self._policy(one) for one in all_rules().values())]

    def _policy(self, rule: Rule) -> StackValidationPolicy:
        def validate(args: StackValidationArgs, report: ReportViolation) -> None:
            graph = self.graph(args.resources)
            for finding in run(graph, [rule], EXCEPTIONS):
                if finding.failed and not _waits(graph, finding.resource):
                    report(f"{finding.resource} {finding.problem}", finding.resource.urn)

        articles = ", ".join(rule.gdpr)
        return StackValidationPolicy(
            name=rule.id,
            description=f"{rule.title} (GDPR {articles})",
            validate=validate,
            enforcement_level=EnforcementLevel.MANDATORY,
        )

    def graph(self, resources: Iterable[PolicyResource]) -> Graph:
        """Return the graph of a stack as the engine shows it."""
        found: dict[str, Resource] = {}
        for one in resources:
            provider = one.provider
            if provider is not None and provider.urn not in found:
                found[provider.urn] = Resource(
                    provider.urn,
                    provider.resource_type,
                    provider.name,
                    inputs=self.inputs.get(provider.urn) or _plain(provider.props),
                )
            found[one.urn] = Resource(
                urn=one.urn,
                type=one.resource_type,
                name=one.name,
                custom=provider is not None or one.resource_type.startswith("pulumi:providers:"),
                parent=one.parent.urn if one.parent is not None else "",
                inputs=self.inputs.get(one.urn) or _plain(one.props),
                protect=one.opts.protect,
                retain=True,
                ignore_changes=tuple(one.opts.ignore_changes),
                dependencies=tuple(sorted(each.urn for each in one.dependencies)),
                property_dependencies={
                    key: tuple(sorted(each.urn for each in value))
                    for key, value in one.property_dependencies.items()
                },
                provider=provider.urn if provider is not None else "",
            )
        urns = sorted(found)
        parts = urns[0].split(":") if urns else ["", "", "", "", ""]
        stack, project = (parts[2], parts[4]) if len(parts) > 4 else ("", "")
        return Graph(project, stack, tuple(found[urn] for urn in urns))


def _waits(graph: Graph, resource: Resource) -> bool:
    """Tell whether a finding hangs on a document that is not known yet."""
    attached = graph.users(resource, *_ATTACHED) if resource.kind in _HOLDERS else ()
    return any(
        _HIDDEN in str(one.get(key, "")) for one in (resource, *attached) for key in _DOCUMENTS
    )


def _plain(value: Any) -> Any:
    """Return what the engine hands over as JSON, with a marker for what is unknown."""
    if isinstance(value, Mapping):
        return {str(key): _read(value, key) for key in value}
    if isinstance(value, str) or value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if hasattr(value, "__len__") and hasattr(value, "__getitem__"):
        return [_read(value, place) for place in range(len(value))]
    return str(value)


def _read(container: Any, key: Any) -> Any:
    try:
        return _plain(container[key])
    except UnknownValueError:
        return _HIDDEN
