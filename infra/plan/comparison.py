"""What would be created, changed, replaced or destroyed, judged by what is there already.

What is there, the design cannot know. It is told by a saved graph (the design that was applied) or
by `pulumi preview --json` (the engine, which knows the state and asks the provider). Between two
graphs only the properties of `REPLACING` are known to replace; every other change is an update "or
a replacement", and the page says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from infra.graph import MARKER, Graph, Resource
from infra.plan.problem import PlanError

Action = Literal["create", "update", "change", "replace", "destroy", "keep"]

ACTIONS: Mapping[Action, str] = {
    "destroy": "destroyed",
    "replace": "replaced: destroyed and made anew",
    "keep": "dropped from the program, kept at AWS",
    "change": "changed: updated, or replaced where AWS cannot change it",
    "update": "updated in place",
    "create": "created",
}

DATA_BEARING = frozenset(
    {
        "aws:backup:Vault",
        "aws:cloudtrail:Trail",
        "aws:cloudwatch:LogGroup",
        "aws:dynamodb:Table",
        "aws:ebs:Volume",
        "aws:ec2:Instance",
        "aws:efs:FileSystem",
        "aws:kms:Key",
        "aws:rds:Instance",
        "aws:s3:Bucket",
        "aws:secretsmanager:Secret",
        "aws:sqs:Queue",
    }
)
"""Kinds whose loss is a loss of data, or of what data cannot be read without."""

REPLACING: Mapping[str, frozenset[str]] = {
    "aws:backup:Vault": frozenset({"name", "kmsKeyArn"}),
    "aws:cloudwatch:LogGroup": frozenset({"name", "namePrefix"}),
    "aws:ebs:Volume": frozenset(
        {"availabilityZone", "encrypted", "kmsKeyId", "snapshotId", "multiAttachEnabled"}
    ),
    "aws:ec2:Instance": frozenset({"ami", "availabilityZone", "subnetId", "keyName"}),
    "aws:ec2:NatGateway": frozenset({"allocationId", "connectivityType", "subnetId"}),
    "aws:ec2:NetworkAclRule": frozenset(
        {"cidrBlock", "egress", "fromPort", "networkAclId", "protocol", "ruleNumber", "toPort"}
    ),
    "aws:ec2:Subnet": frozenset({"availabilityZone", "cidrBlock", "vpcId"}),
    "aws:kms:Key": frozenset({"customerMasterKeySpec", "keyUsage", "multiRegion"}),
    "aws:rds:Instance": frozenset(
        {
            "availabilityZone",
            "dbName",
            "engine",
            "kmsKeyId",
            "restoreToPointInTime",
            "snapshotIdentifier",
            "storageEncrypted",
            "username",
        }
    ),
    "aws:s3:Bucket": frozenset({"bucket", "bucketPrefix", "objectLockEnabled"}),
    "aws:secretsmanager:Secret": frozenset({"name", "namePrefix"}),
    "aws:sqs:Queue": frozenset({"name", "namePrefix", "fifoQueue"}),
}
"""Properties that the AWS provider cannot change in place (`ForceNew` in its schema)."""

_OPERATIONS: Mapping[str, Action | None] = {
    "same": None,
    "read": None,
    "refresh": None,
    "read-replacement": None,
    "discard": None,
    "discard-replaced": None,
    "remove-pending-replace": None,
    "create": "create",
    "import": "create",
    "update": "update",
    "replace": "replace",
    "create-replacement": "replace",
    "delete-replaced": "replace",
    "import-replacement": "replace",
    "delete": "destroy",
}


@dataclass(frozen=True)
class Change:
    """What happens to one resource, and which properties cause it. `data` marks a loss of data;
    `refused` that Pulumi will not do it, because the resource is protected.
    """

    action: Action
    kind: str
    name: str
    properties: tuple[str, ...] = ()
    data: bool = False
    refused: bool = False
    urn: str = ""

    @property
    def dangerous(self) -> bool:
        """Tell whether data could be lost: for an uncertain change, whether it might."""
        return self.data and self.action in ("destroy", "replace")


@dataclass(frozen=True)
class Comparison:
    """All changes, the worst first; `against` says in words what the design was compared with."""

    against: str
    changes: tuple[Change, ...] = ()
    unchanged: int = 0
    remarks: tuple[str, ...] = ()

    def of(self, *actions: Action) -> tuple[Change, ...]:
        """Return the changes of some kinds."""
        return tuple(one for one in self.changes if one.action in actions)


NOTHING = Comparison("nothing")


def compare_file(graph: Graph, path: Path) -> Comparison:
    """Compare with a saved graph or a preview in a file; raise PlanError when it is neither."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PlanError(
            f"`{path}` cannot be read: {(error.strerror or 'unknown').lower()}",
            "pulumi preview --json >preview.json",
        ) from error
    except UnicodeDecodeError as error:
        raise _neither(path) from error
    return compare_text(graph, text, path)


