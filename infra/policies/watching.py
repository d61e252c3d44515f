"""What notices: the trail, alarms, and that somebody hears them."""

from __future__ import annotations

import re

from infra.graph import Graph
from infra.policies.rule import Checked, rule, unless
from infra.policies.storage import backup_buckets

RUNBOOK = re.compile(r"runbooks?[/:]\s*`?[\w-]+")


@rule(
    "trail-cannot-be-cut",
    "the trail covers all regions, is encrypted, and a change of it shows",
    gdpr="30 33",
    fsbp="CloudTrail.1 CloudTrail.2 CloudTrail.4",
    cis="3.1 3.2 3.5",
)
def trail(graph: Graph) -> Checked:
    for one in graph.of("aws:cloudtrail:Trail"):
        management = not one.get("advancedEventSelectors") and not one.get("eventSelectors")
        selectors = str(one.get("advancedEventSelectors")) + str(one.get("eventSelectors"))
        whole = management or "Management" in selectors or "includeManagementEvents" in selectors
        yield one, unless(one.get("enableLogFileValidation"), "can be changed unnoticed")
        yield one, unless(one.get("kmsKeyId"), "is not encrypted with our key")
        yield one, unless(not whole or one.get("isMultiRegionTrail"), "covers one region only")
        yield one, unless(one.get("enableLogging", True), "is switched off")


@rule(
    "writers-wait-for-the-policy",
    "what writes into a bucket is made after the policy that lets it",
    gdpr="30 33",
)
def waiting(graph: Graph) -> Checked:
    for one in graph.of("aws:cloudtrail:Trail", "aws:cfg:DeliveryChannel"):
        for bucket in graph.targets(one, "s3BucketName"):
            policies = graph.attached(bucket, "aws:s3:BucketPolicy", "bucket")
            waits = policies and {policy.urn for policy in policies} <= set(one.dependencies)
            yield one, unless(waits, f"does not wait for the policy of {bucket}: AWS refuses it")


@rule(
    "backup-access-is-recorded",
    "every read, write and deletion of a backup is recorded",
    gdpr="30 33",
    fsbp="S3.22 S3.23",
    cis="3.8 3.9",
)
def data_events(graph: Graph) -> Checked:
    for bucket in backup_buckets(graph):
        name = str(bucket.get("bucket") or bucket.name)
        watched = [
            one
            for one in graph.of("aws:cloudtrail:Trail")
            if any(
                key in one.inputs
                and (name in str(one.get(key)) or bucket in graph.targets(one, key))
                for key in ("advancedEventSelectors", "eventSelectors")
            )
        ]
        reads_only = [
            one for one in watched if "'readOnly'" in str(one.get("advancedEventSelectors"))
        ]
        yield bucket, unless(watched and not reads_only, "is read and written unseen")


@rule("alarms-reach-people", "every alarm goes to a topic that somebody reads", gdpr="33")
def alarms(graph: Graph) -> Checked:
    for one in graph.of("aws:cloudwatch:MetricAlarm", "aws:cloudwatch:CompositeAlarm"):
        topics = graph.targets(one, "alarmActions")
        heard = [
            topic for topic in topics if graph.attached(topic, "aws:sns:TopicSubscription", "topic")
        ]
        yield one, unless(heard, "rings where nobody listens")
        yield one, unless(one.get("actionsEnabled", True), "is switched off")


@rule("alarms-name-their-runbook", "every alarm says which runbook helps", gdpr="33 32(1)(c)")
def runbooks(graph: Graph) -> Checked:
    for one in graph.of("aws:cloudwatch:MetricAlarm", "aws:cloudwatch:CompositeAlarm"):
        text = str(one.get("alarmDescription") or "")
        yield one, unless(RUNBOOK.search(text), "does not name its runbook")


@rule(
    "silence-is-an-alarm",
    "an alarm on the age of backups and drills rings when nothing is reported",
    gdpr="32(1)(c) 32(1)(d)",
)
def silence(graph: Graph) -> Checked:
    for one in graph.of("aws:cloudwatch:MetricAlarm"):
        if re.search(r"(Backup|Drill)Age", str(one.get("metricName"))):
            yield (
                one,
                unless(one.get("treatMissingData") == "breaching", "takes silence for health"),
            )


@rule("break-glass-is-alarmed", "every use of the break-glass role rings", gdpr="32 33")
def break_glass(graph: Graph) -> Checked:
    for role in graph.of("aws:iam:Role"):
        if "breakglass" not in (role.name, role.get("tags.Art32Duty")):
            continue
        name = str(role.get("name") or role.name)
        rules = [
            one
            for one in graph.of("aws:cloudwatch:EventRule", "aws:cloudwatch:LogMetricFilter")
            if role in graph.targets(one, "eventPattern", "pattern")
            or name in str(one.get("eventPattern")) + str(one.get("pattern"))
        ]
        yield role, unless(rules, "can be used without anybody hearing of it")


@rule("events-arrive", "every event rule has a target that receives it", gdpr="33")
def targets(graph: Graph) -> Checked:
    for one in graph.of("aws:cloudwatch:EventRule"):
        yield (
            one,
            unless(
                graph.attached(one, "aws:cloudwatch:EventTarget", "rule"),
                "sends its events nowhere",
            ),
        )
