"""What holds data is kept; what is kept says for how long; logs of addresses end after 30 days."""

from __future__ import annotations

from infra.graph import Graph, Resource
from infra.policies.rule import Checked, ephemeral, rule, unless

_DAYS = 30
HOLDERS = (
    "aws:s3:Bucket",
    "aws:rds:Instance",
    "aws:ebs:Volume",
    "aws:backup:Vault",
    "aws:kms:Key",
    "aws:efs:FileSystem",
    "aws:dynamodb:Table",
)


def holders(graph: Graph) -> tuple[Resource, ...]:
    """Return what holds data, or without which data is lost."""
    return graph.of(*HOLDERS)


@rule(
    "data-is-protected",
    "what holds data is protected and retained, by an option of its own",
    gdpr="32(1)(b) 32(1)(c)",
)
def protected(graph: Graph) -> Checked:
    for one in holders(graph):
        kept = one.protect and one.retain
        yield one, unless(kept or ephemeral(one), "can be destroyed by `pulumi up`")


@rule("personal-data-is-named", "what holds data says whether it is personal", gdpr="30 5(1)(e)")
def tagged(graph: Graph) -> Checked:
    for one in (*holders(graph), *graph.of("aws:cloudwatch:LogGroup", "aws:sqs:Queue")):
        said = one.get("tags.PersonalData")
        kept = one.get("tags.RetentionDays")
        complete = said == "no" or (said == "yes" and kept)
        yield one, unless(complete, "does not say whether it holds personal data, and how long")


@rule(
    "logs-end",
    "every log group ends, and one with addresses of people after 30 days",
    gdpr="5(1)(e)",
    fsbp="CloudWatch.16",
)
def log_groups(graph: Graph) -> Checked:
    for one in graph.of("aws:cloudwatch:LogGroup"):
        days = int(one.get("retentionInDays") or 0)
        personal = one.get("tags.PersonalData") != "no"
        yield one, unless(days > 0, "keeps everything for ever")
        yield one, unless(not personal or days <= _DAYS, f"keeps personal data for {days} days")


@rule(
    "logs-encrypted", "log groups are encrypted with our key", gdpr="32(1)(a)", fsbp="CloudWatch.17"
)
def encrypted(graph: Graph) -> Checked:
    for one in graph.of("aws:cloudwatch:LogGroup"):
        yield one, unless(one.get("kmsKeyId"), "is not encrypted with our key")


@rule(
    "sinks-of-addresses-end",
    "objects with addresses of people end after 30 days",
    gdpr="5(1)(e)",
)
def sinks(graph: Graph) -> Checked:
    for one in graph.of("aws:s3:Bucket"):
        if one.get("tags.PersonalData") != "yes" or one.get("objectLockEnabled"):
            continue
        ends = [
            (each.get("expiration") or {}).get("days")
            for found in graph.attached(one, "aws:s3:BucketLifecycleConfiguration", "bucket")
            for each in found.get("rules", [])
        ]
        days = [int(one) for one in ends if one]
        yield one, unless(days and max(days) <= _DAYS, "keeps addresses for more than 30 days")
