"""`art32 snapshot` against an AWS account in moto, as an ops engineer runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agent.cli import root
from agent.errors import Art32Error
from tests.fixtures.snapshots import ACCOUNT, REGION, SnapshotAccount, stack_file

VAULT = "art32-prod-snapshots"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The directory of a program with the stack `prod`, and a table of prices."""
    stack_file(tmp_path, "prod")
    prices = tmp_path / "infra" / "plan" / "prices"
    prices.mkdir(parents=True)
    (prices / f"{REGION}.toml").write_text(
        'as_of = 2026-11-24\ncurrency = "USD"\n[seen.hour]\n"rds db.t4g.small" = 0.037\n'
        '[seen.month]\n"rds gp3 GB" = 0.137\n"volume gp3 GB" = 0.0952\n'
        '[remembered.hour]\n"ec2 t4g.medium" = 0.0384\n'
    )
    return tmp_path


def run(account: SnapshotAccount, project: Path, *arguments: str, status: int = 0) -> Any:
    """Run a verb of `snapshot`, and return its answer."""
    verb, *rest = arguments
    place = ("--stack", "prod", "--project", str(project))
    words = ("--output", "json", "snapshot", verb, *place, *rest)
    done = CliRunner().invoke(root, words, env=account.environment)
    if isinstance(done.exception, Art32Error):
        error = done.exception
        assert error.exit_status == status, error.sentence
        return {
            "code": error.code.label,
            "error": error.sentence,
            "hint": error.hint,
            "runbook": error.runbook,
        }
    assert done.exit_code == status, done.output
    return json.loads(done.stdout)


def named(answer: Any) -> dict[str, Any]:
    return {one["id"]: one for one in answer["data"]["snapshots"]}


def test_all_kinds_of_snapshots_are_listed_newest_first(
    snapshot_account: SnapshotAccount, project: Path
) -> None:
    database = snapshot_account.database()
    snapshot_account.database_snapshot(database, "before-the-release", days=3)
    managed = snapshot_account.database_snapshot(
        database, "awsbackup:job-1", days=1, snapshot_type="awsbackup"
    )
    arn = f"arn:aws:rds:{REGION}:{ACCOUNT}:snapshot:{managed}"
    snapshot_account.point(arn, vault=VAULT)
    disk = snapshot_account.volume(component="web")
    of_disk = snapshot_account.volume_snapshot(disk, days=2)
    answer = run(snapshot_account, project, "list")
    found = named(answer)
    assert [one["by"] for one in answer["data"]["snapshots"]] == [
        "automated",
        "aws backup",
        "manual",
        "manual",
    ]
    assert list(found)[1:] == [managed, of_disk, "before-the-release"]
    assert found[managed]["kept_until"] is not None
    assert 86000 < found[managed]["age_seconds"] < 87000
    assert (found[of_disk]["component"], found[of_disk]["kind"]) == ("web", "ebs")
    assert found[managed] | {"encrypted": True, "gib": 20} == found[managed]


def test_another_stacks_snapshots_are_not_listed(
    snapshot_account: SnapshotAccount, project: Path
) -> None:
    snapshot_account.database()
    for stack in ("prod-db", "staging"):
        other = snapshot_account.database(stack=stack)
        snapshot_account.database_snapshot(other, f"of-{stack}")
        snapshot_account.volume_snapshot(snapshot_account.volume(stack=stack))
    assert len(named(run(snapshot_account, project, "list"))) == 1


def test_an_untagged_snapshot_of_the_stacks_volume_is_its_own_and_a_root_disk_is_none(
    snapshot_account: SnapshotAccount, project: Path
) -> None:
    snapshot_account.database()
    ec2 = snapshot_account.client("ec2")
    data = snapshot_account.volume(component="mail")
    by_hand = ec2.create_snapshot(VolumeId=data)["SnapshotId"]
    root = ec2.create_volume(
        AvailabilityZone=f"{REGION}a",
        Size=12,
        TagSpecifications=[
            {"ResourceType": "volume", "Tags": [{"Key": "Art32Stack", "Value": "prod"}]}
        ],
    )["VolumeId"]
    ec2.create_snapshot(VolumeId=root)
    found = named(run(snapshot_account, project, "list"))
    assert {one["component"] for one in found.values()} == {"db", "mail"}
    assert by_hand in found


