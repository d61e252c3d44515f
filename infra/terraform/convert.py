"""From a resource's inputs to the body of a Terraform resource, led by the provider's schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.graph import Graph, Resource
from infra.terraform.names import keys, label, snake, terraform_type
from infra.terraform.schema import Block, Schema, load

_BOOKKEEPING = {"__defaults"}
_ZERO = {"string": "", "bool": False, "number": 0}


@dataclass(frozen=True)
class Item:
    """One resource as Terraform has it: `<type>.<name>` is its address; markers are still in it."""

    resource: Resource
    type: str
    name: str
    body: Mapping[str, Any]
    keys: Mapping[str, str]  # Pulumi's input to the key in the body

    @property
    def address(self) -> str:
        """Return what Terraform calls the resource."""
        return f"{self.type}.{self.name}"


@dataclass
class Conversion:
    """All AWS resources of a graph, and what has no counterpart.

    An entry of `unmapped` is a type token, or a path such as `aws_instance.metadata_options.tokn`:
    a slip of the program that Pulumi's mocks let pass, or a schema extract that is behind.
    """

    graph: Graph
    schema: Schema
    items: list[Item] = field(default_factory=list)
    unmapped: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def address(self, resource: Resource) -> str | None:
        """Return the address of a resource, if it has a counterpart."""
        kind = terraform_type(resource.type, self.schema)
        return None if kind is None else f"{kind}.{label(resource.name)}"

    def reference(self, marker: re.Match[str]) -> str:
        """Return a marker as an expression: `aws_lb.web.dns_name`, `tolist(a.b.c)[0].d`."""
        kind = terraform_type(marker["type"], self.schema)
        if kind is None:
            return f"unknown.{label(marker['name'])}.{marker['output']}"
        expression, level = f"{kind}.{label(marker['name'])}", self.schema.get(kind)
        for part in marker["output"].split("."):
            name, index = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", part).groups()  # type: ignore[union-attr]
            found = self._key(kind, level, name) if level else None
            if found is None and level and name != "id":
                self.unmapped.append(f"{kind}.{marker['output']}")
            key, level = found or (snake(name), None)
            expression += f".{key}"
            if index is not None:
                expression = f"tolist({expression})[{index}]"
            elif isinstance(level, Block) and not level.single:
                expression += "[0]"
        return expression

    def _key(self, kind: str, block: Block, name: str) -> tuple[str, Block | None] | None:
        for key in keys(kind, name):
            if key in block.blocks:
                return key, block.blocks[key]
            if key in block.attributes:
                return key, None
        return None

    def _body(
        self, kind: str, block: Block, inputs: Mapping[str, Any], path: str
    ) -> dict[str, Any]:
        body: dict[str, Any] = {}
        for name, value in inputs.items():
            if name in _BOOKKEEPING or value is None:
                continue
            found = self._key(kind, block, name)
            if found is None:
                self.unmapped.append(f"{path}.{name}")
                continue
            key, inner = found
            self.used.add(f"{path}.{key}")
            if inner is None:
                body[key] = _attribute(block.attributes[key], value)
                continue
            # a block that can stand only once is an object in Pulumi and a list here
            several = value if isinstance(value, list) else [value]
            converted = [
                self._body(kind, inner, one, f"{path}.{key}")
                for one in several
                if isinstance(one, Mapping)
            ]
            body[key] = converted[0] if inner.single and converted else converted
        return body

    def add(self, resource: Resource) -> None:
        """Convert one resource."""
        kind = terraform_type(resource.type, self.schema)
        if kind is None:
            self.unmapped.append(resource.type)
            return
        block = self.schema[kind]
        inputs = {key: one for key, one in resource.inputs.items() if key != "region"}
        named = {key: self._key(kind, block, key) for key in inputs}
        self.items.append(
            Item(
                resource,
                kind,
                label(resource.name),
                self._body(kind, block, inputs, kind),
                {key: found[0] for key, found in named.items() if found},
            )
        )


def convert(graph: Graph, schema: Schema | None = None) -> Conversion:
    """Convert every AWS resource of a graph; ValueError when two get one address."""
    conversion = Conversion(graph, schema if schema is not None else load())
    for one in graph.resources:
        if one.custom and one.type.startswith("aws:"):
            conversion.add(one)
    addresses = [one.address for one in conversion.items]
    twice = sorted({one for one in addresses if addresses.count(one) > 1})
    if twice:
        raise ValueError(f"two resources share an address: {', '.join(twice)}")
    return conversion


def region(graph: Graph, resource: Resource) -> str:
    """Return the region of a resource: its own, its provider's, else the empty string."""
    provider = graph.by_urn.get(resource.provider)
    return str(resource.get("region") or (provider and provider.get("region")) or "")


def _attribute(kind: Any, value: Any) -> Any:
    """Return a value in the type of its attribute: `"string"`, `["set", T]`, `["object", {}]`."""
    if kind == "string":
        if isinstance(value, Mapping | list):
            return json.dumps(value)
        if isinstance(value, bool):
            return "true" if value else "false"
        return value if isinstance(value, str) else str(value)
    if isinstance(kind, str):
        return value
    shape, inner = kind
    if shape in ("set", "list"):
        return [_attribute(inner, one) for one in (value if isinstance(value, list) else [value])]
    if shape == "map" and isinstance(value, Mapping):
        return {key: _attribute(inner, one) for key, one in value.items()}
    if shape == "object" and isinstance(value, Mapping):
        # an unset member is a typed zero value as in a real plan: with null in place of a list,
        # checkov passes a group that is open to everybody
        given = {next(iter(keys("", key))): one for key, one in value.items()}
        return {
            key: _attribute(one, given[key]) if given.get(key) is not None else _zero(one)
            for key, one in inner.items()
        }
    return value


def _zero(kind: Any) -> Any:
    return _ZERO[kind] if isinstance(kind, str) else {} if kind[0] == "map" else []
