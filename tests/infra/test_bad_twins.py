"""Each rule catches what it is for: a stack of ours with one thing spoilt.

A green report proves nothing without this. The good twin is the program's own stack, in which the
rule holds; the bad one differs in what the row says and in nothing else.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.graph import Graph, Resource
from infra.policies import all_rules
from infra.policies.rule import run
from tests.infra import cases

Change = Callable[[Graph], Graph]
MANAGED = cases.graph, ("standard", "rds", "ses", "none", "2", "1", "1", "lasting")
SERVERS = cases.graph, ("small", "server", "server", "volume", "3", "1", "0", "lasting")
TWO = cases.graph, ("standard", "rds", "ses", "none", "2", "2", "0", "lasting")
COPIES = cases.graph, ("ha", "rds", "ses", "none", "3", "1", "0", "lasting")


def find(graph: Graph, kind: str, name: str = "") -> Resource:
    return next(one for one in graph.of(f"aws:{kind}") if not name or one.name == name)


def placed(value: Any, path: list[str], new: Any) -> Any:
    """Return a value with what is at a path replaced; a list stands for its first element."""
    if not path:
        return new
    if isinstance(value, list):
        if path[0].isdigit():
            place = int(path[0])
            return [placed(x, path[1:], new) if i == place else x for i, x in enumerate(value)]
        return [placed(value[0] if value else {}, path, new), *value[1:]]
    return {**(value or {}), path[0]: placed((value or {}).get(path[0]), path[1:], new)}


def put(kind: str, path: str, new: Any, name: str = "") -> Change:
    def change(graph: Graph) -> Graph:
        one = find(graph, kind, name)
        return graph.with_changes(one.urn, inputs=placed(dict(one.inputs), path.split("."), new))

    return change


def field(kind: str, name: str = "", **changes: Any) -> Change:
    return lambda graph: graph.with_changes(find(graph, kind, name).urn, **changes)


def run_document(pattern: str | None) -> Change:
    def change(graph: Graph) -> Graph:
        one = find(graph, "ssm:Document", "run")
        content: Any = json.loads(json.dumps(one.document("content")))
        if pattern is None:
            del content["parameters"]["verb"]["allowedPattern"]
        else:
            content["parameters"]["verb"]["allowedPattern"] = pattern
        inputs = {**one.inputs, "content": json.dumps(content)}
        return graph.with_changes(one.urn, inputs=inputs)

    return change


def drop(kind: str, name: str = "") -> Change:
    def change(graph: Graph) -> Graph:
        gone = [one.urn for one in graph.of(f"aws:{kind}") if not name or one.name == name]
        assert gone
        return graph.without(*gone)

    return change


def add(kind: str, name: str, inputs: dict[str, Any], like: str = "") -> Change:
    """Add a resource; `like` is one whose provider and dependencies it takes."""

    def change(graph: Graph) -> Graph:
        package, module, what = f"aws:{kind}".split(":")
        model = find(graph, like) if like else graph.resources[-1]
        token = f"{package}:{module}/{what[0].lower()}{what[1:]}:{what}"
        urn = f"urn:pulumi:{graph.stack}::{graph.project}::{token}::{name}"
        made = Resource(urn, token, name, inputs=inputs, provider=model.provider, source="twin:1")
        resources = tuple(sorted((*graph.resources, made), key=lambda one: one.urn))
        return Graph(graph.project, graph.stack, resources, graph.outputs)

    return change


def statement(kind: str, name: str, key: str, **elements: Any) -> Change:
    """Add a statement to a policy."""

    def change(graph: Graph) -> Graph:
        one = find(graph, kind, name)
        document = one.document(key)
        more = {"Sid": "Twin", "Effect": "Allow", **elements}
        text = json.dumps({**document, "Statement": [*document["Statement"], more]})
        return graph.with_changes(one.urn, inputs={**one.inputs, key: text})

    return change


def without_statement(kind: str, name: str, key: str, sid: str) -> Change:
    def change(graph: Graph) -> Graph:
        one = find(graph, kind, name)
        document = one.document(key)
        kept = [each for each in document["Statement"] if each.get("Sid") != sid]
        assert len(kept) < len(document["Statement"]), sid
        text = json.dumps({**document, "Statement": kept})
        return graph.with_changes(one.urn, inputs={**one.inputs, key: text})

    return change


def unconditional(kind: str, name: str, key: str) -> Change:
    def change(graph: Graph) -> Graph:
        one = find(graph, kind, name)
        document = one.document(key)
        bare = [{k: v for k, v in x.items() if k != "Condition"} for x in document["Statement"]]
        text = json.dumps({**document, "Statement": bare})
        return graph.with_changes(one.urn, inputs={**one.inputs, key: text})

    return change


def both(*changes: Change) -> Change:
    def change(graph: Graph) -> Graph:
        for one in changes:
            graph = one(graph)
        return graph

    return change


def stack(**changes: Any) -> Change:
    return lambda graph: replace(graph, **changes)


def data(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def wide_route(graph: Graph) -> Graph:
    data_table = find(graph, "ec2:RouteTable", "data")
    route = find(graph, "ec2:Route", "private-nat")
    marker = f"@@{data_table.type}::{data_table.name}::id@@"
    more = {**route.inputs, "routeTableId": marker}
    return add("ec2:Route", "data-nat", more, "ec2:Route")(graph)


def public_machines(graph: Graph) -> Graph:
    public = find(graph, "ec2:Subnet", "public-a")
    group = find(graph, "autoscaling:Group", "keeper")
    marker = f"@@{public.type}::{public.name}::id@@"
    return graph.with_changes(
        group.urn,
        inputs={**group.inputs, "vpcZoneIdentifiers": [marker]},
        property_dependencies={},
    )


def detached(kind: str, name: str, key: str, new: Any) -> Change:
    """Replace an input and forget what it depended on."""
    return lambda graph: put(kind, key, new, name)(
        graph.with_changes(find(graph, kind, name).urn, property_dependencies={})
    )


def elsewhere(graph: Graph) -> Graph:
    provider = next(one for one in graph.resources if one.type == "pulumi:providers:aws")
    return graph.with_changes(provider.urn, inputs={**provider.inputs, "region": "us-east-1"})


def same_final_name(graph: Graph) -> Graph:
    for one in graph.of("aws:rds:Instance"):
        graph = graph.with_changes(
            one.urn, inputs={**one.inputs, "finalSnapshotIdentifier": "the-last-one"}
        )
    return graph


def silent(graph: Graph) -> Graph:
    one = next(
        one
        for one in graph.of("aws:cloudwatch:MetricAlarm")
        if "BackupAge" in str(one.get("metricName"))
    )
    return graph.with_changes(one.urn, inputs={**one.inputs, "treatMissingData": "missing"})


ANYBODY = {"AWS": "*"}
TRUST = {"Principal": ANYBODY, "Action": "sts:AssumeRole"}
INSTANCE, TEMPLATE, DATABASE = "ec2:Instance", "ec2:LaunchTemplate", "rds:Instance"
TOPIC = "@@aws:sns/topic:Topic::mail-feedback::arn@@"
Row = tuple[str, tuple[Any, Any], Change]
TWINS: list[Row] = [
    ("metadata-by-token-only", MANAGED, put(TEMPLATE, "metadataOptions.httpTokens", "optional")),
    (
        "metadata-by-token-only",
        MANAGED,
        put(TEMPLATE, "metadataOptions.httpPutResponseHopLimit", 2),
    ),
    ("no-public-address", SERVERS, put(INSTANCE, "associatePublicIpAddress", True)),
    ("disks-encrypted", SERVERS, put("ebs:Volume", "encrypted", False)),
    ("disks-encrypted", MANAGED, put(TEMPLATE, "blockDeviceMappings.ebs.encrypted", "false")),
    ("user-data-fits", MANAGED, put(TEMPLATE, "userData", data("x" * 17000))),
    ("image-pinned", MANAGED, put(TEMPLATE, "imageId", "resolve:ssm:/latest")),
    ("no-restart-by-user-data", SERVERS, field(INSTANCE, ignore_changes=())),
    ("termination-protected", SERVERS, put(INSTANCE, "disableApiTermination", False)),
    ("data-on-its-own-disk", SERVERS, drop("ec2:VolumeAttachment")),
    ("lost-machine-comes-back", MANAGED, put("autoscaling:Group", "minSize", 0, "keeper")),
    (
        "balanced-group-asks-the-balancer",
        MANAGED,
        put("autoscaling:Group", "healthCheckType", "EC2", "web"),
    ),
    ("maximum-is-reached", MANAGED, drop("autoscaling:Policy", "web")),
    ("volume-in-the-groups-zone", SERVERS, put("autoscaling:Group", "maxSize", 2, "web")),
    ("run-documents-take-no-shell", MANAGED, run_document(r"^.*$")),
    ("run-documents-take-no-shell", MANAGED, run_document(r"^[a-z ]+(/[a-z]+)?")),
    ("run-documents-take-no-shell", MANAGED, run_document(None)),
    (
        "patches-are-scanned-not-installed",
        MANAGED,
        put("ssm:Association", "parameters.Operation", "Install", "patch-scan"),
    ),
    (
        "releases-roll-out-one-by-one",
        MANAGED,
        put("ssm:Association", "maxConcurrency", "100%", "release"),
    ),
    ("no-door-on-the-host", MANAGED, put(TEMPLATE, "keyName", "admin")),
    ("no-door-on-the-host", MANAGED, put(TEMPLATE, "userData", data("apt-get install fail2ban"))),
    ("no-secret-in-state", MANAGED, put(DATABASE, "password", "correct horse battery")),
    ("no-secret-in-state", MANAGED, put(TEMPLATE, "userData", data("export TOKEN='s3cr3ts3cr3t'"))),
    ("no-secret-in-state", MANAGED, add("iam:AccessKey", "mail", {"user": "smtp"})),
    ("no-secret-in-state", MANAGED, stack(outputs={"url": "postgres://art32:horse@db/app"})),
    ("no-secret-in-state", MANAGED, stack(secret_outputs=("password",))),
    ("nothing-is-looked-up", MANAGED, stack(invokes=("aws:index/getRegion:getRegion",))),
    ("provider-is-named", MANAGED, field("s3:Bucket", provider="")),
    ("data-stays-in-the-eea", MANAGED, elsewhere),
    ("data-stays-in-the-eea", MANAGED, put("s3:Bucket", "region", "eu-west-2")),
    ("account-settings-stand-apart", MANAGED, add("guardduty:Detector", "d", {"enable": True})),
    ("one-engine-for-snapshots", MANAGED, add("dlm:LifecyclePolicy", "d", {"state": "ENABLED"})),
    (
        "vault-locked-not-for-ever",
        MANAGED,
        put("backup:VaultLockConfiguration", "changeableForDays", 3),
    ),
    (
        "vault-locked-not-for-ever",
        MANAGED,
        put("backup:VaultLockConfiguration", "maxRetentionDays", None),
    ),
    ("vault-locked-not-for-ever", MANAGED, drop("backup:VaultLockConfiguration")),
    (
        "vault-locked-not-for-ever",
        MANAGED,
        field("backup:VaultLockConfiguration", protect=True),
    ),
    ("vault-locked-not-for-ever", MANAGED, field("backup:VaultLockConfiguration", retain=False)),
    (
        "vault-opens-for-break-glass-alone",
        COPIES,
        without_statement(
            "backup:VaultPolicy", "snapshots-copy", "policy", "DeletionIsForBreakGlass"
        ),
    ),
    (
        "vault-opens-for-break-glass-alone",
        COPIES,
        without_statement("iam:RolePolicy", "breakglass", "policy", "LiftVaultLock"),
    ),
    ("snapshots-end", MANAGED, put("backup:Plan", "rules.lifecycle", None)),
    ("snapshots-end", COPIES, put("backup:Plan", "rules.copyActions.lifecycle", None)),
    ("data-is-in-a-plan", MANAGED, put(DATABASE, "tags.Art32Backup", "no")),
    ("restores-are-tested", MANAGED, drop("backup:RestoreTestingSelection")),
    ("database-encrypted", MANAGED, put(DATABASE, "storageEncrypted", False)),
    ("database-private", MANAGED, put(DATABASE, "publiclyAccessible", True)),
    ("database-not-deleted-by-mistake", MANAGED, put(DATABASE, "deletionProtection", False)),
    ("database-point-in-time", MANAGED, put(DATABASE, "backupRetentionPeriod", 1)),
    ("database-log-survives", MANAGED, put(DATABASE, "deleteAutomatedBackups", None)),
    ("database-final-snapshot", MANAGED, put(DATABASE, "skipFinalSnapshot", True)),
    ("database-snapshots-tagged", MANAGED, put(DATABASE, "copyTagsToSnapshot", None)),
    ("database-password-is-nobodys", MANAGED, put(DATABASE, "manageMasterUserPassword", None)),
    ("database-by-identity", MANAGED, put(DATABASE, "iamDatabaseAuthenticationEnabled", False)),
    ("database-tells", MANAGED, put(DATABASE, "enabledCloudwatchLogsExports", [])),
    ("database-patched", MANAGED, put(DATABASE, "autoMinorVersionUpgrade", False)),
    ("database-not-replaced-by-its-snapshot", MANAGED, field(DATABASE, ignore_changes=())),
    ("database-tls-only", MANAGED, put("rds:ParameterGroup", "parameters", [])),
    (
        "database-settles",
        MANAGED,
        put("rds:ParameterGroup", "parameters.applyMethod", "immediate"),
    ),
    ("final-snapshots-differ", TWO, same_final_name),
    ("bucket-never-public", MANAGED, put("s3:BucketPublicAccessBlock", "blockPublicPolicy", False)),
    (
        "bucket-versioned",
        MANAGED,
        put("s3:BucketVersioning", "versioningConfiguration.status", "Suspended"),
    ),
    ("bucket-encrypted", MANAGED, drop("s3:BucketServerSideEncryptionConfiguration")),
    (
        "bucket-tls-only",
        MANAGED,
        without_statement("s3:BucketPolicy", "backups", "policy", "TlsOnly"),
    ),
    (
        "bucket-owner-owns",
        MANAGED,
        put("s3:BucketOwnershipControls", "rule.objectOwnership", "ObjectWriter"),
    ),
    ("bucket-not-emptied-by-accident", MANAGED, put("s3:Bucket", "forceDestroy", True)),
    (
        "backups-locked",
        MANAGED,
        put("s3:BucketObjectLockConfiguration", "rule.defaultRetention.days", 7, "backups"),
    ),
    (
        "backups-locked",
        MANAGED,
        put(
            "s3:BucketObjectLockConfiguration",
            "rule.defaultRetention.mode",
            "COMPLIANCE",
            "backups",
        ),
    ),
    ("backups-locked", MANAGED, drop("s3:BucketObjectLockConfiguration", "backups")),
    (
        "current-backups-never-expire",
        MANAGED,
        put("s3:BucketLifecycleConfiguration", "rules.expiration", {"days": 30}, "backups"),
    ),
    (
        "current-backups-never-expire",
        MANAGED,
        put("s3:BucketLifecycleConfiguration", "rules", [], "backups"),
    ),
    (
        "backup-bucket-is-no-sink",
        MANAGED,
        put("cloudtrail:Trail", "s3BucketName", "@@aws:s3/bucket:Bucket::backups::id@@"),
    ),
    (
        "nobody-may-do-everything",
        MANAGED,
        statement("iam:RolePolicy", "web", "policy", Action="s3:*", Resource="x"),
    ),
    (
        "nobody-may-do-everything",
        MANAGED,
        statement("iam:RolePolicy", "web", "policy", NotAction="iam:*", Resource="x"),
    ),
    (
        "who-writes-may-not-star-resources",
        MANAGED,
        statement("iam:RolePolicy", "web", "policy", Action="kms:Decrypt", Resource="*"),
    ),
    ("no-password-identities", MANAGED, add("iam:User", "smtp", {"name": "smtp"})),
    (
        "hosts-only-write",
        MANAGED,
        both(
            statement("iam:RolePolicy", "web", "policy", Action="s3:GetObject", Resource="*"),
            without_statement("s3:BucketPolicy", "backups", "policy", "WritersOnlyWrite"),
        ),
    ),
    (
        "erasing-is-rare",
        MANAGED,
        statement("iam:RolePolicy", "restorer", "policy", Action="s3:DeleteObject", Resource="x"),
    ),
    (
        "erasing-is-rare",
        MANAGED,
        statement(
            "iam:RolePolicy",
            "keeper",
            "policy",
            Action="s3:BypassGovernanceRetention",
            Resource="x",
        ),
    ),
    (
        "break-glass-needs-a-second-factor",
        MANAGED,
        unconditional("iam:Role", "breakglass", "assumeRolePolicy"),
    ),
    ("roles-are-for-one", MANAGED, statement("iam:Role", "web", "assumeRolePolicy", **TRUST)),
    ("keys-rotate", MANAGED, put("kms:Key", "enableKeyRotation", False)),
    ("keys-die-slowly", MANAGED, put("kms:Key", "deletionWindowInDays", 7)),
    (
        "nobody-is-everybody",
        MANAGED,
        statement("kms:Key", "data", "policy", Action="kms:Decrypt", Principal="*", Resource="*"),
    ),
    ("services-act-for-us", MANAGED, unconditional("sns:TopicPolicy", "mail-feedback", "policy")),
    ("topics-encrypted", MANAGED, put("sns:Topic", "kmsMasterKeyId", None)),
    ("topics-encrypted", MANAGED, without_statement("kms:Key", "logs", "policy", "Messages")),
    ("queues-lose-nothing", MANAGED, drop("sqs:RedrivePolicy")),
    (
        "mail-encrypted-on-its-way",
        MANAGED,
        put("sesv2:ConfigurationSet", "deliveryOptions.tlsPolicy", "OPTIONAL"),
    ),
    (
        "mail-signed",
        MANAGED,
        put("sesv2:EmailIdentity", "dkimSigningAttributes.nextSigningKeyLength", "RSA_1024_BIT"),
    ),
    (
        "mail-signed",
        MANAGED,
        put("sesv2:EmailIdentityMailFromAttributes", "behaviorOnMxFailure", "USE_DEFAULT_VALUE"),
    ),
    (
        "bounces-are-seen",
        MANAGED,
        put("sesv2:EmailIdentityFeedbackAttributes", "emailForwardingEnabled", True),
    ),
    (
        "bounces-are-seen",
        MANAGED,
        put(
            "sesv2:ConfigurationSetEventDestination",
            "eventDestination.matchingEventTypes",
            ["BOUNCE"],
        ),
    ),
    ("bounces-are-seen", MANAGED, drop("cloudwatch:MetricAlarm", "mail-feedback-unread")),
    (
        "bounces-are-seen",
        MANAGED,
        without_statement("iam:RolePolicy", "web-mail", "policy", "ReadFeedback"),
    ),
    ("mail-domain-is-spoken-for", MANAGED, drop("route53:Record", "mail-dmarc")),
    ("rules-stand-alone", MANAGED, put("ec2:SecurityGroup", "ingress", [{"fromPort": 22}])),
    (
        "open-to-the-world",
        MANAGED,
        put("vpc:SecurityGroupIngressRule", "cidrIpv4", "0.0.0.0/0", "web-db-5432"),
    ),
    (
        "open-to-the-world",
        MANAGED,
        put("vpc:SecurityGroupIngressRule", "fromPort", 22, "internet-alb-443"),
    ),
    (
        "group-to-group",
        MANAGED,
        put("vpc:SecurityGroupIngressRule", "cidrIpv4", "203.0.113.7/32", "web-db-5432"),
    ),
    ("egress-is-named", MANAGED, put("vpc:SecurityGroupEgressRule", "ipProtocol", "-1")),
    ("egress-is-named", MANAGED, put("vpc:SecurityGroupEgressRule", "toPort", 65535)),
    ("rules-say-why", MANAGED, put("vpc:SecurityGroupIngressRule", "description", None)),
    ("defaults-emptied", MANAGED, drop("ec2:DefaultSecurityGroup")),
    ("defaults-emptied", MANAGED, put("ec2:DefaultNetworkAcl", "ingress", [{"action": "allow"}])),
    ("acl-for-each-tier", MANAGED, put("ec2:NetworkAclRule", "protocol", "-1")),
    ("acl-for-each-tier", MANAGED, detached("ec2:NetworkAcl", "data", "subnetIds", [])),
    ("no-public-subnet-for-machines", MANAGED, put("ec2:Subnet", "mapPublicIpOnLaunch", True)),
    ("no-public-subnet-for-machines", MANAGED, public_machines),
    ("data-tier-has-no-way-out", MANAGED, wide_route),
    ("flow-logs", MANAGED, drop("ec2:FlowLog")),
    ("endpoints-only-for-us", MANAGED, put("ec2:VpcEndpoint", "policy", None)),
    ("endpoints-only-for-us", MANAGED, unconditional("ec2:VpcEndpoint", "s3", "policy")),
    (
        "endpoint-reaches-amazons-own-buckets",
        MANAGED,
        put("ec2:VpcEndpoint", "policy", json.dumps({"Statement": []}), "s3"),
    ),
    ("data-is-protected", MANAGED, field("s3:Bucket", protect=False)),
    ("data-is-protected", MANAGED, field(DATABASE, retain=False)),
    ("personal-data-is-named", MANAGED, put(DATABASE, "tags.RetentionDays", None)),
    ("logs-end", MANAGED, put("cloudwatch:LogGroup", "retentionInDays", None, "waf-log")),
    ("logs-end", MANAGED, put("cloudwatch:LogGroup", "retentionInDays", 365, "waf-log")),
    ("logs-encrypted", MANAGED, put("cloudwatch:LogGroup", "kmsKeyId", None)),
    (
        "sinks-of-addresses-end",
        MANAGED,
        add("s3:Bucket", "alb-logs", {"tags": {"PersonalData": "yes", "RetentionDays": "400"}}),
    ),
    ("trail-cannot-be-cut", MANAGED, put("cloudtrail:Trail", "enableLogFileValidation", False)),
    ("trail-cannot-be-cut", MANAGED, put("cloudtrail:Trail", "isMultiRegionTrail", False)),
    ("writers-wait-for-the-policy", MANAGED, field("cloudtrail:Trail", dependencies=())),
    ("backup-access-is-recorded", MANAGED, put("cloudtrail:Trail", "advancedEventSelectors", [])),
    ("alarms-reach-people", MANAGED, drop("sns:TopicSubscription")),
    (
        "alarms-name-their-runbook",
        MANAGED,
        put("cloudwatch:MetricAlarm", "alarmDescription", "too old"),
    ),
    ("silence-is-an-alarm", MANAGED, silent),
    (
        "break-glass-is-alarmed",
        MANAGED,
        both(drop("cloudwatch:EventRule"), drop("cloudwatch:LogMetricFilter")),
    ),
    ("events-arrive", MANAGED, drop("cloudwatch:EventTarget")),
    (
        "site-speaks-tls",
        MANAGED,
        put("lb:Listener", "sslPolicy", "ELBSecurityPolicy-2016-08", "https"),
    ),
    ("site-speaks-tls", MANAGED, put("lb:Listener", "defaultActions.redirect", None, "http")),
    (
        "site-passes-nothing-malformed",
        MANAGED,
        put("lb:LoadBalancer", "dropInvalidHeaderFields", None),
    ),
    (
        "site-not-deleted-by-mistake",
        MANAGED,
        put("lb:LoadBalancer", "enableDeletionProtection", None),
    ),
    (
        "balancer-spans-zones",
        MANAGED,
        detached("lb:LoadBalancer", "web", "subnets", ["@@aws:ec2/subnet:Subnet::public-a::id@@"]),
    ),
    ("site-has-a-firewall", MANAGED, drop("wafv2:WebAclAssociation")),
    ("site-has-a-firewall", MANAGED, put("wafv2:WebAcl", "rules", [])),
    (
        "uploads-pass",
        MANAGED,
        put("wafv2:WebAcl", "rules.1.statement.managedRuleGroupStatement.ruleActionOverrides", []),
    ),
    (
        "firewall-keeps-no-samples",
        MANAGED,
        put("wafv2:WebAcl", "visibilityConfig.sampledRequestsEnabled", True),
    ),
    (
        "firewall-keeps-no-samples",
        MANAGED,
        put("wafv2:WebAclLoggingConfiguration", "redactedFields", []),
    ),
]


def problems(graph: Graph, identifier: str) -> set[tuple[str, str]]:
    found = run(graph, [all_rules()[identifier]])
    return {(one.resource.urn, one.problem) for one in found if one.problem}


@pytest.mark.parametrize(
    "number", range(len(TWINS)), ids=[f"{number}-{row[0]}" for number, row in enumerate(TWINS)]
)
def test_a_rule_catches_its_bad_twin(number: int) -> None:
    identifier, (build, case), change = TWINS[number]
    good = build(case)
    bad = change(good)
    assert bad != good
    assert problems(bad, identifier) - problems(good, identifier)


def test_requests_that_are_logged_are_no_problem() -> None:
    """The one rule that our own stack breaks, with a reason, so its good twin is the made one."""
    bad = cases.graph(MANAGED[1])
    good = put("lb:LoadBalancer", "accessLogs", {"enabled": True, "bucket": "logs"})(bad)
    assert problems(bad, "requests-are-logged")
    assert not problems(good, "requests-are-logged")


def test_the_page_about_the_rules_names_rules_that_exist() -> None:
    page = (Path(__file__).parents[2] / "infra" / "policies" / "README.md").read_text()
    named = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", page))
    assert len(named) > 50
    assert named - set(all_rules()) == set()


def test_every_rule_has_a_bad_twin() -> None:
    assert {row[0] for row in TWINS} | {"requests-are-logged"} == set(all_rules())
