"""Roles: nobody may do everything, hosts only write, erasing takes a second factor."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from infra.authorization import Request, Value, decide, listed, statements
from infra.graph import Graph, Resource
from infra.plausible import Plausible
from infra.policies.rule import Checked, rule, unless
from infra.policies.storage import backup_buckets, bucket_policy

ERASERS = ("keeper", "breakglass")
READERS = ("restorer", "keeper", "breakglass")
_HARMLESS = re.compile(
    r"^(\*|cloudwatch:PutMetricData|logs:DescribeLogGroups|ecr:GetAuthorizationToken)$"
)


def policies(graph: Graph, role: Resource) -> list[Mapping[str, Any]]:
    """Return the documents of a role that the program itself writes."""
    found = [one.document("policy") for one in graph.attached(role, "aws:iam:RolePolicy", "role")]
    for attachment in graph.attached(role, "aws:iam:RolePolicyAttachment", "role"):
        found += [one.document("policy") for one in graph.targets(attachment, "policyArn")]
    return [one for one in found if isinstance(one, Mapping)]


def duty(role: Resource) -> str:
    """Return what a role is for: its tag, else its name."""
    return str(role.get("tags.Art32Duty") or role.name)


def all_policies(graph: Graph) -> list[tuple[Resource, Mapping[str, Any]]]:
    """Return every identity policy in the program with the resource that holds it."""
    return [
        (one, document)
        for one in graph.of("aws:iam:RolePolicy", "aws:iam:Policy", "aws:iam:UserPolicy")
        if isinstance(document := one.document("policy"), Mapping)
    ]


@rule(
    "nobody-may-do-everything",
    "no policy allows every action",
    gdpr="25 32",
    fsbp="IAM.1 IAM.21",
    cis="1.16",
)
def no_admin(graph: Graph) -> Checked:
    for one, document in all_policies(graph):
        wide = [
            str(action)
            for statement in statements(document)
            if statement.get("Effect") == "Allow"
            for action in listed(statement.get("Action"))
            if re.fullmatch(r"\*|[\w-]+:\*", str(action))
        ]
        wide += [
            "NotAction"
            for statement in statements(document)
            if statement.get("Effect") == "Allow" and "NotAction" in statement
        ]
        yield one, unless(not wide, f"allows {', '.join(wide)}")
    for one in graph.of("aws:iam:RolePolicyAttachment"):
        name = str(one.get("policyArn")).rpartition("/")[2]
        wide_name = re.search(
            r"AdministratorAccess|PowerUser|FullAccess|SSMManagedInstanceCore", name
        )
        yield one, unless(not wide_name, f"attaches {name}")


@rule(
    "who-writes-may-not-star-resources",
    "a policy that changes or reads something names what",
    gdpr="25 32",
)
def named_resources(graph: Graph) -> Checked:
    for one, document in all_policies(graph):
        wide = [
            str(action)
            for statement in statements(document)
            if statement.get("Effect") == "Allow"
            and "*" in listed(statement.get("Resource"))
            and not statement.get("Condition")
            for action in listed(statement.get("Action"))
            if re.match(r"(s3|kms|secretsmanager|iam|sts|rds-db|sns|sqs|ses|backup):", str(action))
            and not re.search(r":(List|Describe)", str(action))
        ]
        yield one, unless(not wide, f"allows {', '.join(wide)} on everything")


@rule("no-password-identities", "there are no users and no access keys", gdpr="32", fsbp="IAM.3")
def no_users(graph: Graph) -> Checked:
    for one in graph.of("aws:iam:User", "aws:iam:AccessKey", "aws:iam:Role"):
        yield one, unless(one.kind == "aws:iam:Role", "is an identity with lasting credentials")


_FORBIDDEN_TO_WRITERS = (
    "s3:GetObject",
    "s3:GetObjectVersion",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:PutObjectRetention",
    "s3:PutObjectLegalHold",
    "s3:BypassGovernanceRetention",
    "s3:PutObjectAcl",
    "s3:PutObjectTagging",
    "s3:RestoreObject",
    "s3:ReplicateObject",
)
_FORBIDDEN_ON_BUCKETS = (
    "s3:ListBucket",
    "s3:ListBucketVersions",
    "s3:PutLifecycleConfiguration",
    "s3:PutBucketPolicy",
    "s3:DeleteBucketPolicy",
    "s3:PutBucketObjectLockConfiguration",
    "s3:PutBucketVersioning",
    "s3:PutReplicationConfiguration",
    "s3:DeleteBucket",
)


@rule(
    "hosts-only-write",
    "a host can write its backups and neither read, list, delete, lock nor change anything",
    gdpr="25 32(1)(b)",
)
def only_write(graph: Graph) -> Checked:
    plausible = Plausible(graph)
    for bucket in backup_buckets(graph):
        name = plausible.text(str(bucket.get("bucket") or bucket.name))
        policy = plausible.value(bucket_policy(graph, bucket))
        arn = f"arn:{plausible.partition}:s3:::{name}"
        for role in graph.of("aws:iam:Role"):
            if duty(role) in (*ERASERS, *READERS):
                continue
            documents = [plausible.value(one) for one in policies(graph, role)]
            asked = [(action, f"{arn}/any/key") for action in _FORBIDDEN_TO_WRITERS]
            asked += [(action, arn) for action in _FORBIDDEN_ON_BUCKETS]
            prefix: dict[str, Value] = {
                "s3:prefix": "",
                "aws:SecureTransport": True,
                "s3:TlsVersion": "1.3",
            }
            principal = f"arn:{plausible.partition}:iam::{plausible.account}:role/" + str(
                role.get("name") or role.name
            )
            may = [
                action
                for action, target in asked
                if decide(
                    Request(principal, action, _own(target, documents), prefix),
                    identity=documents,
                    resource=[policy],
                )
            ]
            yield role, unless(not may, f"may {', '.join(may)} in {bucket}")


def _own(target: str, documents: list[Mapping[str, Any]]) -> str:
    """Return an object that some statement speaks of, where a role would have its rights."""
    bucket = target.split("/", maxsplit=1)[0]
    if "/" not in target:
        return target
    for document in documents:
        for statement in statements(document):
            for resource in listed(statement.get("Resource")):
                if str(resource).startswith(f"{bucket}/"):
                    return str(resource).replace("*", "x").replace("${aws:userid}", "x")
    return target


@rule(
    "erasing-is-rare",
    "only the keeper deletes, and only break-glass lifts a lock",
    gdpr="17 32(1)(b)",
)
def erasing(graph: Graph) -> Checked:
    for one, document in all_policies(graph):
        allowed = {
            str(action)
            for statement in statements(document)
            if statement.get("Effect") == "Allow"
            for action in listed(statement.get("Action"))
        }
        roles = [duty(role) for role in graph.targets(one, "role")]
        deletes = {"s3:DeleteObject", "s3:DeleteObjectVersion"} & allowed
        lifts = {"s3:BypassGovernanceRetention", "s3:PutObjectRetention"} & allowed
        yield one, unless(not deletes or set(roles) <= set(ERASERS), "deletes objects")
        yield one, unless(not lifts or roles == ["breakglass"], "lifts locks")


@rule("break-glass-needs-a-second-factor", "nobody lifts a lock with a password alone", gdpr="32")
def second_factor(graph: Graph) -> Checked:
    plausible = Plausible(graph)
    for role in graph.of("aws:iam:Role"):
        if duty(role) != "breakglass":
            continue
        document = plausible.value(role.document("assumeRolePolicy") or {})
        root = f"arn:{plausible.partition}:iam::{plausible.account}"
        named = re.findall(r":user/([\w+=,.@-]+)", str(document)) or ["anybody"]
        for user in (*named, "stranger"):
            for context in ({}, {"aws:MultiFactorAuthPresent": False}):
                asked = Request(f"{root}:user/{user}", "sts:AssumeRole", "*", dict(context))
                verdict = decide(asked, identity=[EVERYTHING], resource=[document])
                trusted = _trusts(asked, document)
                yield role, unless(not (verdict and trusted), f"lets `{user}` in without a token")


EVERYTHING = {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}


def _trusts(request: Request, document: Mapping[str, Any]) -> bool:
    """Tell whether a trust policy lets a principal in that may assume any role."""
    rooted = {
        **document,
        "Statement": [
            {key: one for key, one in statement.items() if key != "Principal"}
            for statement in statements(document)
            if "AWS" in (statement.get("Principal") or {})
        ],
    }
    return bool(decide(request, identity=[rooted]))


@rule(
    "roles-are-for-one", "a role is assumed by the service it is for, and by nobody else", gdpr="32"
)
def trust(graph: Graph) -> Checked:
    for role in graph.of("aws:iam:Role"):
        document = role.document("assumeRolePolicy") or {}
        for statement in statements(document):
            principal = statement.get("Principal")
            wide = principal == "*" or "*" in listed((principal or {}).get("AWS"))
            root = any(str(one).endswith(":root") for one in listed((principal or {}).get("AWS")))
            yield (
                role,
                unless(
                    not wide and (not root or statement.get("Condition")),
                    "can be assumed by anybody",
                ),
            )
