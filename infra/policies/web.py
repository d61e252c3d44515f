"""The load balancer and its firewall."""

from __future__ import annotations

import re

from infra.graph import Graph
from infra.policies.rule import Checked, ephemeral, rule, unless

_POLICY = re.compile(r"^ELBSecurityPolicy-TLS13-1-[23]-")
_MANAGED = (
    "AWSManagedRulesCommonRuleSet",
    "AWSManagedRulesKnownBadInputsRuleSet",
    "AWSManagedRulesSQLiRuleSet",
)


@rule(
    "site-speaks-tls",
    "the site answers by TLS 1.3 or 1.2 and redirects everything else",
    gdpr="32(1)(a)",
    fsbp="ELB.1 ELB.8 ELB.17",
)
def listeners(graph: Graph) -> Checked:
    for one in graph.of("aws:lb:Listener"):
        if one.get("protocol") == "HTTP":
            status = one.get("defaultActions.redirect.statusCode")
            scheme = one.get("defaultActions.redirect.protocol")
            yield (
                one,
                unless(
                    status in ("HTTP_301", "HTTP_308") and scheme == "HTTPS", "answers without TLS"
                ),
            )
        elif one.get("protocol") == "HTTPS":
            yield (
                one,
                unless(
                    _POLICY.match(str(one.get("sslPolicy"))), f"accepts `{one.get('sslPolicy')}`"
                ),
            )
            yield one, unless(one.get("certificateArn"), "has no certificate")


@rule(
    "site-passes-nothing-malformed",
    "malformed headers are dropped and ambiguous requests refused",
    gdpr="32",
    fsbp="ELB.4 ELB.12",
)
def headers(graph: Graph) -> Checked:
    for one in graph.of("aws:lb:LoadBalancer"):
        yield one, unless(one.get("dropInvalidHeaderFields") is True, "passes invalid headers on")
        mode = one.get("desyncMitigationMode", "defensive")
        yield one, unless(mode in ("defensive", "strictest"), "passes ambiguous requests on")


@rule("site-not-deleted-by-mistake", "the balancer refuses deletion", gdpr="32(1)(b)", fsbp="ELB.6")
def deletion(graph: Graph) -> Checked:
    for one in graph.of("aws:lb:LoadBalancer"):
        yield (
            one,
            unless(one.get("enableDeletionProtection") is True or ephemeral(one), "can be deleted"),
        )


@rule("requests-are-logged", "the balancer writes access logs", gdpr="33", fsbp="ELB.5")
def access_logs(graph: Graph) -> Checked:
    for one in graph.of("aws:lb:LoadBalancer"):
        yield one, unless(one.get("accessLogs.enabled") is True, "writes no access logs")


@rule(
    "balancer-spans-zones", "the balancer is in two zones at least", gdpr="32(1)(b)", fsbp="ELB.13"
)
def zones(graph: Graph) -> Checked:
    for one in graph.of("aws:lb:LoadBalancer"):
        found = {each.get("availabilityZone") for each in graph.targets(one, "subnets")}
        yield one, unless(len(found) > 1, "is in one zone only")


@rule(
    "site-has-a-firewall",
    "a web application firewall with managed groups and a rate limit is in front",
    gdpr="32",
    fsbp="ELB.16 WAF.10",
)
def firewall(graph: Graph) -> Checked:
    for one in graph.of("aws:lb:LoadBalancer"):
        found = graph.attached(one, "aws:wafv2:WebAclAssociation", "resourceArn")
        yield one, unless(found, "has no firewall")
    for one in graph.of("aws:wafv2:WebAcl"):
        text = str(one.get("rules")) + "".join(
            str(each.inputs) for each in graph.users(one, "aws:wafv2:WebAclRule")
        )
        missing = [name for name in _MANAGED if name not in text]
        yield one, unless(not missing, f"lacks {', '.join(missing)}")
        yield one, unless("rateBasedStatement" in text, "has no rate limit")


@rule(
    "uploads-pass",
    "the web firewall refuses no request for the size of its body",
    gdpr="32(1)(b)",
)
def uploads(graph: Graph) -> Checked:
    for one in graph.of("aws:wafv2:WebAcl"):
        for each in one.get("rules") or []:
            group = (each.get("statement") or {}).get("managedRuleGroupStatement") or {}
            if group.get("name") != "AWSManagedRulesCommonRuleSet":
                continue
            counted = [
                override
                for override in group.get("ruleActionOverrides") or []
                if override.get("name") == "SizeRestrictions_BODY"
                and "count" in (override.get("actionToUse") or {})
            ]
            yield one, unless(counted, "refuses every body over 8 KiB")


@rule(
    "firewall-keeps-no-samples",
    "the firewall shows no sampled requests and logs only what it stopped, without credentials",
    gdpr="5(1)(c) 25",
    fsbp="WAF.11",
)
def samples(graph: Graph) -> Checked:
    for one in graph.of("aws:wafv2:WebAcl"):
        configs = [one.get("visibilityConfig") or {}]
        configs += [each.get("visibilityConfig") or {} for each in one.get("rules", [])]
        shown = [each for each in configs if each.get("sampledRequestsEnabled") is not False]
        yield one, unless(not shown, "keeps samples of requests")
        logs = graph.attached(one, "aws:wafv2:WebAclLoggingConfiguration", "resourceArn")
        yield one, unless(logs, "does not say what it stopped")
    for one in graph.of("aws:wafv2:WebAclLoggingConfiguration"):
        redacted = str(one.get("redactedFields")).lower()
        missing = [name for name in ("authorization", "cookie") if name not in redacted]
        yield one, unless(not missing, f"logs {' and '.join(missing)}")
        drops = one.get("loggingFilter.defaultBehavior") == "DROP"
        yield one, unless(drops, "logs requests that it let through")
        for target in graph.targets(one, "logDestinationConfigs"):
            name = str(target.get("name") or target.get("bucket"))
            yield one, unless(name.startswith("aws-waf-logs-"), f"cannot log to `{name}`")
