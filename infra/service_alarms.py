"""Alarms on the services of a stack, from the resources that exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pulumi
import pulumi_aws.rds as rds

from infra.alarm_rules import DAY, GIBIBYTE, MetricAlarm
from infra.config.model import InfraConfig


def web_alarms(balancer: pulumi.Output[str], group: pulumi.Output[str]) -> Iterator[MetricAlarm]:
    """Yield the alarms on the load balancer, named by the suffixes of the two ARNs."""
    space = "AWS/ApplicationELB"
    dimensions = {"LoadBalancer": balancer, "TargetGroup": group}
    yield MetricAlarm(
        "web-unhealthy",
        space,
        "UnHealthyHostCount",
        "web-host-lost",
        "a webserver does not answer",
        threshold=1,
        period=60,
        periods=5,
        dimensions=dimensions,
    )
    yield MetricAlarm(
        "web-none",
        space,
        "HealthyHostCount",
        "web-host-lost",
        "no webserver answers",
        threshold=1,
        comparison="LessThanThreshold",
        period=60,
        periods=3,
        missing="breaching",
        dimensions=dimensions,
    )
    yield MetricAlarm(
        "web-errors",
        space,
        "HTTPCode_Target_5XX_Count",
        "web-host-lost",
        "the site answers with errors",
        threshold=50,
        statistic="Sum",
        dimensions=dimensions,
    )


def database_alarms(
    config: InfraConfig, instances: Mapping[str, rds.Instance]
) -> Iterator[MetricAlarm]:
    """Yield the alarms on each generation of the managed database."""
    for generation, instance in instances.items():
        dimensions = {"DBInstanceIdentifier": instance.identifier}
        yield MetricAlarm(
            f"db-{generation}-disk",
            "AWS/RDS",
            "FreeStorageSpace",
            "disk-full",
            "the database's disk is nearly full and does not grow",
            threshold=float(config.db.storage * GIBIBYTE // 10),
            statistic="Minimum",
            comparison="LessThanThreshold",
            dimensions=dimensions,
        )
        yield MetricAlarm(
            f"db-{generation}-load",
            "AWS/RDS",
            "CPUUtilization",
            "database-host-lost",
            "the database is at its limit",
            threshold=95,
            statistic="Average",
            periods=6,
            missing="breaching",
            dimensions=dimensions,
        )


def machine_alarm(name: str, instance_id: pulumi.Output[str], runbook: str) -> MetricAlarm:
    """Return the alarm on a machine that its host has lost or that hangs."""
    return MetricAlarm(
        f"{name}-down",
        "AWS/EC2",
        "StatusCheckFailed",
        runbook,
        f"the machine `{name}` does not answer",
        threshold=1,
        period=60,
        periods=3,
        missing="breaching",
        dimensions={"InstanceId": instance_id},
    )


def mail_alarms(
    queue: pulumi.Output[str], failed_queue: pulumi.Output[str]
) -> Iterator[MetricAlarm]:
    """Yield the alarms on Amazon's e-mail service, at the rates where AWS begins to look."""
    yield MetricAlarm(
        "mail-bounces",
        "AWS/SES",
        "Reputation.BounceRate",
        "mail-stuck",
        "more than 5 of 100 mails bounce: AWS stops the sending at 10",
        threshold=0.05,
        period=3600,
    )
    yield MetricAlarm(
        "mail-complaints",
        "AWS/SES",
        "Reputation.ComplaintRate",
        "mail-stuck",
        "more than 1 of 1000 recipients complain",
        threshold=0.001,
        period=3600,
    )
    yield MetricAlarm(
        "mail-feedback-unread",
        "AWS/SQS",
        "ApproximateAgeOfOldestMessage",
        "mail-stuck",
        "nobody has read a bounce or complaint for a day; after seven it is gone",
        threshold=DAY,
        dimensions={"QueueName": queue},
    )
    yield MetricAlarm(
        "mail-feedback-failed",
        "AWS/SQS",
        "ApproximateNumberOfMessagesVisible",
        "mail-stuck",
        "bounces and complaints cannot be processed",
        threshold=1,
        dimensions={"QueueName": failed_queue},
    )
