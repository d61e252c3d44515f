"""MTA-STS: tells other mail servers to use TLS towards the company's own (RFC 8461)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pulumi
import pulumi_aws.lb as lb
import pulumi_aws.route53 as route53

from infra.certificate import validated
from infra.component import Component
from infra.config.model import InfraConfig
from infra.mail_records import DnsRecord, write


@dataclass(frozen=True)
class MtaStsArgs:
    """The load balancer that serves the policy."""

    config: InfraConfig
    listener_arn: pulumi.Input[str]
    balancer_name: pulumi.Input[str]
    balancer_zone_id: pulumi.Input[str]


class MtaSts(Component[InfraConfig]):
    """The policy as a fixed answer of the load balancer, and the records that announce it.

    Protects against: incoming mail that somebody on the way makes travel in the clear. It begins
    in mode `testing`: a wrong name in the policy is then reported, and no mail is refused.
    """

    area = "mail"

    def __init__(
        self, name: str, args: MtaStsArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        config, text = self.config, policy(self.config)
        host = f"mta-sts.{config.mail.domain}"
        zone = config.dns_zone_id or ""
        lb.ListenerCertificate(
            "mta-sts",
            listener_arn=args.listener_arn,
            certificate_arn=validated(self, "mta-sts", domain=host, zone_id=zone),
            opts=self.child(),
        )
        lb.ListenerRule(
            "mta-sts",
            listener_arn=args.listener_arn,
            priority=10,
            conditions=[
                lb.ListenerRuleConditionArgs(
                    host_header=lb.ListenerRuleConditionHostHeaderArgs(values=[host])
                ),
                lb.ListenerRuleConditionArgs(
                    path_pattern=lb.ListenerRuleConditionPathPatternArgs(
                        values=["/.well-known/mta-sts.txt"]
                    )
                ),
            ],
            actions=[
                lb.ListenerRuleActionArgs(
                    type="fixed-response",
                    fixed_response=lb.ListenerRuleActionFixedResponseArgs(
                        content_type="text/plain", message_body=text, status_code="200"
                    ),
                )
            ],
            tags=self.tags("mta-sts"),
            opts=self.child(),
        )
        route53.Record(
            "mta-sts",
            zone_id=zone,
            name=host,
            type="A",
            aliases=[
                route53.RecordAliasArgs(
                    name=args.balancer_name,
                    zone_id=args.balancer_zone_id,
                    evaluate_target_health=True,
                )
            ],
            opts=self.child(),
        )
        write(self, announcements(config))
        self.register_outputs({})


def policy(config: InfraConfig) -> str:
    """Return the policy's text; lines end as RFC 8461, section 3.2, wants them."""
    lines = [
        "version: STSv1",
        "mode: testing",
        *(f"mx: {name}" for name in config.mail.inbound_mx),
        "max_age: 86400",
    ]
    return "".join(f"{line}\r\n" for line in lines)


def announcements(config: InfraConfig) -> tuple[DnsRecord, ...]:
    """Return the records that announce the policy; the id changes with its text."""
    version = hashlib.sha256(policy(config).encode()).hexdigest()[:20]
    domain, reports = config.mail.domain, config.mail.dmarc_reports
    found = [DnsRecord("mta-sts-id", f"_mta-sts.{domain}", "TXT", [f"v=STSv1; id={version}"])]
    if reports is not None:
        value = f"v=TLSRPTv1; rua=mailto:{reports}"
        found.append(DnsRecord("tls-reports", f"_smtp._tls.{domain}", "TXT", [value]))
    return tuple(found)
