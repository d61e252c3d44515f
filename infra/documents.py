"""IAM policy documents: statements as data, written as JSON by Pulumi itself.

No f-strings of JSON and no lookup (`iam.get_policy_document` is a call to a provider).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from infra.naming import Place, service

Statement = Mapping[str, Any]
Names = pulumi.Input[str] | Sequence[pulumi.Input[str]]
Condition = Mapping[str, Mapping[str, Any]]


def allow(
    sid: str,
    actions: str | Sequence[str],
    resources: Names,
    *,
    principal: Any = None,
    condition: Condition | None = None,
) -> Statement:
    """Return a statement that allows. `principal` stands in policies of resources alone."""
    return _statement("Allow", sid, actions, resources, principal, condition)


def deny(
    sid: str,
    actions: str | Sequence[str],
    resources: Names,
    *,
    principal: Any = None,
    condition: Condition | None = None,
) -> Statement:
    """Return a statement that denies, which no other statement can undo."""
    return _statement("Deny", sid, actions, resources, principal, condition)


def _statement(
    effect: str,
    sid: str,
    actions: str | Sequence[str],
    resources: Names,
    principal: Any,
    condition: Condition | None,
) -> Statement:
    statement: dict[str, Any] = {"Sid": sid, "Effect": effect}
    if principal is not None:
        statement["Principal"] = principal
    statement |= {"Action": actions, "Resource": resources}
    if condition:
        statement["Condition"] = condition
    return statement


def document(*statements: Statement) -> pulumi.Output[str]:
    """Return a policy document as JSON; outputs inside of it are resolved."""
    return pulumi.Output.json_dumps({"Version": "2012-10-17", "Statement": list(statements)})


def trust(config: Place, name: str, condition: Condition | None = None) -> pulumi.Output[str]:
    """Return a trust policy for a service, in the stack's account alone.

    EC2 sends no source account when it hands a role to an instance, so it goes without.
    """
    if condition is None and name != "ec2":
        condition = from_account(config)
    return document(
        {
            "Sid": "Assume",
            "Effect": "Allow",
            "Principal": {"Service": service(config, name)},
            "Action": "sts:AssumeRole",
            **({"Condition": condition} if condition else {}),
        }
    )


def from_account(config: Place, **arn_like: str) -> Condition:
    """Return the condition that keeps other accounts' use of a service out (confused deputy)."""
    condition: dict[str, Mapping[str, Any]] = {
        "StringEquals": {"aws:SourceAccount": config.account_id}
    }
    if arn_like:
        condition["ArnLike"] = {"aws:SourceArn": arn_like["source"]}
    return condition


def tls_only(*resources: str | pulumi.Output[str]) -> tuple[Statement, Statement]:
    """Return the statements that refuse a bucket's use without TLS, or with an old one."""
    return (
        deny(
            "TlsOnly",
            "s3:*",
            resources,
            principal="*",
            condition={"Bool": {"aws:SecureTransport": "false"}},
        ),
        deny(
            "NewTlsOnly",
            "s3:*",
            resources,
            principal="*",
            condition={"NumericLessThan": {"s3:TlsVersion": "1.2"}},
        ),
    )
