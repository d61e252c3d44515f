"""Buckets: private, versioned, encrypted, TLS only; the backup bucket besides locked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.authorization import Request, Value, decide
from infra.graph import Graph, Resource
from infra.plausible import Plausible
from infra.policies.rule import Checked, ephemeral, rule, unless

_DAYS = 30
_SWITCHES = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")


def satellites(graph: Graph, bucket: Resource, kind: str) -> tuple[Resource, ...]:
    """Return the resources of a kind that configure a bucket, such as `BucketVersioning`."""
    return graph.attached(bucket, f"aws:s3:{kind}", "bucket")


def bucket_policy(graph: Graph, bucket: Resource) -> Mapping[str, Any]:
    """Return a bucket's policy, empty when there is none."""
    found = [one.document("policy") for one in satellites(graph, bucket, "BucketPolicy")]
    return found[0] if found and found[0] else {}


def backup_buckets(graph: Graph) -> tuple[Resource, ...]:
    """Return the buckets whose objects are locked and which hold personal data: the backups'."""
    return tuple(
        one
        for one in graph.of("aws:s3:Bucket")
        if one.get("objectLockEnabled") and one.get("tags.PersonalData") == "yes"
        if "backup" in f"{one.name} {one.get('tags.Art32Component')}"
    )


@rule(
    "bucket-never-public",
    "no bucket can be made public",
    gdpr="25 32",
    fsbp="S3.1 S3.2 S3.3 S3.8",
    cis="2.1.4",
)
def never_public(graph: Graph) -> Checked:
    for one in graph.of("aws:s3:Bucket"):
        blocks = satellites(graph, one, "BucketPublicAccessBlock")
        closed = any(all(block.get(switch) for switch in _SWITCHES) for block in blocks)
        yield one, unless(closed, "could be made public")


@rule("bucket-versioned", "what is overwritten is not lost", gdpr="32(1)(b)", fsbp="S3.14")
def versioned(graph: Graph) -> Checked:
    for one in graph.of("aws:s3:Bucket"):
        found = satellites(graph, one, "BucketVersioning")
        on = any(each.get("versioningConfiguration.status") == "Enabled" for each in found)
        yield one, unless(on, "keeps no older versions")


@rule("bucket-encrypted", "every bucket says how it is encrypted", gdpr="32(1)(a)")
def encrypted(graph: Graph) -> Checked:
    for one in graph.of("aws:s3:Bucket"):
        rules = [
            each
            for found in satellites(graph, one, "BucketServerSideEncryptionConfiguration")
            for each in found.get("rules", [])
        ]
        kinds = [
            each.get("applyServerSideEncryptionByDefault", {}).get("sseAlgorithm") for each in rules
        ]
        yield one, unless(kinds and all(kinds), "leaves encryption to AWS' default")
        costly = [
            each
            for each, kind in zip(rules, kinds, strict=True)
            if kind == "aws:kms" and not each.get("bucketKeyEnabled")
        ]
        yield one, unless(not costly, "asks KMS for every object: it has no bucket key")


@rule("bucket-tls-only", "buckets refuse unencrypted connections", gdpr="32(1)(a)", fsbp="S3.5")
def tls_only(graph: Graph) -> Checked:
    for one, policy, objects in _policies(graph):
        plain: dict[str, Value] = {"aws:SecureTransport": False, "s3:TlsVersion": "1.2"}
        old: dict[str, Value] = {"aws:SecureTransport": True, "s3:TlsVersion": "1.1"}
        for context, what in ((plain, "without TLS"), (old, "with TLS 1.1")):
            asked = Request(_ANYBODY, "s3:GetObject", objects, context)
            yield (
                one,
                unless(
                    not decide(asked, identity=[_EVERYTHING], resource=[policy]), f"answers {what}"
                ),
            )


_ANYBODY = "arn:aws:iam::123456789012:role/anybody"
_EVERYTHING = {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}


def _policies(graph: Graph) -> list[tuple[Resource, Mapping[str, Any], str]]:
    plausible = Plausible(graph)
    found = []
    for one in graph.of("aws:s3:Bucket"):
        name = plausible.text(str(one.get("bucket") or one.name))
        policy = plausible.value(bucket_policy(graph, one))
        found.append((one, policy, f"arn:{plausible.partition}:s3:::{name}/key"))
    return found


