from __future__ import annotations

from infra.graph import Graph, Resource
from infra.plan.personal_data import Place, places
from tests.infra.plan.graphs import graph, marker, resource


def only(found: Graph) -> Place:
    (place,) = places(found)
    return place


def log_group(days: int | None, name: str = "flow") -> Resource:
    given = {"retentionInDays": days, "tags": {"PersonalData": "yes", "RetentionDays": "30"}}
    return resource("LogGroup", name, given)


def test_a_log_group_keeps_as_long_as_its_setting_says() -> None:
    found = only(graph(log_group(30)))
    assert (found.keeps, found.days, found.problems) == ("30 days", 30, ())


def test_a_log_group_without_an_end_is_a_problem() -> None:
    for days in (None, 0):
        found = only(graph(log_group(days)))
        assert found.keeps == "for ever"
        assert "nothing ever ends it" in found.problems


def test_addresses_are_not_kept_for_more_than_thirty_days() -> None:
    found = only(graph(log_group(90)))
    assert found.problems == (
        "more than 30 days for client addresses",
        "its tag promises 30 days",
    )


def test_who_writes_into_a_log_group_says_what_is_in_it() -> None:
    flow = resource("FlowLog", inputs={"logDestination": marker("LogGroup", "flow", "arn")})
    waf = resource("WafLogging", inputs={"logDestinationConfigs": [marker("LogGroup", "waf")]})
    found = {
        one.resource.name: one.what
        for one in places(graph(log_group(30), log_group(30, "waf"), flow, waf))
    }
    assert found["flow"].startswith("addresses of clients and servers")
    assert "request lines" in found["waf"]


def test_a_tag_that_denies_what_is_written_there_is_found_out() -> None:
    denied = resource("LogGroup", "flow", {"retentionInDays": 30, "tags": {"PersonalData": "no"}})
    flow = resource("FlowLog", inputs={"logDestination": marker("LogGroup", "flow", "arn")})
    assert places(graph(denied)) == ()
    found = only(graph(denied, flow))
    assert found.problems == ("its tag says that it holds no personal data",)


def test_a_place_that_no_tag_speaks_of_is_in_the_list_all_the_same() -> None:
    silent = resource("LogGroup", inputs={"retentionInDays": 7, "tags": {"Name": "x"}})
    assert only(graph(silent)).problems == ("no tag says whether it holds personal data",)


def test_flow_logs_to_a_place_of_somebody_else_are_a_problem() -> None:
    flow = resource("FlowLog", inputs={"logDestination": "arn:aws:s3:::elsewhere"})
    assert only(graph(flow)).problems == ("it goes to a place that this program does not make",)


def backups(rules: list[dict[str, object]], lock: int = 30) -> Graph:
    bucket = {"bucket": marker("Bucket", "backups")}
    made = [
        resource("Bucket", "backups", personal=30),
        resource("BucketLifecycleConfiguration", "backups", {**bucket, "rules": rules}),
    ]
    if lock:
        retention = {"rule": {"defaultRetention": {"mode": "GOVERNANCE", "days": lock}}}
        made.append(resource("BucketObjectLockConfiguration", "backups", {**bucket, **retention}))
    return graph(*made)


def test_the_backup_bucket_says_who_ends_what() -> None:
    found = only(
        backups(
            [
                {"filter": {"prefix": ""}, "noncurrentVersionExpiration": {"noncurrentDays": 1}},
                {"filter": {"prefix": "logs/"}, "expiration": {"days": 30}},
            ]
        )
    )
    assert found.keeps.split("; ") == [
        "logs/: 30 days",
        "backups: 30 days, then deleted by the keeper",
        "no version goes before its lock of 30 days ends",
        "what is deleted is gone a day after, lock permitting",
    ]
    assert (found.days, found.problems) == (31, ())
    assert found.encrypted.startswith("OpenPGP")


def test_a_rule_that_is_switched_off_ends_nothing() -> None:
    rules: list[dict[str, object]] = [{"status": "Disabled", "expiration": {"days": 1}}]
    assert "1 days" not in only(backups(rules)).keeps


def test_a_lock_that_outlasts_the_promise_is_a_problem() -> None:
    assert only(backups([], lock=365)).problems == ("its tag promises 30 days",)


def test_a_bucket_that_nothing_ends_is_a_problem() -> None:
    found = only(graph(resource("Bucket", inputs={"tags": {"PersonalData": "yes"}})))
    assert (found.keeps, found.problems) == ("for ever", ("nothing ever ends it",))


def test_a_database_is_live_data_and_its_backups_are_another_place() -> None:
    inputs = {"storageEncrypted": True, "backupRetentionPeriod": 7, "kmsKeyId": marker("Key", "k")}
    live, copies = places(graph(resource("Database", inputs=inputs), resource("Key", "k")))
    assert (live.days, live.encrypted) == (None, "KMS key k")
    assert (copies.days, copies.keeps) == (7, "7 days")


def test_what_is_not_encrypted_is_a_problem() -> None:
    for kind in ("Database", "Volume", "Queue"):
        (found, *_) = places(graph(resource(kind)))
        assert "it is not encrypted" in found.problems, kind


def test_a_queue_ends_by_itself_after_four_days_when_nobody_says_otherwise() -> None:
    assert only(graph(resource("Queue", inputs={"sqsManagedSseEnabled": True}))).days == 4
    two_weeks = {"messageRetentionSeconds": 1209600, "kmsMasterKeyId": "x"}
    assert only(graph(resource("Queue", inputs=two_weeks))).days == 14


def test_snapshots_and_their_copies_are_places_of_their_own() -> None:
    rule = {
        "ruleName": "daily",
        "lifecycle": {"deleteAfter": 30},
        "copyActions": [{"destinationVaultArn": "x", "lifecycle": {"deleteAfter": 14}}],
    }
    found = places(graph(resource("Plan", inputs={"rules": [rule]})))
    assert [one.days for one in found] == [30, 14]
    endless = only(graph(resource("Plan", inputs={"rules": [{"ruleName": "x"}]})))
    assert endless.problems == ("nothing ever ends them",)


def test_live_data_stands_first_and_then_what_is_kept_longest() -> None:
    found = places(
        graph(
            resource("Database", inputs={"storageEncrypted": True, "backupRetentionPeriod": 7}),
            log_group(30),
            resource(
                "ConfigurationSet", inputs={"suppressionOptions": {"suppressedReasons": ["BOUNCE"]}}
            ),
        )
    )
    assert [one.days for one in found] == [None, None, 30, 7]