def test_a_database_without_a_recent_snapshot_is_a_warning(
    snapshot_account: SnapshotAccount, project: Path
) -> None:
    empty = run(snapshot_account, project, "list", status=20)
    assert empty["warnings"] == ["the database has no usable snapshot"]
    database = snapshot_account.database(automated=False)
    snapshot_account.database_snapshot(database, "old", days=4)
    answer = run(snapshot_account, project, "list", status=20)
    assert answer["warnings"] == ["the newest usable snapshot of the database is 4 d old"]


def test_a_vault_that_refuses_is_a_warning_and_the_rest_is_listed(
    snapshot_account: SnapshotAccount, project: Path
) -> None:
    snapshot_account.database()
    snapshot_account.vaults.refuses = True
    answer = run(snapshot_account, project, "list", status=20)
    assert len(answer["data"]["snapshots"]) == 1
    (warning,) = answer["warnings"]
    assert "`backup:ListRecoveryPointsByBackupVault`" in warning
    assert "secret-canary" not in json.dumps(answer)


def test_a_session_of_another_account_is_refused(
    snapshot_account: SnapshotAccount, tmp_path: Path
) -> None:
    stack_file(tmp_path, "prod", accountId="999999999999")
    answer = run(snapshot_account, tmp_path, "list", status=77)
    assert answer["code"] == "aws-refused"
    assert "`123456789012`" in answer["error"]
    assert "`999999999999`" in answer["error"]


def test_no_credentials_and_no_answer_are_one_clear_error_each(
    snapshot_account: SnapshotAccount, project: Path
) -> None:
    place = ("snapshot", "list", "--stack", "prod", "--project", str(project))
    nobody = snapshot_account.art32(*place, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert (nobody.returncode, nobody.stdout) == (77, "")
    assert nobody.stderr.splitlines()[0] == (
        "art32: error: there are no usable credentials for AWS"
    )
    gone = snapshot_account.art32(*place, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert gone.returncode == 75
    assert "`sts:GetCallerIdentity`" in gone.stderr
    assert "Traceback" not in gone.stderr + nobody.stderr


def test_the_plan_takes_the_newest_and_says_what_it_costs_and_where_prices_come_from(
    snapshot_account: SnapshotAccount, project: Path
) -> None:
    database = snapshot_account.database(automated=False)
    snapshot_account.database_snapshot(database, "older", days=2)
    snapshot_account.database_snapshot(database, "newer", days=1)
    snapshot_account.database_snapshot(database, "unfinished", days=0, status="creating")
    answer = run(snapshot_account, project, "restore-plan")
    data = answer["data"]
    assert (data["snapshot"]["id"], data["generation"]) == ("newer", "g2")
    assert data["cost"] == {
        "currency": "USD",
        "prices_as_of": "2026-11-24",
        "items": [
            {"what": "db.t4g.small with its standby", "amount": 54.02, "seen": True},
            {"what": "20 GiB of gp3 with its standby", "amount": 5.48, "seen": True},
        ],
    }
    shown = snapshot_account.art32(
        *("snapshot", "restore-plan", "--stack", "prod", "--project", str(project))
    ).stdout
    assert "together 59.50 USD a month" in shown
    assert "list prices of 2026-11-24 in infra/plan/prices/eu-central-1.toml" in shown
    assert "all that was written in 24 h" in shown


def test_without_a_table_of_prices_nothing_is_priced(
    snapshot_account: SnapshotAccount, tmp_path: Path
) -> None:
    stack_file(tmp_path, "prod")
    snapshot_account.database()
    answer = run(snapshot_account, tmp_path, "restore-plan")
    assert {one["amount"] for one in answer["data"]["cost"]["items"]} == {None}
    assert answer["data"]["cost"]["prices_as_of"] is None


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"status": "creating"}, "snapshot-unfit", "is not finished"),
        ({"engine_version": "16.3"}, "snapshot-unfit", "PostgreSQL 16"),
    ],
)
def test_a_snapshot_that_no_generation_can_be_made_from_is_refused(
    snapshot_account: SnapshotAccount,
    project: Path,
    changes: dict[str, Any],
    code: str,
    words: str,
) -> None:
    database = snapshot_account.database()
    snapshot_account.database_snapshot(database, "wrong", **changes)
    answer = run(snapshot_account, project, "restore-plan", "wrong", status=14)
    assert answer["code"] == code
    assert words in answer["error"]
    assert answer["runbook"] == "snapshot-restore"


