"""What the keeper tells of all hosts, and that the alarms of a stack look at just that."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from agent.errors import ExitStatus
from infra import alarm_rules
from tests.fixtures.hosts import Estate, Machine
from tests.fixtures.repository import text
from tests.fixtures.s3 import S3Server
from tests.fixtures.stacks import RELEASE, stack

HOURS, DAYS = 3600.0, 86400.0


def keeper_of(estate: Estate, *hosts: str, more: str = "") -> Machine:
    service = f'[service]\nrole = "keeper"\nhosts = {list(hosts)}\n{more}'
    return estate.reader(more=service)


def accepted(estate: Estate, keeper: Machine, name: str) -> Machine:
    host = estate.host(name)
    host.done("host", "enrol")
    keeper.done("host", "accept", host.fingerprint)
    host.done("backup", "run")
    return host


def restorer_of(estate: Estate, engines: Path) -> Machine:
    return estate.reader("restorer", more=f"[drill]\nnote = true\ndirectory = {text(engines)}")


def age_by(estate: Estate, pattern: str, age: timedelta) -> None:
    """Let what is in a directory store have been stored that long ago."""
    moment = (datetime.now(UTC) - age).timestamp()
    found = [path for path in estate.objects.glob(pattern) if path.is_file()]
    assert found
    for path in found:
        os.utime(path, (moment, moment))


def test_a_host_has_an_age_when_all_of_it_was_backed_up_and_drilled(
    directory_estate: Estate, engines: Path
) -> None:
    keeper = keeper_of(directory_estate, "db1", more='expected = ["db1/app"]')
    said = keeper("backup", "ages")
    assert said.status == ExitStatus.WARNINGS
    assert said.warnings[-2:] == [
        "`db1` has no good backup of `app`",
        "no drill of `db1` has passed for `app`",
    ]
    (before,) = said.data["hosts"]
    assert (before["backup"], before["drill"]) == (None, None)

    accepted(directory_estate, keeper, "db1")
    restorer = restorer_of(directory_estate, engines)
    assert restorer("drill", "run", "--host", "db1").status in (
        ExitStatus.OK,
        ExitStatus.WARNINGS,
    )
    said = keeper.done("backup", "ages")
    (now,) = said.data["hosts"]
    assert 0 <= now["backup"] < HOURS
    assert 0 <= now["drill"] < HOURS

    age_by(directory_estate, "db1/**/*", timedelta(hours=27))
    age_by(directory_estate, "evidence/**/*", timedelta(days=36))
    said = keeper("backup", "ages")
    (late,) = said.data["hosts"]
    assert 27 * HOURS <= late["backup"] < 28 * HOURS
    assert 36 * DAYS <= late["drill"] < 37 * DAYS
    assert said.warnings == [
        "the newest good backup of `db1` is too old",
        "the last drill of `db1` is too long ago",
    ]


def test_of_several_sources_the_one_that_is_missing_counts(directory_estate: Estate) -> None:
    keeper = keeper_of(directory_estate, "db1", more='expected = ["db1/app", "db1/other"]')
    accepted(directory_estate, keeper, "db1")
    said = keeper("backup", "ages")
    assert said.data["hosts"][0]["backup"] is None
    assert "`db1` has no good backup of `other`" in said.warnings


def test_a_failed_drill_is_noted_and_gives_no_age(directory_estate: Estate, engines: Path) -> None:
    keeper = keeper_of(directory_estate, "db1")
    host = accepted(directory_estate, keeper, "db1")
    (segment,) = directory_estate.objects.glob("db1/app/*/00000-*.pgp")
    data = segment.read_bytes()
    segment.chmod(0o600)
    segment.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    restorer = restorer_of(directory_estate, engines)
    assert restorer("drill", "run", "--host", "db1").status == ExitStatus.VERIFICATION
    (note,) = directory_estate.objects.glob("evidence/drills/db1/app/*.json")
    assert note.name.endswith("-failed.json")
    assert host.fingerprint not in note.read_text()
    assert keeper("backup", "ages").data["hosts"][0]["drill"] is None


def test_what_is_suspect_and_who_waits_is_counted(directory_estate: Estate) -> None:
    keeper = keeper_of(directory_estate, "db1")
    accepted(directory_estate, keeper, "db1")
    (segment,) = directory_estate.objects.glob("db1/app/*/00000-*.pgp")
    segment.unlink()
    directory_estate.host("web").done("host", "enrol")
    data = keeper("backup", "ages").data
    assert (data["suspect"], data["pending"]) == (1, 1)
    assert data["hosts"][0]["backup"] is None


def test_names_below_the_notes_that_are_none_are_not_believed(directory_estate: Estate) -> None:
    keeper = keeper_of(directory_estate, "db1")
    accepted(directory_estate, keeper, "db1")
    place = directory_estate.objects / "evidence" / "drills" / "db1" / "app"
    place.mkdir(parents=True)
    for name in ("20261123T031500Z-passed", "20261123T031500Z-passed.json.x", "passed.json"):
        (place / name).write_text("{}")
    assert keeper("backup", "ages").data["hosts"][0]["drill"] is None


def test_a_restorer_that_may_not_note_says_so_and_the_drill_is_none_the_worse(
    s3_estate: Estate, engines: Path
) -> None:
    keeper = keeper_of(s3_estate, "db1")
    accepted(s3_estate, keeper, "db1")
    said = restorer_of(s3_estate, engines)("drill", "run", "--host", "db1")
    assert said.status == ExitStatus.WARNINGS
    assert said.data[0]["passed"]
    assert any("takes no note of the drill" in one for one in said.warnings)


@pytest.fixture
def cloudwatch(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", moto.endpoint)
    return boto3.client("cloudwatch", "eu-central-1")


def test_each_alarm_of_the_keeper_finds_its_metric(
    directory_estate: Estate, cloudwatch: Any, engines: Path
) -> None:
    config = stack(f"s{uuid.uuid4().hex[:8]}", **RELEASE, dbForm="server")
    alarms = alarm_rules.keeper_alarms(config)
    (space,) = {one.namespace for one in alarms}
    keeper = keeper_of(directory_estate, "db", more=f"keeper_namespace = {text(space)}")
    accepted(directory_estate, keeper, "db")
    assert restorer_of(directory_estate, engines)("drill", "run", "--host", "db").data[0]["passed"]
    keeper.done("backup", "ages", "--publish")

    wanted = {
        (one.metric, tuple(sorted((k, str(v)) for k, v in one.dimensions.items())))
        for one in alarms
    }
    there = {
        (one["MetricName"], tuple(sorted((d["Name"], d["Value"]) for d in one["Dimensions"])))
        for one in cloudwatch.list_metrics(Namespace=space)["Metrics"]
    }
    assert there == wanted
    for alarm in alarms:
        now = datetime.now(UTC)
        found = cloudwatch.get_metric_statistics(
            Namespace=space,
            MetricName=alarm.metric,
            Dimensions=[{"Name": k, "Value": str(v)} for k, v in alarm.dimensions.items()],
            StartTime=now - timedelta(seconds=alarm.period),
            EndTime=now + timedelta(minutes=1),
            Period=alarm.period,
            Statistics=[alarm.statistic],
        )["Datapoints"]
        assert [one[alarm.statistic] < alarm.threshold for one in found] == [True], alarm.name


def test_a_host_without_an_age_is_silent_and_silence_rings(
    directory_estate: Estate, cloudwatch: Any
) -> None:
    space = f"Art32/{uuid.uuid4().hex[:8]}"
    keeper = keeper_of(directory_estate, "db1", more=f"keeper_namespace = {text(space)}")
    assert keeper("backup", "ages", "--publish").status == ExitStatus.WARNINGS
    there = cloudwatch.list_metrics(Namespace=space)["Metrics"]
    assert {one["MetricName"] for one in there} == {"SuspectBackups", "PendingHosts"}
    for alarm in alarm_rules.keeper_alarms(stack(**RELEASE)):
        assert alarm.missing == "breaching" or alarm.metric in ("SuspectBackups", "PendingHosts")


def test_without_a_namespace_or_a_host_it_is_one_clear_error(directory_estate: Estate) -> None:
    keeper = keeper_of(directory_estate, "db1")
    assert keeper("backup", "ages", "--publish").status == ExitStatus.CONFIGURATION
    other = directory_estate.reader("keeper2")
    said = other("backup", "ages")
    assert said.status == ExitStatus.CONFIGURATION
    assert "names no host" in said.err
