"""What AWS tells by an event reaches somebody: each kind of event against the rules of a stack.

The events are those of the service's own guide (AWS Backup, "Monitoring events using EventBridge"),
shortened. moto's matcher reads the patterns as EventBridge does.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from moto.events.models import EventPattern

from infra import naming
from tests.infra import cases

CASE = cases.PROFILES[1]


def event(source: str, kind: str, **detail: object) -> dict[str, Any]:
    return {
        "version": "0",
        "id": "710b0398-d48e-f3c3-afca-cfeb2fdaa656",
        "detail-type": kind,
        "source": source,
        "account": cases.ACCOUNT,
        "time": "2026-11-24T03:30:26Z",
        "region": "eu-central-1",
        "resources": [],
        "detail": detail,
    }


def heard(told: Any) -> set[str]:
    """Return the names of the stack's rules that an event wakes."""
    return {
        one.name
        for one in cases.graph(CASE).of("aws:cloudwatch:EventRule")
        if EventPattern.load(json.dumps(one.document("eventPattern"))).matches_event(told)
    }


BACKUP = {"backupJobId": "4b2d2e1a", "resourceType": "RDS", "percentDone": "0.0"}
COPY = {"copyJobId": "5c3e3f2b", "resourceType": "EBS"}
RESTORE = {"restoreJobId": "6d4f403c", "resourceType": "RDS", "percentDone": "0.00%"}


@pytest.mark.parametrize(
    ("kind", "detail", "bad"),
    [
        ("Backup Job State Change", {**BACKUP, "state": "FAILED"}, True),
        ("Backup Job State Change", {**BACKUP, "state": "EXPIRED"}, True),
        ("Backup Job State Change", {**BACKUP, "state": "ABORTED"}, True),
        ("Backup Job State Change", {**BACKUP, "state": "COMPLETED"}, False),
        ("Copy Job State Change", {**COPY, "state": "FAILED"}, True),
        ("Copy Job State Change", {**COPY, "state": "COMPLETED"}, False),
        ("Restore Job State Change", {**RESTORE, "status": "FAILED"}, True),
        ("Restore Job State Change", {**RESTORE, "status": "ABORTED"}, True),
        ("Restore Job State Change", {**RESTORE, "status": "COMPLETED"}, False),
    ],
)
def test_a_job_of_backup_copy_or_restore_that_ends_badly_wakes_somebody(
    kind: str, detail: dict[str, object], bad: bool
) -> None:
    assert heard(event("aws.backup", kind, **detail)) == ({"snapshot-failed"} if bad else set())


def test_other_events_wake_the_rule_that_is_for_them() -> None:
    finding = event("aws.guardduty", "GuardDuty Finding", severity=8)
    assert heard(finding) == {"intrusion"}
    assert heard(event("aws.guardduty", "GuardDuty Finding", severity=2)) == set()
    public = event("aws.access-analyzer", "Access Analyzer Finding", status="ACTIVE", isPublic=True)
    assert heard(public) == {"shared-outside"}
    rollout = "EC2 State Manager Association State Change"
    assert heard(event("aws.ssm", rollout, status="Failed")) == {"roll-out-failed"}
    assert heard(event("aws.ssm", rollout, status="Success")) == set()
    call = "AWS API Call via CloudTrail"
    asked = {"roleArn": naming.role_arn(cases.config(CASE), "breakglass")}
    glass = event("aws.sts", call, eventName="AssumeRole", requestParameters=asked)
    assert heard(glass) == {"break-glass"}
    other = event("aws.sts", call, eventName="AssumeRole", requestParameters={"roleArn": "x"})
    assert heard(other) == set()


def test_the_vault_asks_for_no_event_that_it_no_longer_sends() -> None:
    (one,) = cases.graph(CASE).of("aws:backup:VaultNotifications")
    # AWS Backup, "Notification options": the events of jobs are deprecated, those of copies stay
    assert one.get("backupVaultEvents") == ["COPY_JOB_FAILED"]