@rule("bucket-owner-owns", "whoever writes, the bucket's owner owns", gdpr="32", fsbp="S3.12")
def owner(graph: Graph) -> Checked:
    for one in graph.of("aws:s3:Bucket"):
        found = satellites(graph, one, "BucketOwnershipControls")
        enforced = any(x.get("rule.objectOwnership") == "BucketOwnerEnforced" for x in found)
        yield one, unless(enforced, "accepts ACLs")


@rule("bucket-not-emptied-by-accident", "deleting a stack deletes no objects", gdpr="32(1)(b)")
def force_destroy(graph: Graph) -> Checked:
    for one in graph.of("aws:s3:Bucket"):
        yield one, unless(not one.get("forceDestroy") or ephemeral(one), "is emptied when deleted")


@rule(
    "backups-locked",
    "backups cannot be deleted for as long as they are kept",
    gdpr="32(1)(b) 32(1)(c)",
    fsbp="S3.15",
)
def locked(graph: Graph) -> Checked:
    for one in backup_buckets(graph):
        for found in satellites(graph, one, "BucketObjectLockConfiguration") or (None,):
            retention = (found and found.get("rule.defaultRetention")) or {}
            days = int(retention.get("days") or 0)
            enough = days >= _DAYS or (days >= 1 and ephemeral(one))
            yield one, unless(enough, f"locks for {days} days by default")
            # COMPLIANCE cannot be ended for an erasure order, nor by AWS
            yield (
                one,
                unless(retention.get("mode") == "GOVERNANCE", "has no lock that can be lifted"),
            )


@rule(
    "current-backups-never-expire",
    "no lifecycle rule deletes the newest version of a backup, and none a locked one",
    gdpr="32(1)(c) 5(1)(e)",
)
def lifecycle(graph: Graph) -> Checked:
    for one in backup_buckets(graph):
        rules = [
            each
            for found in satellites(graph, one, "BucketLifecycleConfiguration")
            for each in found.get("rules", [])
            if each.get("status") == "Enabled"
        ]
        for each in rules:
            expiry = each.get("expiration") or {}
            prefix = (each.get("filter") or {}).get("prefix") or each.get("prefix") or ""
            logs = "logs" in prefix.split("/")
            ages = expiry.get("days") or expiry.get("date")
            yield one, unless(not ages or logs, f"lets rule `{each.get('id')}` age backups out")
            early = logs and ages and int(expiry.get("days") or 0) < _DAYS and not ephemeral(one)
            yield one, unless(not early, f"lets rule `{each.get('id')}` expire what is locked")
            both = ages and expiry.get("expiredObjectDeleteMarker")
            yield one, unless(not both, "mixes an age and delete markers in one rule")
        old = [
            (each.get("noncurrentVersionExpiration") or {}).get("noncurrentDays") for each in rules
        ]
        yield one, unless(1 in old, "keeps deleted versions after their lock has ended")
        lone = [(each.get("expiration") or {}).get("expiredObjectDeleteMarker") for each in rules]
        yield one, unless(True in lone, "keeps delete markers for ever")
        parts = [each.get("abortIncompleteMultipartUpload") for each in rules]
        yield one, unless(any(parts), "keeps parts of uploads that were given up")


@rule("backup-bucket-is-no-sink", "no service logs into the backup bucket", gdpr="32")
def no_sink(graph: Graph) -> Checked:
    for one in backup_buckets(graph):
        sinks = [
            user
            for user in graph.users(one)
            if user.kind
            in (
                "aws:lb:LoadBalancer",
                "aws:cloudtrail:Trail",
                "aws:cfg:DeliveryChannel",
                "aws:s3:BucketLogging",
                "aws:ec2:FlowLog",
            )
            and one
            in graph.targets(user, "targetBucket", "s3BucketName", "accessLogs", "logDestination")
        ]
        yield one, unless(not sinks, f"is where {', '.join(map(str, sinks))} writes")
