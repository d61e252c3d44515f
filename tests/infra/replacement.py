"""The replacement matrix: which key of the configuration replaces or removes what holds data.

The provider's own logic decides, offline: a state is made from what the provider planned for the
stack as it is, and every changed stack is planned against it without a refresh, all in one run.
Pulumi's bridge asks the same code. What this cannot show: `protect`, which makes Pulumi refuse
every change in the table until a runbook lifts it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from infra.build import build
from infra.capture import capture
from infra.config import parse
from infra.graph import transform
from infra.plausible import Plausible
from infra.terraform import convert, load
from infra.terraform.configuration import provider as provider_block
from tests.fixtures.terraform import Terraform
from tests.infra import cases

PAGE = Path(__file__).parent.parent.parent / "docs" / "replacements.md"
HOLDERS = (
    *("aws_db_instance", "aws_ebs_volume", "aws_s3_bucket", "aws_kms_key", "aws_backup_vault"),
    *("aws_instance", "aws_secretsmanager_secret"),
    # what everything that holds data is reached through
    *("aws_vpc", "aws_subnet", "aws_network_acl", "aws_network_acl_rule", "aws_nat_gateway"),
)
_MANY = re.compile(r"^(subnet|network_acl_rule) ")
STACKS: Mapping[str, cases.Case] = {
    "managed": ("standard", "rds", "ses", "none", "2", "1", "0", "lasting"),
    "servers": ("small", "server", "server", "volume", "2", "1", "0", "lasting"),
}
_SNAPSHOT = "snap-0fedcba9876543210"
# key, stack, the values that it changes
CHANGES: tuple[tuple[str, str, Mapping[str, object]], ...] = (
    ("profile", "managed", {"profile": "ha", "backupCopyRegion": "eu-west-3"}),
    ("region", "managed", {"region": "eu-west-3", "zones": ["eu-west-3a", "eu-west-3b"]}),
    ("zones", "servers", {"zones": ["eu-central-1b", "eu-central-1c"]}),
    ("zones (one more)", "servers", {"zones": [f"eu-central-1{one}" for one in "abc"]}),
    ("amiId", "servers", {"amiId": "ami-0fedcba9876543210"}),
    ("interfaceEndpoints", "managed", {"interfaceEndpoints": "all"}),
    ("logDays", "managed", {"logDays": 7}),
    ("organizationTrail", "managed", {"organizationTrail": True}),
    ("release", "servers", {"release": "2.0.0"}),
    ("webSize", "servers", {"webSize": "t4g.large"}),
    ("webDomain", "servers", {"webDomain": "www.example.org"}),
    ("webData", "servers", {"webData": "none"}),
    ("webStorage", "servers", {"webStorage": 100}),
    ("webGenerations", "servers", {"webGenerations": ["g1", f"g2={_SNAPSHOT}"]}),
    ("dbForm", "managed", {"dbForm": "server"}),
    ("dbClass", "managed", {"dbClass": "db.t4g.large"}),
    ("dbSize", "servers", {"dbSize": "t4g.large"}),
    ("dbStorage", "managed", {"dbStorage": 100}),
    ("dbStorage (server)", "servers", {"dbStorage": 100}),
    ("dbStandby", "managed", {"dbStandby": "none"}),
    ("dbVersion", "managed", {"dbVersion": "18"}),
    ("dbGenerations", "managed", {"dbGenerations": ["g1", "g2=before"], "dbActive": "g2"}),
    ("dbGenerations (new major)", "managed", {"dbGenerations": ["g1", "g2/18=before"]}),
    ("dbGenerations (server)", "servers", {"dbGenerations": ["g1", f"g2={_SNAPSHOT}"]}),
    ("dbGenerations (g1 removed)", "managed", {"dbGenerations": ["g2=before"], "dbActive": "g2"}),
    ("mailForm", "servers", {"mailForm": "ses"}),
    ("mailDomain", "servers", {"mailDomain": "post.example.org"}),
    ("mailSize", "servers", {"mailSize": "t4g.large"}),
    ("mailStorage", "servers", {"mailStorage": 100}),
    ("mailGenerations", "servers", {"mailGenerations": ["g1", f"g2={_SNAPSHOT}"]}),
    ("backupDays", "managed", {"backupDays": 60}),
    ("backupLockDays", "managed", {"backupLockDays": 14}),
    ("breakGlassUsers", "managed", {"breakGlassUsers": ["carla"]}),
    ("keeperSize", "managed", {"keeperSize": "t4g.small"}),
    ("restorerCount", "managed", {"restorerCount": 1}),
    ("alarmEmail", "managed", {"alarmEmail": "night@example.org"}),
    ("nothing", "managed", {}),
    ("nothing (server)", "servers", {}),
)
# what makes a stack another one, or is fixed at its first `up`: never changed in place
FIXED = ("accountId", "partition", "ephemeral", "architecture", "cidr")


def bodies(values: Mapping[str, object]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what holds data in a stack, as Terraform has it, without references."""
    graph = capture(lambda: build(parse("staging", values)), project="art32", stack="staging")
    plausible = Plausible(graph)

    def text(value: str) -> str:
        return plausible.text(value).replace("${", "$${").replace("%{", "%%{")

    found = {}
    for item in convert(graph).items:
        if item.type in HOLDERS:
            body = transform(item.body, text)
            # a snapshot that stands for another generation is not looked for
            ignored = [item.keys[one] for one in item.resource.ignore_changes if one in item.keys]
            if ignored:
                body["lifecycle"] = [{"ignore_changes": sorted(ignored)}]
            found[item.type, item.name] = body
    return found


