"""Alarms, events and the budget; each one names its runbook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws.budgets as budgets
import pulumi_aws.cloudwatch as cloudwatch

from infra import naming
from infra.alarm_rules import MetricAlarm, TrailAlarm, keeper_alarms, trail_alarms
from infra.component import Component
from infra.config.model import InfraConfig

_ENDED_BADLY = ["FAILED", "EXPIRED", "ABORTED", "PARTIAL"]


@dataclass(frozen=True)
class AlarmsArgs:
    """The trail's log group, the topic, and the alarms on services that exist."""

    config: InfraConfig
    trail_group_name: pulumi.Input[str]
    topic_arn: pulumi.Input[str]
    service_alarms: Sequence[MetricAlarm]


class Alarms(Component[InfraConfig]):
    """Everything that wakes somebody.

    Protects against: silence. What stops reporting is as loud as what reports a fault; what the
    agents provoke themselves (probes) is left out, so that nobody learns to ignore an alarm.
    """

    area = "alarms"

    def __init__(
        self, name: str, args: AlarmsArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        self.topic_arn = args.topic_arn
        config = self.config
        for rule in trail_alarms(config):
            self._on_trail(rule, args.trail_group_name)
        for alarm in (*keeper_alarms(config), *args.service_alarms):
            self._alarm(alarm)
        self._event(
            "intrusion",
            {"source": ["aws.guardduty"], "detail": {"severity": [{"numeric": [">=", 4]}]}},
            "host-compromised",
        )
        self._event(
            "break-glass",
            {
                "source": ["aws.sts"],
                "detail-type": ["AWS API Call via CloudTrail"],
                "detail": {
                    "eventName": ["AssumeRole"],
                    "requestParameters": {"roleArn": [naming.role_arn(config, "breakglass")]},
                },
            },
            "break-glass",
        )
        self._event(
            "snapshot-failed",
            {
                "source": ["aws.backup"],
                "detail-type": [
                    "Backup Job State Change",
                    "Copy Job State Change",
                    "Restore Job State Change",
                ],
                # jobs of backup and copy carry `state`, jobs of restore carry `status`
                "detail": {"$or": [{"state": _ENDED_BADLY}, {"status": _ENDED_BADLY}]},
            },
            "snapshot-restore",
        )
        self._event(
            "roll-out-failed",
            {
                "source": ["aws.ssm"],
                "detail-type": ["EC2 State Manager Association State Change"],
                "detail": {"status": ["Failed"]},
            },
            "updates-pending",
        )
        self._event(
            "run-failed",
            {
                "source": ["aws.ssm"],
                "detail-type": ["EC2 Command Status-change Notification"],
                "detail": {
                    "document-name": [naming.prefixed(config, "run")],
                    "status": ["Failed", "TimedOut"],
                },
            },
            "health-red",
        )
        self._event(
            "shared-outside",
            {
                "source": ["aws.access-analyzer"],
                "detail": {"status": ["ACTIVE"], "isPublic": [True]},
            },
            "personal-data-breach",
        )
        self._budget()
        self.register_outputs({})

    def _on_trail(self, rule: TrailAlarm, group: pulumi.Input[str]) -> None:
        space = f"Art32Trail/{self.config.stack}"
        cloudwatch.LogMetricFilter(
            rule.name,
            name=naming.prefixed(self.config, rule.name),
            log_group_name=group,
            pattern=rule.pattern.replace("amazonaws.com", self.config.dns_suffix),
            metric_transformation=cloudwatch.LogMetricFilterMetricTransformationArgs(
                name=rule.name, namespace=space, value=rule.value, default_value="0"
            ),
            opts=self.child(),
        )
        self._alarm(
            MetricAlarm(
                rule.name,
                space,
                rule.name,
                rule.runbook,
                rule.meaning,
                threshold=rule.threshold,
                statistic="Sum",
                period=rule.period,
            )
        )

    def _alarm(self, alarm: MetricAlarm) -> None:
        config = self.config
        dimensions: dict[str, pulumi.Input[str]] = {
            name: value if isinstance(value, pulumi.Output) else str(value)
            for name, value in alarm.dimensions.items()
        }
        cloudwatch.MetricAlarm(
            alarm.name,
            name=naming.prefixed(config, alarm.name),
            alarm_description=f"{alarm.meaning} | runbook: {alarm.runbook}",
            namespace=alarm.namespace,
            metric_name=alarm.metric,
            dimensions=dimensions or None,
            statistic=alarm.statistic,
            comparison_operator=alarm.comparison,
            threshold=alarm.threshold,
            period=alarm.period,
            evaluation_periods=alarm.periods,
            treat_missing_data=alarm.missing,
            alarm_actions=[self.topic_arn],
            ok_actions=[self.topic_arn],
            tags=self.tags(alarm.name, Runbook=alarm.runbook),
            opts=self.child(),
        )

    def _event(self, name: str, pattern: dict[str, object], runbook: str) -> None:
        rule = cloudwatch.EventRule(
            name,
            name=naming.prefixed(self.config, name),
            description=f"runbook: {runbook}",
            event_pattern=pulumi.Output.json_dumps(pattern),
            tags=self.tags(name, Runbook=runbook),
            opts=self.child(),
        )
        cloudwatch.EventTarget(
            name,
            rule=rule.name,
            arn=self.topic_arn,
            input_transformer=cloudwatch.EventTargetInputTransformerArgs(
                input_paths={"what": "$.detail-type", "when": "$.time"},
                input_template=f'"{name}: <what> at <when> | runbook: {runbook}"',
            ),
            opts=self.child(),
        )

    def _budget(self) -> None:
        config = self.config
        budgets.Budget(
            "monthly",
            name=naming.prefixed(config, "monthly"),
            budget_type="COST",
            limit_amount=str(config.monthly_budget),
            limit_unit="USD",
            time_unit="MONTHLY",
            notifications=[
                budgets.BudgetNotificationArgs(
                    comparison_operator="GREATER_THAN",
                    threshold=threshold,
                    threshold_type="PERCENTAGE",
                    notification_type=kind,
                    subscriber_sns_topic_arns=[self.topic_arn],
                )
                for threshold, kind in ((80, "ACTUAL"), (100, "FORECASTED"))
            ],
            tags=self.tags("monthly"),
            opts=self.child(),
        )
