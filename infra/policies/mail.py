"""Mail that leaves: signed, encrypted on its way, and bounces that somebody sees."""

from __future__ import annotations

import re

from infra.graph import Graph
from infra.policies.rule import Checked, rule, unless


@rule("mail-encrypted-on-its-way", "mail is sent by TLS or not at all", gdpr="32(1)(a)")
def tls(graph: Graph) -> Checked:
    for one in graph.of("aws:sesv2:ConfigurationSet"):
        policy = one.get("deliveryOptions.tlsPolicy")
        yield one, unless(policy == "REQUIRE", "sends in the clear when the other side is old")
        kept = one.get("suppressionOptions.suppressedReasons") or []
        yield one, unless({"BOUNCE", "COMPLAINT"} <= set(kept), "writes to who does not want it")


@rule("mail-signed", "mail is signed (DKIM, 2048 bits) and its sender's domain is ours", gdpr="32")
def signed(graph: Graph) -> Checked:
    for one in graph.of("aws:sesv2:EmailIdentity"):
        length = one.get("dkimSigningAttributes.nextSigningKeyLength")
        yield one, unless(length == "RSA_2048_BIT", "does not ask for a key of 2048 bits")
        yield one, unless(one.get("configurationSetName"), "has no configuration set by default")
        froms = graph.attached(one, "aws:sesv2:EmailIdentityMailFromAttributes", "emailIdentity")
        strict = [x for x in froms if x.get("behaviorOnMxFailure") == "REJECT_MESSAGE"]
        yield one, unless(strict, "falls back to a sender's domain that is not ours")


@rule("bounces-are-seen", "bounces and complaints go to a queue, not into a mailbox", gdpr="33 32")
def bounces(graph: Graph) -> Checked:
    for one in graph.of("aws:sesv2:EmailIdentity"):
        feedback = graph.attached(one, "aws:sesv2:EmailIdentityFeedbackAttributes", "emailIdentity")
        off = [x for x in feedback if x.get("emailForwardingEnabled") is False]
        yield one, unless(off, "mails bounces, addresses and all, to a mailbox")
    for one in graph.of("aws:sesv2:ConfigurationSet"):
        events = graph.attached(
            one, "aws:sesv2:ConfigurationSetEventDestination", "configurationSetName"
        )
        kinds = {
            kind
            for event in events
            for kind in event.get("eventDestination.matchingEventTypes") or []
            if event.get("eventDestination.enabled") is True
        }
        missing = {"BOUNCE", "COMPLAINT"} - kinds
        yield one, unless(not missing, f"hides {', '.join(sorted(missing))}")
    for one in graph.of("aws:sns:TopicSubscription"):
        for queue in graph.targets(one, "endpoint") if one.get("protocol") == "sqs" else []:
            alarms = [
                alarm
                for alarm in graph.attached(queue, "aws:cloudwatch:MetricAlarm", "dimensions")
                if alarm.get("metricName") == "ApproximateAgeOfOldestMessage"
            ]
            readers = [
                policy
                for policy in graph.of("aws:iam:RolePolicy")
                if queue in graph.targets(policy, "policy")
                and "sqs:ReceiveMessage" in str(policy.get("policy"))
            ]
            yield queue, unless(alarms, "can be left unread without anybody hearing of it")
            yield queue, unless(readers, "can be read by nobody")


@rule(
    "mail-domain-is-spoken-for",
    "the sending domain has SPF and DMARC records, and nothing touches the apex unasked",
    gdpr="32",
)
def records(graph: Graph) -> Checked:
    identities = graph.of("aws:sesv2:EmailIdentity")
    texts = {
        str(one.get("name")): " ".join(map(str, one.get("records") or []))
        for one in graph.of("aws:route53:Record")
        if one.get("type") == "TXT"
    }
    for one in identities:
        if not graph.of("aws:route53:Record"):
            continue  # the zone is somewhere else: the outputs say what to enter there
        domain = str(one.get("emailIdentity"))
        dmarc = texts.get(f"_dmarc.{domain}", "")
        yield one, unless(re.search(r"v=DMARC1;.*p=", dmarc), "has no DMARC record")
        froms = graph.attached(one, "aws:sesv2:EmailIdentityMailFromAttributes", "emailIdentity")
        for each in froms:
            spf = texts.get(str(each.get("mailFromDomain")), "")
            yield one, unless("v=spf1" in spf and "-all" in spf, "has no strict SPF record")
