"""A configuration that the real AWS provider validates, plans and applies."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from infra.graph import MARKER, Graph, markers, transform
from infra.plausible import ACCOUNT, REGION
from infra.terraform.convert import Conversion, convert, region

VERSION = "5.100.0"
SERVICES = [
    "accessanalyzer",
    "acm",
    "autoscaling",
    "backup",
    "budgets",
    "cloudtrail",
    "cloudwatch",
    "cloudwatchlogs",
    "configservice",
    "ec2",
    "elbv2",
    "eventbridge",
    "guardduty",
    "iam",
    "kms",
    "lambda",
    "rds",
    "resourcegroups",
    "route53",
    "s3",
    "s3control",
    "secretsmanager",
    "securityhub",
    "sesv2",
    "sns",
    "sqs",
    "ssm",
    "sts",
    "wafv2",
]


def configuration(
    graph: Graph,
    conversion: Conversion | None = None,
    *,
    endpoint: str = "",
    skip: Collection[str] = (),
    only: Collection[str] = (),
) -> dict[str, Any]:
    """Return a graph as a Terraform configuration in JSON.

    With an `endpoint` every service is asked there, with throw-away credentials. `skip` are
    Terraform types to leave out and `only`, when given, the only ones to keep; a reference to what
    is left out becomes a constant, so that the rest still works.
    """
    conversion = conversion or convert(graph)
    items = [
        one for one in conversion.items if one.type not in skip and (not only or one.type in only)
    ]
    kept = {one.address for one in items}
    regions = {one.address: region(graph, one.resource) for one in items}
    home = next((one for one in regions.values() if one), REGION)
    addresses = {one.resource.urn: one.address for one in items}

    def expression(marker: re.Match[str]) -> str:
        reference = conversion.reference(marker)
        owner = ".".join(reference.removeprefix("tolist(").split(".")[:2])
        if owner in kept:
            return f"${{{reference}}}"
        return f"arn:aws:left-out:{home}:{ACCOUNT}:{owner.replace('.', '/')}"

    def text(value: str) -> str:
        escaped = value.replace("${", "$${").replace("%{", "%%{")
        return MARKER.sub(expression, escaped)

    resources: dict[str, dict[str, Any]] = {}
    for item in items:
        body = transform(item.body, text)
        referred = {
            ".".join(conversion.reference(marker).removeprefix("tolist(").split(".")[:2])
            for marker in markers(item.body)
        }
        wanted = {addresses[urn] for urn in item.resource.dependencies if urn in addresses}
        after = sorted(wanted - referred - {item.address})
        if after:
            body["depends_on"] = after
        if regions[item.address] not in ("", home):
            body["provider"] = f"aws.{regions[item.address]}"
        ignored = [item.keys[key] for key in item.resource.ignore_changes if key in item.keys]
        if ignored:
            body["lifecycle"] = [{"ignore_changes": sorted(ignored)}]
        resources.setdefault(item.type, {})[item.name] = body
    aliases = sorted({one for one in regions.values() if one not in ("", home)})
    return {
        "terraform": {
            "required_providers": {"aws": {"source": "hashicorp/aws", "version": VERSION}}
        },
        "provider": {
            "aws": [
                provider(home, endpoint),
                *({**provider(one, endpoint), "alias": one} for one in aliases),
            ]
        },
        "resource": resources,
    }


def provider(name: str, endpoint: str) -> dict[str, Any]:
    """Return a provider's block: it reaches for no credentials of the machine and no metadata."""
    block: dict[str, Any] = {
        "region": name,
        "access_key": "none",
        "secret_key": "none",
        "skip_credentials_validation": True,
        "skip_metadata_api_check": True,
        "skip_requesting_account_id": not endpoint,
        "skip_region_validation": True,
        "max_retries": 1,
    }
    if endpoint:
        block |= {
            "s3_use_path_style": True,
            "endpoints": [dict.fromkeys(SERVICES, endpoint)],
        }
    return block
