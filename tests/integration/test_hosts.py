"""Hosts that enrol, a person who accepts them, and what then restores: in both kinds of store."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path

import pytest

from agent.errors import ExitStatus
from tests.fixtures.hosts import Estate, Machine
from tests.fixtures.own import rename_machine
from tests.fixtures.repository import text


def restored(estate: Estate, restorer: Machine, host: Machine, *options: str) -> bytes:
    target = estate.directory / f"back-{len(list(estate.directory.glob('back-*')))}"
    said = restorer("restore", "app", "--host", "db1", "--to", str(target), *options)
    assert said.status in (ExitStatus.OK, ExitStatus.WARNINGS), said
    return target.read_bytes()


def states(machine: Machine) -> list[str]:
    said = machine("backup", "list", "--host", "db1")
    return [one["state"] for one in said.data["backups"]]


def test_a_host_enrols_and_is_accepted_and_its_backups_restore(estate: Estate) -> None:
    keeper, restorer, host = estate.reader(), estate.reader("restorer"), estate.host("db1")
    host.done("config", "check")
    refused = host("backup", "run")
    assert (refused.status, refused.error["hint"]) == (ExitStatus.KEY, "art32 host enrol")

    enrolled = host.done("host", "enrol")
    assert enrolled.data["made"]
    assert enrolled.data["published"]
    assert stat.S_IMODE(host.key_file.stat().st_mode) == 0o600
    host.done("backup", "run")

    before = restorer("backup", "list", "--host", "db1")
    assert [one["state"] for one in before.data["backups"]] == ["pending"]
    assert before.status == ExitStatus.WARNINGS
    too_early = restorer("restore", "app", "--host", "db1", "--to", "/nonexistent/x")
    assert too_early.status == ExitStatus.NO_BACKUP
    assert too_early.error["hint"] == "art32 host list"

    listed = keeper("host", "list")
    assert listed.status == ExitStatus.WARNINGS
    (entry,) = listed.data["hosts"]
    assert (entry["state"], entry["host"], entry["backups"]) == ("pending", "db1", 1)
    assert entry["fingerprint"] == host.fingerprint

    accepted = keeper.done("host", "accept", host.fingerprint)
    assert accepted.data["serial"] == 1
    assert keeper.done("host", "list").data["hosts"][0]["state"] == "accepted"
    assert restorer.done("backup", "list", "--host", "db1").data["backups"][0]["state"] == (
        "complete"
    )
    keeper.done("backup", "verify", "--host", "db1", "--tier", "hashes")
    assert restored(estate, restorer, host) == (estate.directory / "db1.content").read_bytes()


def test_a_key_for_the_log_is_enrolled_too_and_counts_for_nothing_else(estate: Estate) -> None:
    keeper = estate.reader()
    key = estate.directory / "db1" / "wal-key.asc"
    host = estate.host("db1", more=f"[wal.signing]\nkey_file = {text(key)}")
    enrolled = host.done("host", "enrol").data
    assert enrolled["wal"]["made"]
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    mine, for_the_log = enrolled["fingerprint"], enrolled["wal"]["fingerprint"]
    assert mine != for_the_log
    assert not host.done("host", "enrol").data["wal"]["published"]

    listed = {one["fingerprint"]: one for one in keeper("host", "list").data["hosts"]}
    assert {one["purpose"] for one in listed.values()} == {None, "wal"}
    assert listed[for_the_log]["purpose"] == "wal"
    assert all(one["doubts"] == [] for one in listed.values())  # they are no rivals
    assert "for its write-ahead log" in keeper("host", "list", form="human").out
    for fingerprint in (for_the_log, mine):
        keeper.done("host", "accept", fingerprint)
    host.done("backup", "run")
    assert states(keeper) == ["complete"]

    # whoever has taken the service over makes a backup with its key
    text_before = host.config_file.read_text()
    thief = text_before.replace(text(host.key_file), text(key)).split("[wal.signing]")
    host.config_file.write_text(thief[0] + thief[1].partition("\n")[2].partition("\n")[2])
    host.done("backup", "run")
    assert sorted(states(keeper)) == ["complete", "suspect"]


def test_a_second_enrolment_changes_nothing(directory_estate: Estate) -> None:
    host = directory_estate.host("db1")
    host.done("host", "enrol")
    before = {path: path.read_bytes() for path in host.directory.glob("signing-key*")}
    again = host.done("host", "enrol").data
    assert not again["made"]
    assert not again["published"]
    assert {path: path.read_bytes() for path in host.directory.glob("signing-key*")} == before


def test_a_recreated_host_waits_and_then_both_chains_restore(estate: Estate) -> None:
    keeper, restorer = estate.reader(), estate.reader("restorer")
    old = estate.host("db1")
    old.done("host", "enrol")
    keeper.done("host", "accept", old.fingerprint)
    for _ in range(2):
        old.done("backup", "run")
    first = old.done("backup", "list").data["backups"][0]["id"]

    new = estate.host("db1", machine="db1-recreated")
    new.done("host", "enrol")
    time.sleep(1.1)  # S3 tells whole seconds, and within one there is no order
    new.done("backup", "run")
    assert states(keeper) == ["complete", "complete", "pending"]
    swept = keeper("backup", "prune", "--apply")
    assert swept.status == ExitStatus.TRY_AGAIN
    assert states(keeper) == ["complete", "complete", "pending"]

    asked = keeper("host", "accept", new.fingerprint)
    assert asked.error["code"] == "enrolment-doubtful"
    assert "--replaces" in asked.error["hint"]
    done = keeper.done("host", "accept", new.fingerprint, "--replaces")
    assert done.data["closed"] == {old.fingerprint: 2}

    listed = restorer.done("backup", "list", "--host", "db1").data["backups"]
    assert sorted((one["state"], one["sequence"]) for one in listed) == [
        ("complete", 1),
        ("complete", 1),
        ("complete", 2),
    ]
    restorer.done("backup", "verify", "--host", "db1", "--tier", "decrypt")
    content = (estate.directory / "db1.content").read_bytes()
    assert restored(estate, restorer, old, "--id", first) == content
    assert (
        restored(estate, restorer, new) == (estate.directory / "db1-recreated.content").read_bytes()
    )

    old.done("backup", "run")  # a thief has kept the old machine
    assert sorted(states(restorer)) == ["complete", "complete", "complete", "suspect"]


def test_a_key_is_retired_at_its_last_number_and_what_it_signs_later_is_suspect(
    directory_estate: Estate,
) -> None:
    keeper, restorer, host = (
        directory_estate.reader(),
        directory_estate.reader("restorer"),
        directory_estate.host("db1"),
    )
    host.done("host", "enrol")
    keeper.done("host", "accept", host.fingerprint)
    host.done("backup", "run")
    assert keeper.done("host", "retire", "db1").data["closed"] == {host.fingerprint: 1}
    host.done("backup", "run")
    assert states(restorer) == ["complete", "suspect"]
    assert (
        restored(directory_estate, restorer, host)
        == (directory_estate.directory / "db1.content").read_bytes()
    )
    keeper.done("host", "retire", host.fingerprint, "--after", "0")
    assert states(restorer) == ["suspect", "suspect"]
    keeper.done("host", "retire", host.fingerprint, "--forget")
    assert states(restorer) == ["pending", "pending"]


def test_a_pending_key_can_be_refused_for_good(directory_estate: Estate) -> None:
    keeper, host = directory_estate.reader(), directory_estate.host("db1")
    host.done("host", "enrol")
    host.done("backup", "run")
    keeper.done("host", "retire", host.fingerprint)
    assert keeper.done("host", "list").data["hosts"][0]["state"] == "refused"
    assert states(keeper) == ["suspect"]
    again = keeper("host", "accept", host.fingerprint)
    assert again.error["code"] == "enrolment-invalid"


def test_pins_of_the_configuration_go_on_and_the_stricter_word_counts(
    directory_estate: Estate,
) -> None:
    host = directory_estate.host("db1")
    host.done("host", "enrol")
    host.done("backup", "run")
    public = directory_estate.directory / "db1.asc"
    public.write_bytes(host.key_file.read_bytes())
    pin = f'[[signers]]\nhost = "db1"\nfingerprint = "{host.fingerprint}"\nkey_file = "{public}"\n'
    alone = directory_estate.reader("alone", roots=(), more=pin)
    assert states(alone) == ["complete"]
    assert alone.done("host", "list").data["hosts"][0]["state"] == "configured"
    both = directory_estate.reader("both", more=pin)
    assert states(both) == ["complete"]
    directory_estate.reader().done("host", "retire", host.fingerprint)
    assert states(both) == ["suspect"]
    assert states(alone) == ["complete"]


def test_a_name_shows_the_key_and_accepts_nothing(directory_estate: Estate) -> None:
    keeper, host = directory_estate.reader(), directory_estate.host("db1")
    host.done("host", "enrol")
    said = keeper("host", "accept", "db1", form="human")
    assert said.status == ExitStatus.WARNINGS
    fingerprint = host.fingerprint
    grouped = " ".join(fingerprint[at : at + 4] for at in range(0, 20, 4))
    assert f"art32 host accept {grouped}" in said.out
    assert keeper("host", "list").data["serial"] is None
    command = said.out.splitlines()[-1].split()[1:]
    assert keeper(*command).status == ExitStatus.OK
    assert keeper("host", "accept", "db9").error["code"] == "host-unknown"
    assert keeper("host", "accept", fingerprint[-16:]).status == ExitStatus.USAGE


def test_an_enrolment_holds_no_name_of_the_machine_and_no_private_key(
    directory_estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    import base64

    machine = rename_machine(monkeypatch)
    host = directory_estate.host("db1")
    name = host.done("host", "enrol").data["name"]
    data = (directory_estate.directory / "store" / "production" / name).read_bytes()
    payload = base64.b64decode(json.loads(data)["payload"])
    assert machine not in payload.decode()
    assert b"PRIVATE" not in base64.b64decode(json.loads(payload)["key"])
    assert set(json.loads(payload)) == {
        *("format", "prefix", "host", "identity", "fingerprint", "made", "machine", "key")
    }


@pytest.mark.parametrize("crash", ["signing-key.asc.fingerprint", "signing-key.asc.enrolment"])
def test_what_a_crash_left_half_done_the_next_enrolment_finishes(
    directory_estate: Estate, crash: str
) -> None:
    host = directory_estate.host("db1")
    fingerprint = host.done("host", "enrol").data["fingerprint"]
    (host.directory / crash).unlink()
    if crash.endswith("enrolment"):
        for path in (directory_estate.directory / "store").rglob("*.json"):
            path.unlink()
    again = host.done("host", "enrol").data
    assert (again["fingerprint"], again["made"]) == (fingerprint, False)
    assert again["published"] is crash.endswith("enrolment")
    host.done("backup", "run")


def test_a_key_that_is_lost_is_made_anew(directory_estate: Estate) -> None:
    host = directory_estate.host("db1")
    first = host.done("host", "enrol").data["fingerprint"]
    host.key_file.unlink()
    assert host("backup", "run").status == ExitStatus.KEY
    assert host.done("host", "enrol").data["fingerprint"] != first
    host.done("backup", "run")


def test_a_key_of_the_configuration_that_is_not_there_is_an_error(
    directory_estate: Estate,
) -> None:
    host = directory_estate.host("db1", more='fingerprint = "' + "A" * 40 + '"')
    said = host("host", "enrol")
    assert said.error["code"] == "key-missing"
    assert not host.key_file.exists()


def test_a_key_that_others_can_read_is_not_published(directory_estate: Estate) -> None:
    host = directory_estate.host("db1")
    host.done("host", "enrol")
    host.key_file.chmod(0o644)
    assert host("host", "enrol").error["code"] == "permission"


def test_an_expiry_that_gpg_does_not_take_is_an_error(directory_estate: Estate) -> None:
    host = directory_estate.host("db1")
    said = host("host", "enrol", "--expires", "whenever")
    assert said.error["code"] == "key-unusable"
    assert not host.key_file.exists()


def test_a_keeper_without_a_root_key_changes_nothing(
    directory_estate: Estate, tmp_path: Path
) -> None:
    home = tmp_path / "empty"
    home.mkdir(mode=0o700)
    keeper = directory_estate.reader("keeper")
    host = directory_estate.host("db1")
    host.done("host", "enrol")
    file = keeper.config_file
    file.write_text(file.read_text().replace(str(directory_estate.keys.root.home), str(home)))
    assert keeper("host", "accept", host.fingerprint).error["code"] == "key-missing"
    bare = directory_estate.reader("bare", roots=())
    assert bare("host", "accept", host.fingerprint).error["code"] == "config-invalid"


def test_doctor_and_health_say_who_waits(directory_estate: Estate) -> None:
    keeper, host = directory_estate.reader(), directory_estate.host("db1")

    def doctor(machine: Machine, subject: str) -> list[tuple[str, str]]:
        said = machine("doctor", "--no-probe")
        return [(one["result"], one["detail"]) for one in said.data if one["subject"] == subject]

    def health(machine: Machine) -> dict[str, tuple[str, str | None]]:
        said = machine("health", "hosts")
        return {one["name"]: (one["state"], one["runbook"]) for one in said.data}

    assert doctor(host, "enrolment") == [("fail", "no signing key yet")]
    assert health(host) == {"enrolment": ("fail", "host-enrol")}
    host.done("host", "enrol")
    ((result, detail),) = doctor(host, "enrolment")
    assert (result, detail.split(";")[0]) == ("ok", "published as db1")
    assert health(host) == {}

    assert ("warn", "`db1` waits to be accepted") in doctor(keeper, "hosts")
    waiting = f"host:db1:{host.fingerprint[-8:]}"
    assert health(keeper)[waiting] == ("fail", "host-enrol")
    keeper.done("host", "accept", host.fingerprint)
    assert doctor(keeper, "hosts") == []
    assert doctor(keeper, "pinned hosts")[0][0] == "ok"
    assert health(keeper) == {"hosts": ("ok", None)}