def matrix(terraform: Terraform, folder: Path) -> dict[str, dict[str, str]]:
    """Return for each change what happens to what holds data: `address: replaced`."""
    bases = {name: bodies(cases.values(case)) for name, case in STACKS.items()}
    changed = {
        key: bodies({**cases.values(STACKS[stack]), **values}) for key, stack, values in CHANGES
    }
    planned = _plan(terraform, folder / "base", bases)
    state = [
        _stored(one, place)
        for place, (_, stack, _) in enumerate(CHANGES)
        for one in planned["planned_values"]["root_module"]["resources"]
        if one["name"].startswith(f"{stack}--")
    ]
    copies = {f"c{place}": changed[key] for place, (key, _, _) in enumerate(CHANGES)}
    told = _plan(terraform, folder / "changed", copies, state)
    seen: dict[str, dict[str, tuple[str, set[str]]]] = {key: {} for key, _, _ in CHANGES}
    for one in told["resource_changes"]:
        copy, _, name = one["name"].partition("--")
        key = CHANGES[int(copy[1:])][0]
        action = _action(one["change"]["actions"])
        before, after = one["change"]["before"] or {}, one["change"]["after"] or {}
        if action:
            paths = one["change"].get("replace_paths") or []
            because = {str(path[0]) for path in paths}
            if action == "changed":
                because = {name for name in after if before.get(name) != after[name]}
            kind = one["type"].removeprefix("aws_")
            seen[key][f"{kind} `{name}`"] = action, because
    found: dict[str, dict[str, str]] = {}
    for key, stack, _ in CHANGES:
        # an attribute that AWS would have computed seems to change even where nothing does
        control = seen["nothing" if stack == "managed" else "nothing (server)"]
        found[key] = {}
        for address, (action, because) in seen[key].items():
            if not key.startswith("nothing") and address in control:
                because = because - control[address][1]
                if action == "changed" and not because:
                    continue
            reason = f" ({', '.join(sorted(because))})" if because else ""
            found[key][address] = action + reason
    return found


def _action(actions: list[str]) -> str:
    if actions in (["no-op"], ["read"]):
        return ""
    return {
        1: {"create": "made", "delete": "removed", "update": "changed"}.get(actions[0], "")
    }.get(len(actions), "REPLACED")


def _plan(
    terraform: Terraform,
    folder: Path,
    copies: Mapping[str, Mapping[tuple[str, str], dict[str, Any]]],
    state: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    resources: dict[str, dict[str, Any]] = {}
    for copy, held in copies.items():
        for (kind, name), body in held.items():
            resources.setdefault(kind, {})[f"{copy}--{name}"] = body
    terraform.prepare(
        folder,
        {
            "terraform": {"required_providers": {"aws": {"source": "hashicorp/aws"}}},
            "provider": {"aws": [provider_block("eu-central-1", "")]},
            "resource": resources,
        },
    )
    if state is not None:
        whole = {"version": 4, "terraform_version": "1.0.0", "serial": 1, "lineage": "art32"}
        (folder / "terraform.tfstate").write_text(json.dumps({**whole, "resources": state}))
    return terraform.plan(folder, "-refresh=false")


def _stored(planned: Mapping[str, Any], place: int) -> dict[str, Any]:
    """Return a planned resource as if it existed, in the copy of a change."""
    name = planned["name"].partition("--")[2]
    values = dict(planned["values"])
    # what the provider computes is a collection in a real state too, never null
    for key, kind in load()[planned["type"]].attributes.items():
        if isinstance(kind, list) and values.get(key) is None:
            values[key] = {} if kind[0] == "map" else []
    if not values.get("id"):
        values["id"] = values.get("bucket") or values.get("name") or f"{name}-id"
    return {
        "mode": "managed",
        "type": planned["type"],
        "name": f"c{place}--{name}",
        "provider": 'provider["registry.terraform.io/hashicorp/aws"]',
        "instances": [{"schema_version": planned["schema_version"], "attributes": values}],
    }


def page(found: Mapping[str, Mapping[str, str]]) -> str:
    """Return the committed page."""
    lines = [
        "<!-- Generated by `scripts/replacements.py`; the tests compare it where Terraform is. -->",
        "# What a change of the configuration does to data",
        "",
        "Asked of the AWS provider itself, offline, for a stack of managed services and one with",
        "servers of its own. Where data is *replaced* or *removed*, `protect` stands in the way.",
        "*Changed* is changed in place. Networks that data is reached through are in the table:",
        "AWS removes no subnet with something in it, so taking a zone away fails and loses",
        "nothing. AWS takes no database to another major version in place (`dbVersion`).",
        "",
        "| key | what happens to what holds data |",
        "|---|---|",
    ]
    for key, effects in found.items():
        if not key.startswith("nothing"):
            lines.append(f"| `{key}` | {'; '.join(_sentences(effects)) or 'nothing'} |")
    fixed = ", ".join(f"`{one}`" for one in FIXED)
    lines += ["", f"Fixed with the first `pulumi up`, for they make another stack: {fixed}.", ""]
    return "\n".join(lines)


def _sentences(effects: Mapping[str, str]) -> Iterator[str]:
    for action in ("REPLACED", "removed", "changed", "made"):
        named = sorted(
            (one + what.removeprefix(action))
            for one, what in effects.items()
            if what.startswith(action)
        )
        if action in ("made", "removed"):
            many = Counter(found[1] for one in named if (found := _MANY.match(one)))
            named = [one for one in named if not _MANY.match(one)]
            named += [f"{kind} ({count} of them)" for kind, count in sorted(many.items())]
        if named:
            yield f"**{action.lower()}**: {', '.join(named)}"
