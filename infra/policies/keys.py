"""Keys, topics and queues: who may use them, and on whose behalf."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from infra.authorization import Request, decide, listed, statements
from infra.graph import Graph, Resource
from infra.plausible import Plausible
from infra.policies.rule import Checked, ephemeral, rule, unless

_DAYS = 30
_POLICIES = {
    "aws:s3:BucketPolicy": "policy",
    "aws:sns:TopicPolicy": "policy",
    "aws:sqs:QueuePolicy": "policy",
    "aws:sns:Topic": "policy",
    "aws:sqs:Queue": "policy",
    "aws:kms:Key": "policy",
    "aws:iam:Role": "assumeRolePolicy",
    "aws:backup:VaultPolicy": "policy",
    "aws:secretsmanager:SecretPolicy": "policy",
    "aws:secretsmanager:Secret": "policy",
    "aws:cloudwatch:LogResourcePolicy": "policyDocument",
    "aws:lambda:Permission": "",
}
# services that act for one account only, so that no stranger can send them (EC2 and the like), or
# that say whom they act for by other keys
_OWN = {"ec2", "lambda", "logs"}
# EventBridge's guide: no conditions in policies of topics, and no source where it encrypts for them
_UNBOUND = {("aws:sns:TopicPolicy", "events"), ("aws:kms:Key", "events")}


def resource_policies(graph: Graph) -> Iterator[tuple[Resource, Mapping[str, Any]]]:
    """Yield every policy that says who may use a resource."""
    for kind, key in _POLICIES.items():
        for one in graph.of(kind):
            document = one.document(key) if key else None
            if isinstance(document, Mapping):
                yield one, document


@rule("keys-rotate", "keys are renewed every year", gdpr="32(1)(a)", fsbp="KMS.4", cis="3.6")
def rotation(graph: Graph) -> Checked:
    for one in graph.of("aws:kms:Key"):
        yield one, unless(one.get("enableKeyRotation") is True, "is never renewed")


@rule("keys-die-slowly", "a key's deletion can be called off", gdpr="32(1)(b)", fsbp="KMS.3")
def deletion(graph: Graph) -> Checked:
    for one in graph.of("aws:kms:Key"):
        days = int(one.get("deletionWindowInDays", _DAYS))
        yield (
            one,
            unless(days == _DAYS or ephemeral(one), f"is gone {days} days after its deletion"),
        )


@rule(
    "nobody-is-everybody",
    "no resource can be used by everybody",
    gdpr="25 32",
    fsbp="KMS.5 SNS.4 S3.2 SQS.3",
)
def everybody(graph: Graph) -> Checked:
    for one, document in resource_policies(graph):
        wide = [
            statement.get("Sid", "?")
            for statement in statements(document)
            if statement.get("Effect") == "Allow"
            and _is_everybody(statement.get("Principal"))
            and not statement.get("Condition")
        ]
        yield one, unless(not wide, f"can be used by everybody ({', '.join(wide)})")


def _is_everybody(principal: Any) -> bool:
    return principal == "*" or (
        isinstance(principal, Mapping) and "*" in listed(principal.get("AWS"))
    )


@rule(
    "services-act-for-us",
    "a service may act for our account only (confused deputy)",
    gdpr="32",
)
def deputies(graph: Graph) -> Checked:
    for one, document in resource_policies(graph):
        for statement in statements(document):
            principal = statement.get("Principal")
            if statement.get("Effect") != "Allow" or not isinstance(principal, Mapping):
                continue
            services = {
                str(name).split(".amazonaws")[0] for name in listed(principal.get("Service"))
            }
            services = {name for name in services if name.rsplit(".", 1)[0] not in _OWN}
            services = {name for name in services if (one.kind, name) not in _UNBOUND}
            if not services:
                continue
            keys = {
                key.lower()
                for condition in statement.get("Condition", {}).values()
                for key in condition
            }
            named, sid = ", ".join(sorted(services)), statement.get("Sid", "?")
            bound = keys & {"aws:sourcearn", "aws:sourceaccount", "aws:sourceorgid"}
            yield one, unless(bound, f"lets {named} act for anybody ({sid})")


@rule(
    "topics-encrypted",
    "messages are encrypted at rest, and the services that send them may use the key",
    gdpr="32(1)(a) 33",
    fsbp="SNS.1 SQS.1",
)
def topics(graph: Graph) -> Checked:
    plausible = Plausible(graph)
    for one in graph.of("aws:sns:Topic", "aws:sqs:Queue"):
        key = one.get("kmsMasterKeyId")
        sqs = one.kind == "aws:sqs:Queue" and one.get("sqsManagedSseEnabled")
        yield one, unless(key or sqs, "is not encrypted")
    for one, document in resource_policies(graph):
        if one.kind not in ("aws:sns:TopicPolicy", "aws:sns:Topic"):
            continue
        topic = graph.targets(one, "arn")[0] if one.kind.endswith("Policy") else one
        for key in graph.targets(topic, "kmsMasterKeyId"):
            policy = plausible.value(key.document("policy") or {})
            for service in _senders(document):
                asked = Request(
                    service,
                    "kms:GenerateDataKey",
                    "*",
                    {
                        "aws:SourceAccount": plausible.account,
                        "aws:SourceArn": f"arn:{plausible.partition}:{service.split('.')[0]}:"
                        f"{plausible.region}:{plausible.account}:x",
                        "kms:ViaService": f"sns.{plausible.region}.amazonaws.com",
                    },
                )
                yield (
                    topic,
                    unless(
                        decide(asked, resource=[policy]), f"silently loses what {service} sends"
                    ),
                )


def _senders(document: Mapping[str, Any]) -> set[str]:
    return {
        str(service)
        for statement in statements(document)
        if statement.get("Effect") == "Allow" and isinstance(statement.get("Principal"), Mapping)
        for service in listed(statement["Principal"].get("Service"))
    }


@rule("queues-lose-nothing", "what cannot be handled lands in a second queue", gdpr="32 33")
def dead_letters(graph: Graph) -> Checked:
    for one in graph.of("aws:sqs:Queue"):
        dead = graph.targets(one, "redrivePolicy") or any(
            one in graph.targets(other, "redrivePolicy") for other in graph.of("aws:sqs:Queue")
        )
        redrive = [
            each
            for each in graph.of("aws:sqs:RedrivePolicy")
            if one in graph.targets(each, "queueUrl", "redrivePolicy")
        ]
        yield one, unless(dead or redrive, "has no dead letter queue")
