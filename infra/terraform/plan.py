"""A plan as `terraform show -json` prints it, for scanners that read plans.

What only a deployment would compute is left out where it is the whole value, as in a real plan;
inside a longer string, such as a policy, a plausible value stands instead, so that more can be
checked than in a real plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.graph import MARKER, Graph, markers
from infra.plausible import Plausible
from infra.terraform.convert import Conversion, Item, convert

_PROVIDER = "registry.terraform.io/hashicorp/aws"
_UNKNOWN = object()


def plan(graph: Graph, conversion: Conversion | None = None) -> dict[str, Any]:
    """Return the plan that creates all of a graph's AWS resources."""
    conversion = conversion or convert(graph)
    plausible = Plausible(graph)
    addresses = {one.resource.urn: one.address for one in conversion.items}
    resources, changes, configuration = [], [], []
    for item in conversion.items:
        values = _known(item.body, plausible)
        common = {
            "address": item.address,
            "mode": "managed",
            "type": item.type,
            "name": item.name,
            "provider_name": _PROVIDER,
        }
        resources.append({**common, "schema_version": 0, "values": values, "sensitive_values": {}})
        change = {
            "actions": ["create"],
            "before": None,
            "after": values,
            "after_unknown": {},
            "before_sensitive": False,
            "after_sensitive": {},
        }
        changes.append({**common, "change": change})
        configuration.append(
            {
                **common,
                "provider_config_key": "aws",
                "schema_version": 0,
                "expressions": _expressions(item, conversion, addresses, values),
            }
        )
    provider = {
        "name": "aws",
        "full_name": _PROVIDER,
        "expressions": {"region": {"constant_value": plausible.region}},
    }
    return {
        "format_version": "1.2",
        "terraform_version": "1.11.4",
        "variables": {},
        "planned_values": {"root_module": {"resources": resources}},
        "resource_changes": changes,
        "configuration": {
            "provider_config": {"aws": provider},
            "root_module": {"resources": configuration},
        },
    }


def _known(value: Any, plausible: Plausible) -> Any:
    if isinstance(value, Mapping):
        known = {key: _known(one, plausible) for key, one in value.items()}
        return {key: one for key, one in known.items() if one is not _UNKNOWN}
    if isinstance(value, list):
        return [one for one in (_known(each, plausible) for each in value) if one is not _UNKNOWN]
    if isinstance(value, str):
        return _UNKNOWN if MARKER.fullmatch(value) else plausible.text(value)
    return value


def _expressions(
    item: Item, conversion: Conversion, addresses: Mapping[str, str], values: Mapping[str, Any]
) -> dict[str, Any]:
    """Return for each key what it refers to; a reference whose value was known counts too."""
    expressions: dict[str, Any] = {}
    for key, value in item.body.items():
        found: list[str] = []
        for marker in markers(value):
            found += [conversion.reference(marker), _owner(conversion.reference(marker))]
        if found:
            expressions[key] = {"references": found}
        elif key in values:
            expressions[key] = {"constant_value": values[key]}
    for name, urns in item.resource.property_dependencies.items():
        known = [addresses[urn] for urn in urns if urn in addresses]
        key = item.keys.get(name, "")
        if known and key and "references" not in expressions.get(key, {}):
            expressions[key] = {
                "references": [one for address in known for one in (f"{address}.id", address)]
            }
    return expressions


def _owner(reference: str) -> str:
    return ".".join(reference.removeprefix("tolist(").split(".")[:2])
