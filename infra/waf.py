"""The web firewall in front of the load balancer."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws.cloudwatch as cloudwatch
import pulumi_aws.wafv2 as wafv2

from infra.component import Component
from infra.config.model import InfraConfig

MANAGED_GROUPS = (
    "AWSManagedRulesAmazonIpReputationList",
    "AWSManagedRulesCommonRuleSet",
    "AWSManagedRulesKnownBadInputsRuleSet",
    "AWSManagedRulesSQLiRuleSet",
)
"""Groups that AWS maintains; together 1125 of the 1500 capacity units that cost nothing more."""
COUNTED = {"AWSManagedRulesCommonRuleSet": ("SizeRestrictions_BODY",)}
"""Rules that count and do not block: this one refuses every body over 8 KiB, so every upload.

The other rules look at the first 8 KiB of a body behind a load balancer; what follows is the
application's to judge.
"""


@dataclass(frozen=True)
class WafArgs:
    """The load balancer to protect, and the key of the log."""

    config: InfraConfig
    balancer_arn: pulumi.Input[str]
    logs_key_arn: pulumi.Input[str]


class Waf(Component[InfraConfig]):
    """Managed rules and a limit of requests from one address.

    Protects against: known attacks, injection, scanners, one address that floods. Its log holds
    client addresses, which AWS cannot redact: only what was blocked is logged, for at most 30 days,
    without cookies and credentials (an upload is counted, and no reason to keep an address);
    sampled requests are off. A body is looked at up to its first 8 KiB and never refused for its
    size.
    """

    area = "waf"

    def __init__(
        self, name: str, args: WafArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        config = self.config
        self.acl = wafv2.WebAcl(
            "web",
            scope="REGIONAL",
            default_action=wafv2.WebAclDefaultActionArgs(
                allow=wafv2.WebAclDefaultActionAllowArgs()
            ),
            rules=[
                *(_managed(group, place) for place, group in enumerate(MANAGED_GROUPS)),
                _limit(config.web.request_limit, len(MANAGED_GROUPS)),
            ],
            visibility_config=wafv2.WebAclVisibilityConfigArgs(
                cloudwatch_metrics_enabled=True, metric_name="web", sampled_requests_enabled=False
            ),
            tags=self.tags("web"),
            opts=self.child(),
        )
        association = wafv2.WebAclAssociation(
            "web", resource_arn=args.balancer_arn, web_acl_arn=self.acl.arn, opts=self.child()
        )
        log = cloudwatch.LogGroup(
            "waf-log",
            name=f"aws-waf-logs-art32-{config.stack}",  # AWS demands this prefix
            retention_in_days=config.log_days,
            kms_key_id=args.logs_key_arn,
            tags=self.tags("waf-log", personal_data=True, retention_days=config.log_days),
            opts=self.child(),
        )
        wafv2.WebAclLoggingConfiguration(
            "web",
            resource_arn=self.acl.arn,
            log_destination_configs=[log.arn],
            redacted_fields=[_header("authorization"), _header("cookie")],
            logging_filter=wafv2.WebAclLoggingConfigurationLoggingFilterArgs(
                default_behavior="DROP",
                filters=[
                    wafv2.WebAclLoggingConfigurationLoggingFilterFilterArgs(
                        behavior="KEEP",
                        requirement="MEETS_ANY",
                        conditions=[
                            wafv2.WebAclLoggingConfigurationLoggingFilterFilterConditionArgs(
                                action_condition=wafv2.WebAclLoggingConfigurationLoggingFilterFilterConditionActionConditionArgs(
                                    action="BLOCK"
                                )
                            )
                        ],
                    )
                ],
            ),
            opts=self.child(depends_on=[association]),
        )
        self.register_outputs({"acl": self.acl.arn})


def _visible(name: str) -> wafv2.WebAclRuleVisibilityConfigArgs:
    return wafv2.WebAclRuleVisibilityConfigArgs(
        cloudwatch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=False
    )


def _managed(group: str, priority: int) -> wafv2.WebAclRuleArgs:
    return wafv2.WebAclRuleArgs(
        name=group,
        priority=priority,
        override_action=wafv2.WebAclRuleOverrideActionArgs(
            none=wafv2.WebAclRuleOverrideActionNoneArgs()  # type: ignore[no-untyped-call]
        ),
        statement=wafv2.WebAclRuleStatementArgs(
            managed_rule_group_statement=wafv2.WebAclRuleStatementManagedRuleGroupStatementArgs(
                vendor_name="AWS",
                name=group,
                rule_action_overrides=[
                    wafv2.WebAclRuleStatementManagedRuleGroupStatementRuleActionOverrideArgs(
                        name=name,
                        action_to_use=wafv2.WebAclRuleStatementManagedRuleGroupStatementRuleActionOverrideActionToUseArgs(
                            count=wafv2.WebAclRuleStatementManagedRuleGroupStatementRuleActionOverrideActionToUseCountArgs()
                        ),
                    )
                    for name in COUNTED.get(group, ())
                ]
                or None,
            )
        ),
        visibility_config=_visible(group),
    )


def _limit(requests: int, priority: int) -> wafv2.WebAclRuleArgs:
    return wafv2.WebAclRuleArgs(
        name="rate",
        priority=priority,
        action=wafv2.WebAclRuleActionArgs(block=wafv2.WebAclRuleActionBlockArgs()),
        statement=wafv2.WebAclRuleStatementArgs(
            rate_based_statement=wafv2.WebAclRuleStatementRateBasedStatementArgs(
                aggregate_key_type="IP", limit=requests, evaluation_window_sec=300
            )
        ),
        visibility_config=_visible("rate"),
    )


def _header(name: str) -> wafv2.WebAclLoggingConfigurationRedactedFieldArgs:
    return wafv2.WebAclLoggingConfigurationRedactedFieldArgs(
        single_header=wafv2.WebAclLoggingConfigurationRedactedFieldSingleHeaderArgs(name=name)
    )
