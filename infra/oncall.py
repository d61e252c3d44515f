"""Who is told: one encrypted topic that alarms, events and budgets go to, and its subscriber."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws.sns as sns

from infra import naming
from infra.component import Component
from infra.config.model import InfraConfig
from infra.documents import allow, deny, document


@dataclass(frozen=True)
class OnCallArgs:
    """The key that messages are encrypted with."""

    config: InfraConfig
    logs_key_arn: pulumi.Input[str]


class OnCall(Component[InfraConfig]):
    """The topic, and a subscription by e-mail that a person must confirm.

    Protects against: an alarm that nobody hears. The topic's key lets the sending services use it:
    else an encrypted topic silently gets no alarm.
    """

    area = "oncall"

    def __init__(
        self, name: str, args: OnCallArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        config = self.config
        topic_name = naming.prefixed(config, "alarms")
        self.topic_arn = naming.arn(config, "sns", topic_name)
        topic = sns.Topic(
            "alarms",
            name=topic_name,
            kms_master_key_id=args.logs_key_arn,
            tags=self.tags("alarms"),
            opts=self.child(),
        )
        senders = ("cloudwatch", "backup", "budgets", "events.rds")
        sns.TopicPolicy(
            "alarms",
            arn=topic.arn,
            policy=document(
                allow(
                    "OwnServices",
                    "sns:Publish",
                    self.topic_arn,
                    principal={"Service": [naming.service(config, name) for name in senders]},
                    condition={"StringEquals": {"aws:SourceAccount": config.account_id}},
                ),
                # no condition: EventBridge's publications would be refused ("You can't use
                # Condition blocks in Amazon SNS topic policies for EventBridge", its user guide)
                allow(
                    "Events",
                    "sns:Publish",
                    self.topic_arn,
                    principal={"Service": naming.service(config, "events")},
                ),
                deny(
                    "TlsOnly",
                    "sns:Publish",
                    self.topic_arn,
                    principal="*",
                    condition={"Bool": {"aws:SecureTransport": "false"}},
                ),
            ),
            opts=self.child(),
        )
        sns.TopicSubscription(
            "alarms",
            topic=topic.arn,
            protocol="email",
            endpoint=config.alarm_email,
            opts=self.child(),
        )
        self.topic = topic
        self.register_outputs({"topic": topic.arn})
