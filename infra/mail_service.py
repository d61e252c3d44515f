"""Outgoing e-mail by Amazon SES."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws.iam as iam
import pulumi_aws.sesv2 as sesv2
import pulumi_aws.sns as sns
import pulumi_aws.sqs as sqs

from infra import naming
from infra.component import Component
from infra.config.model import InfraConfig
from infra.documents import allow, deny, document
from infra.mail_records import DnsRecord, dmarc, write

SELECTORS = 3
"""SES signs with three DKIM keys in turn and names a record for each."""


@dataclass(frozen=True)
class MailServiceArgs:
    """The key of the queues, and the role that sends."""

    config: InfraConfig
    logs_key_arn: pulumi.Input[str]
    web_role_id: pulumi.Input[str]


class MailService(Component[InfraConfig]):
    """A verified domain, TLS required, and a queue of what bounced or was complained about.

    Protects against: mail in the clear (refused), spoofing (DKIM, SPF by a MAIL FROM of the same
    domain, DMARC), a stolen webserver that sends as anybody (senders of the domain alone), and
    bounces that nobody processes (a queue that the application reads, an alarm when it does not,
    dead letters; both kept for days as they hold addresses).
    """

    area = "mail"

    def __init__(
        self, name: str, args: MailServiceArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        config, domain = self.config, self.config.mail.domain
        settings = sesv2.ConfigurationSet(
            "mail",
            configuration_set_name=naming.prefixed(config, "mail"),
            delivery_options=sesv2.ConfigurationSetDeliveryOptionsArgs(tls_policy="REQUIRE"),
            reputation_options=sesv2.ConfigurationSetReputationOptionsArgs(
                reputation_metrics_enabled=True
            ),
            sending_options=sesv2.ConfigurationSetSendingOptionsArgs(sending_enabled=True),
            suppression_options=sesv2.ConfigurationSetSuppressionOptionsArgs(
                suppressed_reasons=["BOUNCE", "COMPLAINT"]
            ),
            tags=self.tags("mail"),
            opts=self.child(),
        )
        identity = sesv2.EmailIdentity(
            "mail",
            email_identity=domain,
            configuration_set_name=settings.configuration_set_name,
            dkim_signing_attributes=sesv2.EmailIdentityDkimSigningAttributesArgs(
                next_signing_key_length="RSA_2048_BIT"
            ),
            tags=self.tags("mail"),
            opts=self.child(),
        )
        sesv2.EmailIdentityMailFromAttributes(
            "mail",
            email_identity=identity.email_identity,
            mail_from_domain=f"bounce.{domain}",
            behavior_on_mx_failure="REJECT_MESSAGE",
            opts=self.child(),
        )
        sesv2.EmailIdentityFeedbackAttributes(
            "mail",
            email_identity=identity.email_identity,
            email_forwarding_enabled=False,
            opts=self.child(),
        )
        self.feedback, self.failed = self._feedback(
            settings.configuration_set_name, args.logs_key_arn
        )
        iam.RolePolicy(
            "web-mail",
            role=args.web_role_id,
            policy=document(
                allow(
                    "SendAsOwnDomain",
                    ["ses:SendEmail", "ses:SendRawEmail"],
                    [identity.arn, settings.arn],
                    condition={"StringLike": {"ses:FromAddress": f"*@{domain}"}},
                ),
                allow(
                    "ReadFeedback",
                    [
                        "sqs:GetQueueUrl",
                        "sqs:GetQueueAttributes",
                        "sqs:ReceiveMessage",
                        "sqs:DeleteMessage",
                    ],
                    self.feedback.arn,
                ),
                allow(
                    "DecryptFeedback",
                    "kms:Decrypt",
                    args.logs_key_arn,
                    condition={"StringEquals": {"kms:ViaService": naming.endpoint(config, "sqs")}},
                ),
            ),
            opts=self.child(),
        )
        self.records = self._records(identity)
        write(self, self.records)
        self.register_outputs({"identity": identity.arn})

    def _feedback(
        self, settings_name: pulumi.Input[str], key_arn: pulumi.Input[str]
    ) -> tuple[sqs.Queue, sqs.Queue]:
        """Make the way of an event: SES to a topic, to a queue, and what fails to a second one.

        Return both queues. The application reads the first, as the web role: nothing here does.
        """
        config = self.config
        topic_arn = naming.arn(config, "sns", naming.prefixed(config, "mail-feedback"))
        queue_arn = naming.arn(config, "sqs", naming.prefixed(config, "mail-feedback"))
        topic = sns.Topic(
            "mail-feedback",
            name=naming.prefixed(config, "mail-feedback"),
            kms_master_key_id=key_arn,
            tags=self.tags("mail-feedback"),
            opts=self.child(),
        )
        policy = sns.TopicPolicy(
            "mail-feedback",
            arn=topic.arn,
            policy=document(
                allow(
                    "Ses",
                    "sns:Publish",
                    topic_arn,
                    principal={"Service": naming.service(config, "ses")},
                    condition={"StringEquals": {"aws:SourceAccount": config.account_id}},
                )
            ),
            opts=self.child(),
        )
        dead, queue = (
            sqs.Queue(
                purpose,
                name=naming.prefixed(config, purpose),
                kms_master_key_id=key_arn,
                message_retention_seconds=days * 86400,
                tags=self.tags(purpose, personal_data=True, retention_days=days),
                opts=self.child(),
            )
            for purpose, days in (("mail-feedback-failed", 14), ("mail-feedback", 7))
        )
        sqs.RedrivePolicy(
            "mail-feedback",
            queue_url=queue.id,
            redrive_policy=pulumi.Output.json_dumps(
                {"deadLetterTargetArn": dead.arn, "maxReceiveCount": 5}
            ),
            opts=self.child(),
        )
        sqs.QueuePolicy(
            "mail-feedback",
            queue_url=queue.id,
            policy=document(
                allow(
                    "Topic",
                    "sqs:SendMessage",
                    queue_arn,
                    principal={"Service": naming.service(config, "sns")},
                    condition={"ArnEquals": {"aws:SourceArn": topic_arn}},
                ),
                deny(
                    "TlsOnly",
                    "sqs:*",
                    queue_arn,
                    principal="*",
                    condition={"Bool": {"aws:SecureTransport": "false"}},
                ),
            ),
            opts=self.child(),
        )
        sns.TopicSubscription(
            "mail-feedback", topic=topic.arn, protocol="sqs", endpoint=queue.arn, opts=self.child()
        )
        sesv2.ConfigurationSetEventDestination(
            "mail-feedback",
            configuration_set_name=settings_name,
            event_destination_name="feedback",
            event_destination=sesv2.ConfigurationSetEventDestinationEventDestinationArgs(
                enabled=True,
                matching_event_types=[
                    "BOUNCE",
                    "COMPLAINT",
                    "REJECT",
                    "RENDERING_FAILURE",
                    "DELIVERY_DELAY",
                ],
                sns_destination=sesv2.ConfigurationSetEventDestinationEventDestinationSnsDestinationArgs(
                    topic_arn=topic.arn
                ),
            ),
            opts=self.child(depends_on=[policy]),
        )
        return queue, dead

    def _records(self, identity: sesv2.EmailIdentity) -> tuple[DnsRecord, ...]:
        config, domain = self.config, self.config.mail.domain
        tokens = identity.dkim_signing_attributes.apply(lambda found: found.tokens or [])
        dkim = tuple(
            DnsRecord(
                f"mail-dkim-{place}",
                pulumi.Output.concat(tokens[place], f"._domainkey.{domain}"),
                "CNAME",
                [pulumi.Output.concat(tokens[place], f".dkim.{_ses_suffix(config)}")],
            )
            for place in range(SELECTORS)
        )
        return (
            *dkim,
            DnsRecord(
                "mail-bounce-mx",
                f"bounce.{domain}",
                "MX",
                [f"10 feedback-smtp.{config.region}.{_ses_suffix(config)}"],
            ),
            DnsRecord(
                "mail-bounce-spf",
                f"bounce.{domain}",
                "TXT",
                [f"v=spf1 include:{_ses_suffix(config)} -all"],
            ),
            dmarc(config),
        )


def _ses_suffix(config: InfraConfig) -> str:
    """Return SES' own domain; outside of the commercial partition it is the partition's."""
    return "amazonses.com" if config.partition == "aws" else f"ses.{config.dns_suffix}"
