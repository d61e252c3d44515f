"""A Pulumi program's resources as plain data: what rules, pages and converters read.

A graph comes from `infra.capture` (the program under mocks) or, in a policy pack, from the engine.
It holds what was asked for, never what a cloud answered: an output that is known only after a
deployment is a *marker*, `@@<type token>::<name>::<output>@@`, wherever the program used it, also
in the middle of a string. Everything is JSON, so that a graph can be saved and compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

MARKER = re.compile(r"@@(?P<type>[^@\s]+?)::(?P<name>[^@]+?)::(?P<output>[^@:]+)@@")
FORMAT = 1

Json = Any  # what json.loads returns


@dataclass(frozen=True)
class Resource:
    """One registration, as the engine would have received it.

    `inputs` has Pulumi's camelCase keys. `secrets` are the paths of the inputs that Pulumi would
    encrypt (`password`, `environment.variables.TOKEN`). `dependencies` and the values of
    `property_dependencies` are URNs; `parent` is the URN of a component or empty for the stack's
    own; `provider` is the URN of an explicit provider, else empty. `source` is `file:line`.
    """

    urn: str
    type: str
    name: str
    custom: bool = True
    parent: str = ""
    inputs: Mapping[str, Json] = field(default_factory=dict)
    protect: bool = False
    retain: bool = False
    delete_before_replace: bool = False
    ignore_changes: tuple[str, ...] = ()
    replace_on_changes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    import_id: str = ""
    dependencies: tuple[str, ...] = ()
    property_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    provider: str = ""
    secrets: tuple[str, ...] = ()
    source: str = ""

    @property
    def kind(self) -> str:
        """Return the token without its middle: `aws:s3/bucket:Bucket` is `aws:s3:Bucket`."""
        package, _, rest = self.type.partition(":")
        module, _, name = rest.rpartition(":")
        return f"{package}:{module.split('/')[0]}:{name}"

    def get(self, path: str, default: Json = None) -> Json:
        """Return the input at a dotted path (`metadataOptions.httpTokens`), or the default.

        Where a list stands in the way its first element is meant; indices are numbers.
        """
        value: Json = self.inputs
        for part in path.split("."):
            if isinstance(value, list):
                if part.isdigit():
                    value = value[int(part)] if int(part) < len(value) else None
                    continue
                value = value[0] if value else None
            value = value.get(part) if isinstance(value, Mapping) else None
            if value is None:
                return default
        return value

    def document(self, path: str) -> Json:
        """Return the JSON document that an input holds as text, or None."""
        value = self.get(path)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.kind.split(':', 1)[1]} `{self.name}`"


@dataclass(frozen=True)
class Graph:
    """All resources of one stack, sorted by URN, and the stack's outputs.

    `invokes` are the provider functions that the program called: each would need credentials at
    the first preview. `secret_outputs` names the outputs that Pulumi would encrypt.
    """

    project: str
    stack: str
    resources: tuple[Resource, ...]
    outputs: Mapping[str, Json] = field(default_factory=dict)
    secret_outputs: tuple[str, ...] = ()
    invokes: tuple[str, ...] = ()

    @cached_property
    def by_urn(self) -> Mapping[str, Resource]:
        """Return the resources by URN."""
        return {one.urn: one for one in self.resources}

    @cached_property
    def _by_marker(self) -> Mapping[tuple[str, str], Resource]:
        return {(one.type, one.name): one for one in self.resources}

    @cached_property
    def _users(self) -> Mapping[str, tuple[tuple[Resource, str], ...]]:
        users: dict[str, list[tuple[Resource, str]]] = {}
        for one in self.resources:
            for name in one.inputs:
                for target in self.targets(one, name):
                    users.setdefault(target.urn, []).append((one, name))
        return {urn: tuple(found) for urn, found in users.items()}

    def of(self, *kinds: str) -> tuple[Resource, ...]:
        """Return the resources of some kinds, such as `aws:s3:Bucket`."""
        return tuple(one for one in self.resources if one.kind in kinds)

    def component(self, resource: Resource) -> Resource | None:
        """Return the component that a resource belongs to, if any."""
        return self.by_urn.get(resource.parent)

    def targets(self, resource: Resource, *inputs: str) -> tuple[Resource, ...]:
        """Return what some inputs (all of them, if none is named) refer to, components left out."""
        found: dict[str, Resource] = {}
        for name in inputs or tuple(resource.inputs):
            top = name.split(".")[0]
            for urn in resource.property_dependencies.get(top, ()):
                if urn in self.by_urn and self.by_urn[urn].custom:
                    found[urn] = self.by_urn[urn]
            for marker in markers(resource.get(name)):
                target = self._by_marker.get((marker["type"], marker["name"]))
                if target is not None:
                    found[target.urn] = target
        return tuple(found[urn] for urn in sorted(found))

    def users(self, resource: Resource, *kinds: str) -> tuple[Resource, ...]:
        """Return the resources, of some kinds or of any, an input of which refers to this one."""
        found = {user.urn: user for user, _ in self._users.get(resource.urn, ())}
        return tuple(found[urn] for urn in sorted(found) if not kinds or found[urn].kind in kinds)

    def attached(self, resource: Resource, kind: str, through: str) -> tuple[Resource, ...]:
        """Return the resources of a kind whose input `through` refers to this one."""
        return tuple(
            user
            for user, name in self._users.get(resource.urn, ())
            if user.kind == kind and name == through
        )

    def find(self, marker: re.Match[str]) -> Resource | None:
        """Return the resource that a marker speaks of."""
        return self._by_marker.get((marker["type"], marker["name"]))

    def with_changes(self, urn: str, **changes: Any) -> Graph:
        """Return the graph with some fields of one resource replaced."""
        return replace(
            self,
            resources=tuple(
                replace(one, **changes) if one.urn == urn else one for one in self.resources
            ),
        )

    def without(self, *urns: str) -> Graph:
        """Return the graph without some resources."""
        return replace(self, resources=tuple(r for r in self.resources if r.urn not in urns))

    def to_json(self) -> str:
        """Return the graph as text, the same for the same graph."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Graph:
        """Return the graph that `to_json` wrote; ValueError when it is none of this format."""
        data = json.loads(text)
        if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
            raise ValueError(f"not a saved graph of format {FORMAT}")
        resources = data.pop("resources")
        try:
            return cls(
                **{key: _tuples(value) for key, value in data.items()},
                resources=tuple(_resource(one) for one in resources),
            )
        except TypeError as error:
            raise ValueError(f"not a saved graph of format {FORMAT}: {error}") from error


def _tuples(value: Json) -> Json:
    return tuple(value) if isinstance(value, list) else value


def _resource(data: dict[str, Json]) -> Resource:
    dependencies = {key: tuple(urns) for key, urns in data.pop("property_dependencies").items()}
    return Resource(
        **{key: _tuples(value) for key, value in data.items()}, property_dependencies=dependencies
    )


def markers(value: Json) -> Iterator[re.Match[str]]:
    """Yield every marker in a value, however deep."""
    if isinstance(value, str):
        yield from MARKER.finditer(value)
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from markers(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from markers(one)


def transform(value: Json, change: Callable[[str], Json]) -> Json:
    """Return a value with every string in it replaced by what `change` returns for it."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: transform(one, change) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [transform(one, change) for one in value]
    return value


def strings(value: Json, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every string in a value with its dotted path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from strings(one, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            yield from strings(one, f"{path}.{number}" if path else str(number))
