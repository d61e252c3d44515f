"""Snapshots: one engine, a vault that is locked but not for ever, copies, tests of restores."""

from __future__ import annotations

from infra.authorization import Request, decide
from infra.graph import Graph
from infra.plausible import Plausible
from infra.policies.identity import EVERYTHING, duty, policies
from infra.policies.rule import Checked, ephemeral, rule, unless
from infra.policies.stack import inside_eea

_PLAN = "aws:backup:Plan"


@rule(
    "one-engine-for-snapshots",
    "snapshots have one engine, one retention and one erasure window",
    gdpr="5(1)(e) 17",
)
def one_engine(graph: Graph) -> Checked:
    for one in graph.of("aws:dlm:LifecyclePolicy", "aws:ebs:Snapshot", "aws:rds:Snapshot", _PLAN):
        yield one, unless(one.kind == _PLAN, "is a second engine beside AWS Backup")


@rule(
    "vault-locked-not-for-ever",
    "snapshots are locked, and a lock that nobody can lift is not set by accident",
    gdpr="32(1)(c) 5(1)(e) 17",
    fsbp="Backup.1",
)
def vault(graph: Graph) -> Checked:
    for one in graph.of("aws:backup:Vault"):
        yield one, unless(one.get("kmsKeyArn"), "is not encrypted with our key")
        locks = graph.attached(one, "aws:backup:VaultLockConfiguration", "backupVaultName")
        yield one, unless(locks or ephemeral(one), "is not locked")
        yield one, unless(not one.get("forceDestroy") or ephemeral(one), "is emptied when deleted")
    for one in graph.of("aws:backup:VaultLockConfiguration"):
        # with this key the lock is COMPLIANCE after the grace time, and irreversible
        yield one, unless(not one.get("changeableForDays"), "can never be lifted again")
        yield one, unless(one.get("maxRetentionDays"), "lets a snapshot be kept for ever")
        yield one, unless(one.get("minRetentionDays"), "lets a snapshot be deleted at once")
        # the provider replaces it for another retention: put again, and the old one not deleted
        yield one, unless(not one.protect, "refuses another retention")
        yield one, unless(one.retain, "is taken off for another retention")


_UNLOCKING = (
    "backup:DeleteRecoveryPoint",
    "backup:DeleteBackupVaultLockConfiguration",
    "backup:DeleteBackupVaultAccessPolicy",
)
_TO_DELETE = (
    "backup:ListRecoveryPointsByBackupVault",
    "backup:DeleteBackupVaultLockConfiguration",
    "backup:PutBackupVaultLockConfiguration",
)


@rule(
    "vault-opens-for-break-glass-alone",
    "break-glass can delete a locked snapshot, and an administrator cannot",
    gdpr="17 32(1)(b)",
)
def break_glass(graph: Graph) -> Checked:
    plausible = Plausible(graph)
    root = f"arn:{plausible.partition}:iam::{plausible.account}:role/"
    glass = next((one for one in graph.of("aws:iam:Role") if duty(one) == "breakglass"), None)
    rights = [plausible.value(one) for one in policies(graph, glass)] if glass else []
    for one in graph.of("aws:backup:Vault"):
        if ephemeral(one):
            continue
        own = [
            plausible.value(policy.document("policy"))
            for policy in graph.attached(one, "aws:backup:VaultPolicy", "backupVaultName")
        ]
        provider = graph.by_urn.get(one.provider)
        region = (provider and provider.get("region")) or plausible.region
        arn = f"arn:{plausible.partition}:backup:{region}:{plausible.account}:backup-vault:"
        arn += str(one.get("name"))
        anybody = [
            action
            for action in _UNLOCKING
            if decide(Request(f"{root}admin", action, arn, {}), identity=[EVERYTHING], resource=own)
        ]
        yield one, unless(not anybody, f"lets any administrator {', '.join(anybody)}")
        if glass is not None:
            principal = root + str(glass.get("name"))
            missing = [
                action
                for action in _TO_DELETE
                if not decide(Request(principal, action, arn, {}), identity=rights, resource=own)
            ]
            yield one, unless(not missing, f"lets break-glass not {', '.join(missing)}")


@rule("snapshots-end", "every snapshot ends, and its copy is in the EEA", gdpr="5(1)(e) 44")
def plans(graph: Graph) -> Checked:
    for one in graph.of(_PLAN):
        for each in one.get("rules", []):
            ends = (each.get("lifecycle") or {}).get("deleteAfter")
            yield one, unless(ends, f"keeps what rule `{each.get('ruleName')}` makes for ever")
            for copy in each.get("copyActions") or []:
                kept = (copy.get("lifecycle") or {}).get("deleteAfter")
                yield one, unless(kept, "keeps copies for ever")
        for vault in graph.targets(one, "rules"):
            provider = graph.by_urn.get(vault.provider)
            where = vault.get("region") or (provider and provider.get("region"))
            yield one, unless(not where or inside_eea(where), f"copies to {where}")


@rule(
    "data-is-in-a-plan",
    "everything that holds live data is snapshotted every day",
    gdpr="32(1)(b) 32(1)(c)",
    fsbp="RDS.26 EC2.28",
)
def selected(graph: Graph) -> Checked:
    wanted: set[tuple[str, str]] = set()
    named: set[str] = set()
    for one in graph.of("aws:backup:Selection"):
        for tag in one.get("selectionTags") or []:
            wanted.add((str(tag.get("key")), str(tag.get("value"))))
        for condition in one.get("conditions") or []:
            for tag in condition.get("stringEquals") or []:
                wanted.add((str(tag.get("key")).removeprefix("aws:ResourceTag/"), tag.get("value")))
        named |= {target.urn for target in graph.targets(one, "resources")}
    for one in graph.of("aws:ebs:Volume", "aws:rds:Instance"):
        tags = set((one.get("tags") or {}).items())
        yield one, unless(tags & wanted or one.urn in named, "is in no backup plan")


@rule(
    "restores-are-tested",
    "restores are tried by a schedule, not for the first time at 3 a.m.",
    gdpr="32(1)(d)",
)
def restore_tests(graph: Graph) -> Checked:
    for one in graph.of(_PLAN):
        tests = graph.of("aws:backup:RestoreTestingPlan")
        complete = [
            test
            for test in tests
            if any(
                selection.get("restoreTestingPlanName") == test.get("name")
                or test in graph.targets(selection, "restoreTestingPlanName")
                for selection in graph.of("aws:backup:RestoreTestingSelection")
            )
        ]
        yield one, unless(complete, "makes snapshots that nobody restores")