def test_a_snapshot_that_is_not_there_is_no_backup(
    snapshot_account: SnapshotAccount, project: Path
) -> None:
    snapshot_account.database()
    answer = run(snapshot_account, project, "restore-plan", "snap-0123456789abcdef0", status=10)
    assert answer["code"] == "snapshot-missing"
    assert answer["hint"] == "art32 snapshot list --stack prod"
    missing = run(snapshot_account, project, "restore-plan", "--component", "web", status=10)
    assert missing["code"] == "snapshot-missing"


def test_an_unencrypted_snapshot_is_copied_under_the_stacks_key_first(
    snapshot_account: SnapshotAccount, project: Path
) -> None:
    database = snapshot_account.database(StorageEncrypted=False)
    snapshot_account.database_snapshot(database, "plain", encrypted=False)
    steps = run(snapshot_account, project, "restore-plan", "plain")["data"]["steps"]
    assert "--kms-key-id alias/art32-prod-data" in steps[0]["commands"][0]
    assert "'dbGenerations[1]' g2=art32-prod-db-g2-source" in steps[1]["commands"][1]


def test_a_snapshot_under_another_key_than_the_running_database_is_a_warning(
    snapshot_account: SnapshotAccount, project: Path
) -> None:
    database = snapshot_account.database()
    snapshot_account.database_snapshot(database, "foreign", kms_key_id="arn:of-another-key")
    answer = run(snapshot_account, project, "restore-plan", "foreign", status=20)
    (warning,) = answer["warnings"]
    assert "`arn:of-another-key`" in warning
    assert "alias/art32-prod-data" in warning


def test_a_recovery_point_in_the_second_region_is_copied_back_first(
    snapshot_account: SnapshotAccount, tmp_path: Path
) -> None:
    stack_file(tmp_path, "prod", backupCopyRegion="eu-west-1")
    snapshot_account.vaults.points["eu-west-1", "art32-prod-snapshots-copy"] = []
    ec2 = snapshot_account.client("ec2", "eu-west-1")
    tags = {"Art32Stack": "prod", "Art32Component": "web", "Art32Generation": "g1"}
    volume = ec2.create_volume(AvailabilityZone="eu-west-1a", Size=20)["VolumeId"]
    copied = ec2.create_snapshot(
        VolumeId=volume,
        TagSpecifications=[
            {
                "ResourceType": "snapshot",
                "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
            }
        ],
    )["SnapshotId"]
    listed = named(run(snapshot_account, tmp_path, "list", status=20))
    assert listed[copied]["region"] == "eu-west-1"
    answer = run(snapshot_account, tmp_path, "restore-plan", copied, status=14)
    assert answer["code"] == "snapshot-unfit"
    assert "aws backup start-copy-job --region eu-west-1" in answer["hint"]
    assert f":backup-vault:{VAULT} " in answer["hint"]


def test_a_stack_file_with_mistakes_is_one_clear_error(
    snapshot_account: SnapshotAccount, tmp_path: Path
) -> None:
    missing = run(snapshot_account, tmp_path, "list", status=78)
    assert missing["code"] == "config-missing"
    path = stack_file(tmp_path, "prod", region="here")
    assert run(snapshot_account, tmp_path, "list", status=78)["code"] == "config-invalid"
    for text in ("config: [", "config: 3", "- a", "config:\n  art32:accountId: []"):
        path.write_text(text)
        assert run(snapshot_account, tmp_path, "list", status=78)["code"] == "config-invalid"
    stack_file(tmp_path, "prod", dbGenerations=["g1", "$(reboot)"])
    snapshot_account.database()
    answer = run(snapshot_account, tmp_path, "restore-plan", status=78)
    assert "`$(reboot)`" in answer["error"]
