"""Who enrols as somebody else, fills the store, or brings old and foreign lists, gets nowhere."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent import clock
from agent.crypto import envelope
from agent.errors import Art32Error, Code, ExitStatus
from agent.host import candidates, record
from agent.pins import document, publish
from agent.pins import read as pins
from agent.pins.document import PinList, PinnedHost
from agent.store.directory import Directory
from tests.fixtures.hosts import Estate, Machine
from tests.fixtures.keys import ThrowAwayKey, gpg
from tests.fixtures.waiting import PATIENCE

LONG_AGO, LATER = datetime(2024, 2, 1, tzinfo=UTC), timedelta(days=90)


def states(machine: Machine) -> list[str]:
    said = machine("backup", "list", "--host", "db1")
    return [one["state"] for one in said.data["backups"]]


def enrolled(estate: Estate, name: str = "db1", **more: Any) -> Machine:
    """Return a host with a backup that has enrolled and waits."""
    host = estate.host(name, **more)
    host.done("host", "enrol")
    host.done("backup", "run")
    return host


def line(key: ThrowAwayKey, host: str, **more: Any) -> PinnedHost:
    public = gpg(key.home, "--export", "--export-options", "export-minimal", key.fingerprint)
    return PinnedHost(
        host=host,
        fingerprint=key.fingerprint,
        identity=host,
        accepted="20261124T000000Z",
        key=base64.b64encode(public).decode(),
        **more,
    )


def put_list(
    estate: Estate,
    root: ThrowAwayKey,
    hosts: Sequence[PinnedHost],
    *,
    serial: int = 1,
    name: int | None = None,
    prefix: str = "production",
    at: datetime | None = None,
    until: datetime | None = None,
    kind: str = document.KIND,
) -> Path:
    """Put a list into the store that a root has signed by hand."""
    made = PinList(
        prefix=prefix,
        serial=serial,
        previous=pins.GENESIS,
        made=clock.stamp(at or clock.now()),
        valid_until=clock.stamp(until or clock.now() + LATER),
        hosts=list(hosts),
    )
    sealed = envelope.seal(
        kind, made.serialise(), root.fingerprint, lambda data: root.sign(data, at=at)
    )
    path = estate.objects / document.name(name or serial)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sealed)
    return path


def pinned(host: Machine) -> PinnedHost:
    """Return the line of a host that has enrolled."""
    sealed = (host.directory / "signing-key.asc.enrolment").read_bytes()
    found = record.parse(envelope.parse(sealed, record.KIND).payload)
    return PinnedHost(
        host=found.host,
        fingerprint=found.fingerprint,
        identity=found.identity,
        accepted=found.made,
        key=found.key,
    )


def put_enrolment(
    estate: Estate,
    key: ThrowAwayKey,
    *,
    signer: ThrowAwayKey | None = None,
    identity: str = "db1",
    fingerprint: str | None = None,
    change: Callable[[dict[str, Any]], None] = lambda _: None,
) -> str:
    """Put an enrolment into the store by hand; return the fingerprint that its name bears."""
    public = gpg(key.home, "--export", key.fingerprint)
    document: dict[str, Any] = {
        "format": "art32/enrolment/1",
        "prefix": "production",
        "host": "db1",
        "identity": identity,
        "fingerprint": fingerprint or key.fingerprint,
        "made": "20261124T000000Z",
        "machine": {"system": "debian 12", "architecture": "x86_64", "art32": "0"},
        "key": base64.b64encode(public).decode(),
    }
    change(document)
    chosen = signer or key
    sealed = envelope.seal(
        record.KIND, json.dumps(document).encode(), chosen.fingerprint, chosen.sign
    )
    path = estate.objects / record.name(identity, fingerprint or key.fingerprint)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sealed)
    return fingerprint or key.fingerprint


@pytest.mark.parametrize(
    "case",
    ["another key", "another signer", "another place", "an escape", "a large key", "no key"],
)
def test_an_enrolment_that_is_not_what_its_key_signed_is_never_accepted(
    directory_estate: Estate, case: str
) -> None:
    estate, keys = directory_estate, directory_estate.keys
    cases: dict[str, dict[str, Any]] = {
        "another key": {"fingerprint": "A" * 40},
        "another signer": {"signer": keys.other_host},
        "another place": {"change": lambda found: found.update(identity="web1")},
        "an escape": {"change": lambda found: found["machine"].update(system="\x1b[2J")},
        "a large key": {"change": lambda found: found.update(key="A" * 30_000)},
        "no key": {"change": lambda found: found.update(key="AAAA")},
    }
    fingerprint = put_enrolment(estate, keys.host, **cases[case])
    keeper = estate.reader()
    refused = keeper("host", "accept", fingerprint, "--despite-doubts")
    assert refused.error["code"] == "enrolment-invalid"
    listed = keeper("host", "list")
    (entry,) = listed.data["hosts"]
    assert entry["state"] == "invalid"
    assert listed.status == ExitStatus.WARNINGS
    assert "\x1b" not in listed.out
    assert not (estate.objects / "pins").exists()


@pytest.mark.parametrize("name", ["expired_host", "revoked_host"])
def test_an_enrolment_with_a_key_that_cannot_sign_is_never_accepted(
    directory_estate: Estate, name: str
) -> None:
    before: ThrowAwayKey = getattr(directory_estate.keys, f"{name}_before")
    now: ThrowAwayKey = getattr(directory_estate.keys, name)
    public = base64.b64encode(gpg(now.home, "--export", now.fingerprint)).decode()
    put_enrolment(
        directory_estate, before, signer=before, change=lambda found: found.update(key=public)
    )
    refused = directory_estate.reader()("host", "accept", now.fingerprint)
    assert refused.error["code"] == "enrolment-invalid"


@pytest.mark.parametrize("size", [0, 1, 70_000])
def test_junk_below_enroll_is_named_and_harmless(directory_estate: Estate, size: int) -> None:
    host = enrolled(directory_estate)
    junk = directory_estate.objects / "enroll" / "web1"
    junk.mkdir()
    (junk / f"{'B' * 40}.json").write_bytes(os.urandom(size))
    (junk / "notes.txt").write_bytes(b"x")
    keeper = directory_estate.reader()
    listed = keeper("host", "list")
    assert sorted(one["state"] for one in listed.data["hosts"]) == ["invalid", "pending"]
    assert any("no enrolments" in one for one in listed.warnings)
    assert keeper("host", "accept", host.fingerprint).status == ExitStatus.OK


def test_ten_thousand_junk_enrolments_hide_nobody(directory_estate: Estate) -> None:
    junk = directory_estate.objects / "enroll" / "web1"
    junk.mkdir(parents=True)
    for number in range(10_000):
        (junk / f"{number:040X}.json").write_bytes(b"{}")
    host = enrolled(directory_estate)
    keeper = directory_estate.reader()
    listed = keeper("host", "list")
    pending = [one for one in listed.data["hosts"] if one["state"] == "pending"]
    assert [one["host"] for one in pending] == ["db1"]
    assert len(listed.data["hosts"]) == 1 + candidates.EACH
    more = 10_000 - candidates.EACH
    assert f"{more} more enrolments below `web1` were not looked at: something fills the store" in (
        listed.warnings
    )
    assert keeper("host", "accept", host.fingerprint).status == ExitStatus.OK
    assert states(keeper) == ["complete"]


def test_a_machine_that_enrols_under_the_name_of_another_duty_is_doubted(
    directory_estate: Estate,
) -> None:
    keeper = directory_estate.reader()
    web = directory_estate.host("web1", more='identity = "AROAWEB:i-1"')
    web.done("host", "enrol")
    keeper.done("host", "accept", web.fingerprint)
    false = enrolled(directory_estate, machine="false", more='identity = "AROAWEB:i-2"')
    refused = keeper("host", "accept", false.fingerprint)
    assert refused.error["code"] == "enrolment-doubtful"
    assert "`AROAWEB` is the role of `web1`, not of `db1`" in refused.error["error"]
    assert states(keeper) == ["pending"]
    keeper.done("host", "accept", false.fingerprint, "--despite-doubts")
    assert states(keeper) == ["complete"]


def test_a_host_that_was_enrolled_by_another_role_so_far_is_doubted(
    directory_estate: Estate,
) -> None:
    keeper = directory_estate.reader()
    for number, role in enumerate(("AROADB", "AROAOTHER")):
        host = directory_estate.host(
            "db1", machine=f"db1-{number}", more=f'identity = "{role}:i-{number}"'
        )
        host.done("host", "enrol")
        said = keeper("host", "accept", host.fingerprint, "--replaces")
    assert "was enrolled by another role so far" in said.error["error"]


def test_two_keys_that_want_to_be_one_host_are_both_doubted(directory_estate: Estate) -> None:
    enrolled(directory_estate)
    enrolled(directory_estate, machine="other", more='identity = "other"')
    listed = directory_estate.reader()("host", "list")
    doubts = [one["doubts"] for one in listed.data["hosts"]]
    assert doubts == [["2 keys wait to become `db1`"]] * 2


def test_a_copy_of_a_machine_is_noticed(directory_estate: Estate) -> None:
    keeper = directory_estate.reader()
    host = directory_estate.host("db1", more='identity = "AROADB:i-1"')
    host.done("host", "enrol")
    keeper.done("host", "accept", host.fingerprint)
    file = host.config_file
    file.write_text(file.read_text().replace("AROADB:i-1", "AROADB:i-2"))
    host.done("host", "enrol")
    (copy, _) = keeper("host", "list").data["hosts"]
    assert copy["state"] == "pending"
    assert "one machine is a copy of the other" in copy["doubts"][0]
    assert keeper("host", "accept", host.fingerprint).error["code"] == "enrolment-doubtful"


def test_a_host_can_enrol_below_its_own_name_and_no_other(s3_estate: Estate) -> None:
    web = s3_estate.host("web1", rights="web1")
    web.done("host", "enrol")
    false = s3_estate.host("db1", machine="false", rights="web1")
    refused = false("host", "enrol")
    assert refused.status == ExitStatus.PERMISSION
    listed = s3_estate.reader()("host", "list")
    assert [one["identity"] for one in listed.data["hosts"]] == ["web1"]


def test_a_list_from_before_a_retirement_is_not_believed_again(directory_estate: Estate) -> None:
    keeper, restorer = directory_estate.reader(), directory_estate.reader("restorer")
    host = enrolled(directory_estate)
    keeper.done("host", "accept", host.fingerprint)
    keeper.done("host", "retire", host.fingerprint, "--after", "0")
    assert states(restorer) == ["suspect"]
    (directory_estate.objects / document.name(2)).unlink()  # by who may delete
    for machine in (keeper, restorer):
        assert states(machine) == ["suspect"]
        said = machine("backup", "list", "--host", "db1")
        assert any("this machine has seen 2, to which it keeps" in one for one in said.warnings)
    assert keeper("health", "hosts").data[0]["state"] == "fail"
    new = directory_estate.reader("restorer-new")
    assert states(new) == ["complete"]  # who has seen nothing can notice nothing, but for this:
    warned = directory_estate.reader("restorer-told", pins="minimum_serial = 2")
    assert states(warned) == ["pending"]
    assert keeper("host", "renew").data["serial"] == 3
    assert states(restorer) == ["suspect"]


@pytest.mark.parametrize("case", ["serial", "prefix", "stranger", "host key", "kind"])
def test_a_list_that_was_signed_for_something_else_does_not_count(
    directory_estate: Estate, case: str
) -> None:
    keys, host = directory_estate.keys, enrolled(directory_estate)
    cases: dict[str, dict[str, Any]] = {
        "serial": {"serial": 1, "name": 7},
        "prefix": {"prefix": "staging"},
        "stranger": {"root": keys.other_host},
        "host key": {"root": keys.host},
        "kind": {"kind": record.KIND},
    }
    more = cases[case]
    put_list(directory_estate, more.pop("root", keys.root), [pinned(host)], **more)
    keeper = directory_estate.reader()
    assert states(keeper) == ["pending"]
    refused = keeper("host", "accept", host.fingerprint)
    assert refused.error["code"] == "pins-invalid"


@pytest.mark.parametrize("case", ["truncated", "garbage", "empty", "bit", "nested", "huge"])
def test_a_damaged_list_is_passed_over_and_the_next_one_stands_above_it(
    directory_estate: Estate, case: str
) -> None:
    keeper, host = directory_estate.reader(), enrolled(directory_estate)
    keeper.done("host", "accept", host.fingerprint)
    good = (directory_estate.objects / document.name(1)).read_bytes()
    bad = {
        "truncated": good[:-200],
        "garbage": os.urandom(5000),
        "empty": b"",
        "bit": good.replace(b"A", b"B", 1),
        "nested": b"[" * 200_000,
        "huge": b" " * (document.LIST_LIMIT + 1),
    }[case]
    (directory_estate.objects / document.name(2)).write_bytes(bad)
    for machine in (keeper, directory_estate.reader("restorer")):
        assert states(machine) == ["complete"]
        said = machine("backup", "list", "--host", "db1")
        assert any(f"`{document.name(2)}` is no list" in one for one in said.warnings)
    said = keeper("host", "renew")
    assert (said.status, said.data["serial"]) == (ExitStatus.OK, 3)


def test_a_list_is_found_below_any_amount_of_junk(
    directory_estate: Estate,
) -> None:
    keeper, host = directory_estate.reader(), enrolled(directory_estate)
    keeper.done("host", "accept", host.fingerprint)
    for serial in range(2, 500):
        (directory_estate.objects / document.name(serial)).write_bytes(b"{}")
    assert states(keeper) == ["complete"]
    restorer = directory_estate.reader("restorer")  # a machine that has seen no list yet
    assert states(restorer) == ["complete"]
    said = restorer("backup", "list", "--host", "db1")
    assert f"498 objects in `{document.DIRECTORY}` are no lists of pinned hosts" in said.warnings
    assert keeper("host", "renew").data["serial"] == 500
    assert states(directory_estate.reader("restorer-2")) == ["complete"]


def test_the_highest_serial_number_taken_by_junk_is_an_error(directory_estate: Estate) -> None:
    keeper, host = directory_estate.reader(), enrolled(directory_estate)
    keeper.done("host", "accept", host.fingerprint)
    (directory_estate.objects / "pins" / "9999999999.json").write_bytes(b"{}")
    refused = keeper("host", "renew")
    assert refused.error["code"] == "pins-invalid"
    assert "9999999999" in refused.error["hint"]
    assert states(keeper) == ["complete"]


def test_a_fork_of_a_serial_number_is_told(directory_estate: Estate) -> None:
    keeper, host = directory_estate.reader(), enrolled(directory_estate)
    keeper.done("host", "accept", host.fingerprint)
    put_list(
        directory_estate, directory_estate.keys.root, [line(directory_estate.keys.host, "db1")]
    )
    said = keeper("backup", "list", "--host", "db1")
    assert [one["state"] for one in said.data["backups"]] == ["complete"]
    assert any("two lists of pinned hosts have the serial number 1" in one for one in said.warnings)


def test_a_list_that_has_ended_vouches_for_what_was_stored_before(
    directory_estate: Estate,
) -> None:
    host = enrolled(directory_estate)
    (signature,) = directory_estate.objects.rglob("manifest.json.sig")
    old = time.time() - 10 * 86400
    os.utime(signature, (old, old))
    host.done("backup", "run")
    ended = clock.now() - timedelta(days=5)
    put_list(directory_estate, directory_estate.keys.root, [pinned(host)], until=ended)
    keeper = directory_estate.reader()
    assert states(keeper) == ["complete", "pending"]
    assert keeper("health", "hosts").data[0]["state"] == "fail"
    assert keeper("host", "renew").status == ExitStatus.OK
    assert states(keeper) == ["complete", "complete"]


def test_a_root_that_has_expired_signs_no_list_and_a_thief_of_it_none_for_new_backups(
    directory_estate: Estate,
) -> None:
    keys = directory_estate.keys
    host = enrolled(directory_estate)
    keeper = directory_estate.reader(roots=(keys.expired_root,))
    assert keeper("host", "accept", host.fingerprint).error["code"] == "key-expired"
    put_list(directory_estate, keys.expired_root_before, [pinned(host)])
    assert states(keeper) == ["pending"]
    put_list(directory_estate, keys.expired_root_before, [pinned(host)], serial=2, at=LONG_AGO)
    assert states(keeper) == ["pending"]
    said = keeper("backup", "list", "--host", "db1")
    assert any("the list of pinned hosts ended 2024-03-01" in one for one in said.warnings)


def test_a_root_that_is_revoked_counts_for_nothing(directory_estate: Estate) -> None:
    keys, host = directory_estate.keys, enrolled(directory_estate)
    put_list(directory_estate, keys.revoked_host_before, [pinned(host)])
    trusting = directory_estate.reader("restorer", roots=(keys.revoked_host_before,))
    assert states(trusting) == ["complete"]
    keeper = directory_estate.reader(roots=(keys.revoked_host,))
    assert states(keeper) == ["pending"]


def test_a_second_root_takes_over(directory_estate: Estate) -> None:
    keys, host = directory_estate.keys, enrolled(directory_estate)
    directory_estate.reader().done("host", "accept", host.fingerprint)
    both = directory_estate.reader("keeper-2", roots=(keys.other_host, keys.root))
    assert states(both) == ["complete"]
    both.done("host", "renew")
    assert states(directory_estate.reader("restorer", roots=(keys.other_host,))) == ["complete"]


def test_two_people_who_accept_at_once_both_get_their_way(directory_estate: Estate) -> None:
    hosts = [enrolled(directory_estate, name) for name in ("db1", "web1")]
    keepers = [directory_estate.reader(name) for name in ("keeper-1", "keeper-2")]
    running = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "agent", "--config", str(keeper.config_file)),
                *("host", "accept", host.fingerprint),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for keeper, host in zip(keepers, hosts, strict=True)
    ]
    said = [one.communicate(timeout=PATIENCE)[1] for one in running]
    assert [one.returncode for one in running] == [0, 0], said
    listed = keepers[0].done("host", "list")
    assert listed.data["serial"] == 2
    assert [one["state"] for one in listed.data["hosts"]] == ["accepted", "accepted"]


def test_who_is_overtaken_tries_again_on_the_newer_list(
    directory_estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (enrolled(directory_estate, name) for name in ("db1", "web1"))
    keeper, other = directory_estate.reader("keeper-1"), directory_estate.reader("keeper-2")
    real, calls = publish.publish, []

    def overtaken(*arguments: Any) -> PinList:
        calls.append(arguments)
        if len(calls) == 1:
            other.done("host", "accept", second.fingerprint)
        return real(*arguments)

    monkeypatch.setattr(publish, "publish", overtaken)
    assert keeper.done("host", "accept", first.fingerprint).data["serial"] == 2
    assert len(calls) == 3
    assert len(keeper.done("host", "list").data["hosts"]) == 2


def test_who_is_overtaken_again_and_again_is_told_to_try_later(
    directory_estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = enrolled(directory_estate)
    real = Directory.put

    def taken(store: Directory, name: str, data: bytes, *, sha256: str) -> None:
        if name.startswith("pins/"):
            raise Art32Error(Code.OBJECT_EXISTS, f"`{name}` is in the store already")
        real(store, name, data, sha256=sha256)

    monkeypatch.setattr(Directory, "put", taken)
    refused = directory_estate.reader()("host", "accept", host.fingerprint)
    assert (refused.status, refused.error["code"]) == (ExitStatus.TRY_AGAIN, "pins-conflict")


def test_a_list_is_verified_with_stock_tools(directory_estate: Estate) -> None:
    estate, host = directory_estate, enrolled(directory_estate)
    estate.reader().done("host", "accept", host.fingerprint)
    found = json.loads((estate.objects / document.name(1)).read_bytes())
    payload = base64.b64decode(found["payload"])
    kind = found["payloadType"]
    work = estate.directory / "work"
    work.mkdir()
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    (work / "signed").write_bytes(signed)
    (work / "sig").write_bytes(base64.b64decode(found["signatures"][0]["sig"]))
    gpg(estate.keys.root.home, "--output", str(work / "root.pgp"), "--export")
    subprocess.run(
        ["gpgv", "--keyring", str(work / "root.pgp"), str(work / "sig"), str(work / "signed")],
        check=True,
        capture_output=True,
    )
    assert hashlib.sha256(payload).hexdigest()
    assert json.loads(payload)["hosts"][0]["fingerprint"] == host.fingerprint