def compare_text(graph: Graph, text: str, path: Path) -> Comparison:
    """Compare with the text of a saved graph or of `pulumi preview --json`."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _neither(path) from error
    if isinstance(data, dict) and "steps" in data:
        return _with_preview(graph, data, path)
    if isinstance(data, dict) and "format" in data and "resources" in data:
        try:
            saved = Graph.from_json(text)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PlanError(
                f"`{path}` is a saved graph of another version or damaged",
                "save it again with the version that was applied: make plan STACK=... SAVE=FILE",
            ) from error
        return _with_graph(graph, saved, path)
    raise _neither(path)


def _neither(path: Path) -> PlanError:
    return PlanError(
        f"`{path}` is neither a saved graph nor the output of `pulumi preview --json`",
        "pulumi preview --json >preview.json",
    )


def _other(path: Path, theirs: str, graph: Graph) -> PlanError:
    return PlanError(
        f"`{path}` is about {theirs}, not about stack `{graph.stack}` of `{graph.project}`",
        f"pulumi preview --stack {graph.stack} --json >preview.json",
    )


def _with_graph(graph: Graph, saved: Graph, path: Path) -> Comparison:
    if (saved.project, saved.stack) != (graph.project, graph.stack):
        raise _other(path, f"stack `{saved.stack}` of `{saved.project}`", graph)
    renamed = {alias: one.urn for one in graph.resources for alias in one.aliases}
    before = {renamed.get(one.urn, one.urn): one for one in saved.resources if one.custom}
    after = {one.urn: one for one in graph.resources if one.custom}
    changes = [
        *(_made("create", one) for urn, one in after.items() if urn not in before),
        *(_gone(one) for urn, one in before.items() if urn not in after),
        *(
            change
            for urn, one in after.items()
            if urn in before
            for change in _changed(before[urn], one)
        ),
    ]
    same = len(after.keys() & before.keys()) - len([c for c in changes if c.urn in before])
    return Comparison(f"the saved graph `{path.name}`", _sorted(changes), same + _lost(changes))


def _lost(changes: list[Change]) -> int:
    """Return how many changes are about resources that the program has no more."""
    return len([one for one in changes if one.action in ("destroy", "keep")])


def _made(action: Action, one: Resource, properties: tuple[str, ...] = ()) -> Change:
    data = one.kind in DATA_BEARING
    return Change(action, one.kind, one.name, properties, data, urn=one.urn)


def _gone(one: Resource) -> Change:
    """Return what happens to a resource that the program has no more.

    The engine refuses to delete what is protected, before it looks at `retainOnDelete`.
    """
    action: Action = "keep" if one.retain and not one.protect else "destroy"
    data = one.kind in DATA_BEARING
    return Change(action, one.kind, one.name, (), data, refused=one.protect, urn=one.urn)


def _changed(old: Resource, new: Resource) -> Iterator[Change]:
    ignored = {path.split(".")[0].split("[")[0] for path in new.ignore_changes}
    properties = tuple(
        sorted(
            key
            for key in {*old.inputs, *new.inputs} - ignored
            if old.inputs.get(key) != new.inputs.get(key)
        )
    )
    if properties:
        replacing = REPLACING.get(new.kind, frozenset()) | frozenset(new.replace_on_changes)
        certain = bool(replacing & set(properties))
        words = tuple(_words(key, old, new) for key in properties)
        made = _made("replace" if certain else "change", new, words)
        yield replace(made, refused=certain and old.protect)


def _words(key: str, old: Resource, new: Resource) -> str:
    """Return a property, with its values where they are short and known and no secret."""
    secret = any(path.split(".")[0] == key for path in (*old.secrets, *new.secrets))
    values = [json.dumps(one.inputs.get(key)).strip('"') for one in (old, new)]
    if secret or any(len(value) > 40 or MARKER.search(value) for value in values):
        return key
    return f"{key}: {values[0]} \N{RIGHTWARDS ARROW} {values[1]}"


def _with_preview(graph: Graph, data: Mapping[str, Any], path: Path) -> Comparison:
    steps = data.get("steps")
    if not isinstance(steps, list) or not steps:
        raise PlanError(
            f"`{path}` names no resource", f"pulumi preview --stack {graph.stack} --json"
        )
    changes: dict[str, Change] = {}
    unchanged: set[str] = set()
    seen: set[str] = set()
    for step in steps:
        given = step if isinstance(step, dict) else {}
        urn, operation = str(given.get("urn", "")), str(given.get("op", ""))
        parts = urn.split("::")
        if len(parts) < 4 or operation not in _OPERATIONS:
            raise PlanError(
                f"`{path}` has a step that this version does not know: `{operation[:40]}`",
                "report it with the version of Pulumi",
            )
        stack, project = parts[0].removeprefix("urn:pulumi:"), parts[1]
        if (project, stack) != (graph.project, graph.stack):
            raise _other(path, f"stack `{stack}` of `{project}`", graph)
        token = parts[2].rpartition("$")[2]
        if token.count(":") != 2 or not token.startswith("aws:"):
            continue
        action = _OPERATIONS[operation]
        if operation != "delete":
            seen.add(urn)
        if action is None:
            unchanged.add(urn)
        else:
            changes[urn] = _step(step, action, Resource(urn, token, "::".join(parts[3:])))
    return Comparison(
        f"`pulumi preview`, from `{path.name}`",
        _sorted(list(changes.values())),
        len(unchanged - set(changes)),
        tuple(_remarks(graph, seen)),
    )


def _step(step: Mapping[str, Any], action: Action, one: Resource) -> Change:
    old = step.get("oldState") or {}
    kept = bool(old.get("retainOnDelete"))
    protected = bool(old.get("protect"))
    if action == "destroy" and kept and not protected:
        action = "keep"
    reasons = (
        step.get("replaceReasons") or step.get("diffReasons") or step.get("detailedDiff") or ()
    )
    return Change(
        action,
        one.kind,
        one.name,
        tuple(sorted(str(each) for each in reasons)),
        one.kind in DATA_BEARING,
        refused=protected and action in ("destroy", "replace"),
        urn=one.urn,
    )


def _remarks(graph: Graph, seen: set[str]) -> Iterator[str]:
    ours = {one.urn for one in graph.resources if one.custom and one.type.startswith("aws:")}
    for words, urns in (
        ("in the preview and not in this design", seen - ours),
        ("in this design and not in the preview", ours - seen),
    ):
        if urns:
            yield (
                f"{len(urns)} resources are {words}: it was made from another version of the "
                f"program or of the configuration"
            )


def _sorted(changes: list[Change]) -> tuple[Change, ...]:
    order = list(ACTIONS)
    return tuple(
        sorted(
            changes,
            key=lambda one: (not one.dangerous, order.index(one.action), one.kind, one.name),
        )
    )
