"""The managed database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from infra.graph import Graph, Resource
from infra.policies.rule import Checked, ephemeral, rule, unless

_DATABASE = "aws:rds:Instance"
_AT_REBOOT = "pending-reboot"


def _switch(
    identifier: str,
    title: str,
    key: str,
    holds: Callable[[Resource, Any], object],
    problem: str,
    **controls: str,
) -> None:
    """Make a rule of one property of every database."""

    def check(graph: Graph) -> Checked:
        for one in graph.of(_DATABASE):
            yield one, unless(holds(one, one.get(key)), problem)

    check.__module__ = __name__
    rule(identifier, title, **controls)(check)


def _is(wanted: object) -> Callable[[Resource, Any], object]:
    return lambda _, value: value == wanted


_switch(
    "database-encrypted",
    "the database is encrypted at rest",
    "storageEncrypted",
    _is(True),
    "is not encrypted",
    gdpr="32(1)(a)",
    fsbp="RDS.3",
    cis="2.3.1",
)
_switch(
    "database-private",
    "the database has no public address",
    "publiclyAccessible",
    _is(False),
    "has a public address",
    gdpr="32",
    fsbp="RDS.2",
    cis="2.3.3",
)
_switch(
    "database-not-deleted-by-mistake",
    "the database refuses to be deleted",
    "deletionProtection",
    lambda one, value: value is True or ephemeral(one),
    "can be deleted",
    gdpr="32(1)(b)",
    fsbp="RDS.8",
)
_switch(
    "database-point-in-time",
    "the database can be brought back to any second of at least a week",
    "backupRetentionPeriod",
    lambda one, value: int(value or 0) >= (1 if ephemeral(one) else 7),
    "keeps too few days of its log",
    gdpr="32(1)(c)",
    fsbp="RDS.11",
)
_switch(
    "database-log-survives",
    "the database's automated backups outlive the database",
    "deleteAutomatedBackups",
    lambda one, value: value is False or ephemeral(one),
    "takes its point-in-time backups along when it goes",
    gdpr="32(1)(c)",
)
_switch(
    "database-final-snapshot",
    "a deleted database leaves a snapshot",
    "skipFinalSnapshot",
    lambda one, value: ephemeral(one) or (not value and one.get("finalSnapshotIdentifier")),
    "leaves no snapshot",
    gdpr="32(1)(c)",
)
_switch(
    "database-snapshots-tagged",
    "snapshots carry the tags by which they are found",
    "copyTagsToSnapshot",
    _is(True),
    "makes snapshots without tags",
    gdpr="32(1)(c)",
    fsbp="RDS.16 RDS.17",
)
_switch(
    "database-password-is-nobodys",
    "the master password is made and kept by AWS and never in our state",
    "manageMasterUserPassword",
    lambda one, value: value is True and not one.get("password") and not one.get("passwordWo"),
    "has a password in the program",
    gdpr="32",
    fsbp="SecretsManager.1",
)
_switch(
    "database-by-identity",
    "machines log in with their identity, not with a password",
    "iamDatabaseAuthenticationEnabled",
    _is(True),
    "knows passwords only",
    gdpr="32",
    fsbp="RDS.10",
)
_switch(
    "database-tells",
    "the database's log can be read outside of it",
    "enabledCloudwatchLogsExports",
    lambda _, value: "postgresql" in (value or []),
    "keeps its log to itself",
    gdpr="32 33",
    fsbp="RDS.9 RDS.36",
)
_switch(
    "database-patched",
    "minor versions come by themselves",
    "autoMinorVersionUpgrade",
    _is(True),
    "waits for a person to patch it",
    gdpr="32",
    fsbp="RDS.13",
    cis="2.3.2",
)
_switch(
    "database-not-replaced-by-its-snapshot",
    "the snapshot that a database came from does not replace it later",
    "identifier",
    lambda one, _: "snapshotIdentifier" in one.ignore_changes,
    "is replaced when the name of its snapshot changes",
    gdpr="32(1)(b)",
)


@rule(
    "database-settles",
    "a preview of an unchanged database changes nothing: a diff that is always there hides another",
    gdpr="32",
)
def settled(graph: Graph) -> Checked:
    for one in graph.of("aws:rds:ParameterGroup"):
        for each in one.get("parameters", []):
            late = each.get("name") != "rds.force_ssl" or each.get("applyMethod") == _AT_REBOOT
            yield one, unless(late, f"changes `{each.get('name')}` in every preview")


@rule("database-tls-only", "the database refuses unencrypted connections", gdpr="32(1)(a)")
def forced_tls(graph: Graph) -> Checked:
    for one in graph.of(_DATABASE):
        values = {
            each.get("name"): str(each.get("value"))
            for group in graph.targets(one, "parameterGroupName")
            for each in group.get("parameters", [])
        }
        yield one, unless(values.get("rds.force_ssl") == "1", "answers without TLS")


@rule("final-snapshots-differ", "no two databases leave a snapshot of one name", gdpr="32(1)(c)")
def final_names(graph: Graph) -> Checked:
    names = [one.get("finalSnapshotIdentifier") for one in graph.of(_DATABASE)]
    for one in graph.of(_DATABASE):
        name = one.get("finalSnapshotIdentifier")
        yield one, unless(not name or names.count(name) == 1, f"would leave `{name}` like another")
