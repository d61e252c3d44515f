"""`backup verify` and `backup list` as monitoring sees them: what is old, broken or gone shows."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent import cli, clock
from agent.backup import layout, manifest
from agent.errors import Art32Error, Code, ExitStatus
from agent.ledger import Ledger
from tests.fixtures.keys import Keys
from tests.fixtures.repository import Repository, write_repository

SET = "a" * 16


@dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


@dataclass(frozen=True)
class Place:
    """A copy of a site that a test may damage."""

    site: Repository
    capsys: pytest.CaptureFixture[str]

    def say(self, *words: str, form: str = "json") -> Said:
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main(["--config", str(self.site.config_file), "--output", form, *words])
        printed = self.capsys.readouterr()
        assert isinstance(end.value.code, int)
        return Said(end.value.code, printed.out, printed.err)

    def nagios(self, *words: str) -> tuple[int, str]:
        said = self.say("backup", "verify", "--newest", *words, form="nagios")
        return said.status, said.out

    @property
    def backups(self) -> list[Path]:
        """The directories of the source's backups, oldest first."""

        def sequence(path: Path) -> int:
            return manifest.parse((path / layout.MANIFEST).read_bytes()).sequence

        return sorted((self.site.store / "db1" / "app").iterdir(), key=sequence)

    def sign_anew(self, backup: Path, **changes: object) -> None:
        """Change what the manifest says, as the host itself would say it."""
        found = manifest.parse((backup / layout.MANIFEST).read_bytes())
        data = manifest.Manifest.model_validate({**found.model_dump(), **changes}).serialise()
        before = (backup / layout.SIGNATURE).stat()
        (backup / layout.MANIFEST).write_bytes(data)
        (backup / layout.SIGNATURE).write_bytes(self.site.keys.host.sign(data))
        os.utime(backup / layout.SIGNATURE, ns=(before.st_mtime_ns, before.st_mtime_ns))

    def forget(self) -> None:
        """Be another machine than the one that made the backups: a ledger without a record."""
        Ledger(self.site.state / "ledger.jsonl").path.unlink()


def name(backup: Path) -> str:
    return backup.name.partition("-")[2]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Path:
    """A site with three backups, stored 3, 2 and 1 hours ago."""
    directory = tmp_path_factory.mktemp("site")
    (directory / "data").write_bytes(b"data")
    source = '[[sources]]\nname = "app"\nkind = "command"\ncommand = ["echo", "data"]'
    site = write_repository(directory, keys, source)
    now = datetime.now(UTC)
    for hours in (3, 2, 1):
        (made,) = site.back_up("app")
        moment = (now - timedelta(hours=hours)).timestamp()
        for item in (site.store / made.path).iterdir():
            os.utime(item, (moment, moment))
    return directory


@pytest.fixture
def place(
    pristine: Path, tmp_path: Path, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> Iterator[Place]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    source = '[[sources]]\nname = "app"\nkind = "command"\ncommand = ["echo", "data"]'
    site = write_repository(tmp_path, keys, source)
    for part in ("store", "state"):
        shutil.copytree(pristine / part, tmp_path / part, dirs_exist_ok=True)
    yield Place(site, capsys)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def later(monkeypatch: pytest.MonkeyPatch, **length: int) -> None:
    moment = datetime.now(UTC) + timedelta(**length)
    monkeypatch.setattr(clock, "now", lambda: moment)


def test_a_recent_good_backup_is_ok_and_the_newest_alone_is_looked_at(place: Place) -> None:
    assert place.nagios()[0] == 0
    (entry,) = place.say("backup", "verify", "--newest").document["data"]
    assert (entry["id"], entry["good"]) == (name(place.backups[-1]), True)
    assert len(place.say("backup", "verify").document["data"]) == 3
    assert place.say("backup", "list").status == ExitStatus.OK


def test_a_newest_backup_that_is_old_is_critical(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(monkeypatch, days=20)
    status, line = place.nagios()
    assert status == 2
    assert "the newest good backup of `app` is older than 48 hours" in line
    said = place.say("backup", "verify", "--newest", form="human")
    assert said.status == ExitStatus.VERIFICATION
    assert "app: the newest good backup of `app` is older than 48 hours" in said.out
    assert "hint: on its host: systemctl list-timers" in said.out
    assert "runbook: backup-stale" in said.out
    assert place.say("backup", "verify").status == ExitStatus.OK


def test_a_source_without_any_good_backup_is_critical_though_each_is_intact(place: Place) -> None:
    place.forget()
    for backup in place.backups:
        place.sign_anew(backup, suspicious=["shrunk"])
    status, line = place.nagios()
    assert (status, "`app` has no good backup" in line) == (2, True)
    said = place.say("backup", "verify", "--newest")
    assert said.status == ExitStatus.VERIFICATION
    wrong = [entry["problem"] for entry in said.document["data"] if not entry["good"]]
    assert wrong == ["`app` has no good backup"]


def test_a_newest_backup_that_is_suspicious_is_a_warning_until_it_is_accepted(
    place: Place,
) -> None:
    newest = place.backups[-1]
    place.sign_anew(newest, suspicious=["shrunk"])
    status, line = place.nagios()
    assert status == 1
    assert f"`{name(newest)}` is suspicious and not accepted" in line
    Ledger(place.site.state / "ledger.jsonl").append("backup-accepted", id=name(newest))
    assert place.nagios()[0] == 0


def test_failed_nights_after_the_newest_good_backup_are_a_warning(place: Place) -> None:
    place.forget()
    newest = place.backups[-1]
    (newest / layout.SIGNATURE).unlink()
    status, line = place.nagios()
    assert status == 1
    assert f"`{name(newest)}` is absent" in line


def test_a_run_in_progress_is_no_warning_until_nothing_came_for_an_hour(place: Place) -> None:
    place.forget()  # which is a warning of its own
    first, second, third = place.backups
    (third / layout.SIGNATURE).unlink()
    os.utime(third / layout.KEY)
    status, line = place.nagios()
    assert (status, "the ledger" in line, name(third) in line) == (1, True, False)
    place.sign_anew(second, set={"id": SET, "number": 1, "size": 2})
    (entry,) = place.say("backup", "verify", "--newest").document["data"]
    assert (entry["id"], entry["good"]) == (name(first), True)
    status, line = place.nagios()
    assert (status, "whole" in line, name(third) in line) == (1, False, False)
    for item in third.iterdir():
        os.utime(item, ns=((second / layout.KEY).stat().st_mtime_ns,) * 2)
    status, line = place.nagios()
    assert (status, "part 1 of a set that is not whole" in line) == (2, True)


def test_what_is_wrong_is_no_run_in_progress_however_young(place: Place) -> None:
    newest = place.backups[-1]
    (newest / layout.KEY).unlink()
    os.utime(newest / layout.SIGNATURE)
    status, line = place.nagios()
    assert (status, "missing" in line) == (2, True)


def test_a_broken_newest_backup_is_critical_and_the_line_says_so(place: Place) -> None:
    newest = place.backups[-1]
    (newest / layout.KEY).unlink()
    status, line = place.nagios()
    assert status == 2
    assert name(newest) in line
    assert "missing" in line


def test_a_source_of_this_host_without_any_backup_is_critical(place: Place) -> None:
    with place.site.config_file.open("a") as handle:
        handle.write('[[sources]]\nname = "other"\nkind = "command"\ncommand = ["true"]\n')
    status, line = place.nagios()
    assert (status, "other: there is no backup of it at all" in line) == (2, True)
    assert place.nagios("--source", "app")[0] == 0


def test_a_set_that_is_not_whole_is_a_defect_and_shows_in_the_list(place: Place) -> None:
    for number, backup in enumerate(place.backups[1:], 1):
        place.sign_anew(backup, set={"id": SET, "number": number, "size": 2})
    place.forget()
    whole = place.say("backup", "verify", "--newest").document["data"]
    assert [entry["good"] for entry in whole] == [True, True]
    lost, left = place.backups[1:]
    shutil.rmtree(lost)
    said = place.say("backup", "verify", "--newest")
    assert said.status == ExitStatus.VERIFICATION
    entry = next(one for one in said.document["data"] if one["id"] == name(left))
    assert entry["problem"] == "part 2 of a set that is not whole: 1 of 2 parts are there"
    assert place.say("backup", "verify", name(left)).status == ExitStatus.VERIFICATION
    listed = place.say("backup", "list")
    assert listed.status == ExitStatus.WARNINGS
    assert [one["broken_set"] for one in listed.document["data"]["backups"]] == [False, True]
    assert "complete, part of a broken set" in place.say("backup", "list", form="human").out


@pytest.mark.parametrize("wholly", [True, False])
def test_a_complete_backup_that_vanishes_is_noticed_by_its_host(place: Place, wholly: bool) -> None:
    lost = place.backups[-1]
    if wholly:
        shutil.rmtree(lost)
    else:
        (lost / layout.SIGNATURE).unlink()
    for words in (("--newest",), ()):
        said = place.say("backup", "verify", *words)
        assert said.status == ExitStatus.VERIFICATION
        entry = said.document["data"][-1]
        assert (entry["id"], entry["good"]) == (name(lost), False)
        assert "is not in the store" in entry["problem"]
    listed = place.say("backup", "list")
    assert listed.status == ExitStatus.WARNINGS
    assert any(name(lost) in warning for warning in listed.document["warnings"])


def test_a_whole_store_that_vanishes_is_no_empty_store(place: Place) -> None:
    shutil.rmtree(place.site.store / "db1")
    said = place.say("backup", "verify")
    assert (said.status, len(said.document["data"])) == (ExitStatus.VERIFICATION, 3)
    assert len(place.say("backup", "list").document["warnings"]) == 3


def test_the_ledger_misses_no_backup_of_another_host_or_source(place: Place) -> None:
    text = place.site.config_file.read_text()
    place.site.config_file.write_text(text.replace('host = "db1"', 'host = "keeper"', 1))
    assert place.say("backup", "list").document["warnings"] == []
    lost = place.backups[-1]
    shutil.rmtree(lost)
    assert place.say("backup", "list").document["warnings"] == []
    warnings = place.say("backup", "list", "--all-hosts").document["warnings"]
    assert sum(name(lost) in warning for warning in warnings) == 1
    assert place.say("backup", "list", "other", "--all-hosts").status == ExitStatus.NO_BACKUP


def test_a_backup_deleted_here_is_not_missed(place: Place) -> None:
    doomed = name(place.backups[1])
    deleted = place.say("backup", "delete", doomed, "--apply", "--below-floor")
    assert deleted.status == ExitStatus.OK
    assert place.say("backup", "verify").status == ExitStatus.OK
    assert place.say("backup", "list").status == ExitStatus.OK


def test_a_backup_that_may_have_been_pruned_elsewhere_is_not_missed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(place.backups[1])
    later(monkeypatch, days=31)
    assert place.say("backup", "list").status == ExitStatus.OK


def test_a_gap_between_two_backups_is_noticed_by_a_keeper(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, lost, last = place.backups
    place.forget()
    shutil.rmtree(lost)
    listed = place.say("backup", "list")
    assert listed.status == ExitStatus.WARNINGS
    (note,) = listed.document["warnings"]
    assert name(first) in note
    assert name(last) in note
    verified = place.say("backup", "verify")
    assert verified.status == ExitStatus.WARNINGS
    assert note in verified.document["warnings"]
    later(monkeypatch, days=31)
    assert place.say("backup", "list").status == ExitStatus.OK


def test_a_gap_that_a_person_made_on_this_keeper_is_none(place: Place) -> None:
    place.forget()
    doomed = name(place.backups[1])
    place.say("backup", "delete", doomed, "--apply", "--below-floor")
    assert place.say("backup", "list").status == ExitStatus.OK
    shutil.rmtree(place.backups[0])  # the oldest: no neighbour shows it
    assert place.say("backup", "list").status == ExitStatus.OK


@pytest.mark.parametrize(
    "words", [("nosuch",), ("--host", "nosuch"), ("nosuch", "--all-hosts")], ids=" ".join
)
def test_a_list_of_a_name_that_nobody_has_is_no_empty_success(
    place: Place, words: tuple[str, ...]
) -> None:
    said = place.say("backup", "list", *words)
    assert said.status == ExitStatus.NO_BACKUP
    assert "`nosuch`" in json.loads(said.err)["error"]


def test_a_host_cannot_accept_what_another_host_made(place: Place) -> None:
    doubtful, _, last = place.backups
    place.sign_anew(doubtful, suspicious=["shrunk"])
    other = place.site.store / "db2" / "app" / last.name
    shutil.copytree(last, other)
    with place.site.config_file.open("a") as handle:
        key = place.site.keys.other_host
        handle.write(
            f'[[signers]]\nhost = "db2"\nfingerprint = "{key.fingerprint}"\n'
            f'key_file = "{key.public_file}"\n'
        )
    found = manifest.parse((other / layout.MANIFEST).read_bytes())
    signed = found.model_copy(
        update={"host": "db2", "signer": key.fingerprint, "accepted": [name(doubtful)]}
    ).serialise()
    (other / layout.MANIFEST).write_bytes(signed)
    (other / layout.SIGNATURE).write_bytes(key.sign(signed))
    listed = place.say("backup", "list", "--all-hosts").document["data"]["backups"]
    assert {one["state"] for one in listed} == {"complete"}
    entry = next(one for one in listed if one["id"] == name(doubtful))
    assert (entry["suspicious"], entry["accepted"]) == (["shrunk"], False)


def test_a_verification_that_cannot_be_recorded_still_says_what_it_found(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise Art32Error(Code.DISK, "the ledger cannot be written: no room")

    monkeypatch.setattr(Ledger, "append", full)
    said = place.say("backup", "verify")
    assert said.status == ExitStatus.WARNINGS
    assert [one["good"] for one in said.document["data"]] == [True] * 3
    (warning,) = said.document["warnings"]
    assert warning.endswith("this verification has no record")


def test_a_verification_with_a_ledger_that_cannot_be_opened_still_says_what_it_found(
    place: Place,
) -> None:
    place.forget()
    (place.site.state / "ledger.jsonl").mkdir()
    said = place.say("backup", "verify", "--newest")
    assert said.status == ExitStatus.WARNINGS
    assert [one["good"] for one in said.document["data"]] == [True]
    assert len(said.document["warnings"]) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_one_unreadable_manifest_does_not_hide_the_other_backups(place: Place) -> None:
    (place.backups[0] / layout.MANIFEST).chmod(0)
    listed = place.say("backup", "list")
    assert listed.status == ExitStatus.WARNINGS
    assert listed.document["data"]["from"] == "store"
    states = [one["state"] for one in listed.document["data"]["backups"]]
    assert sorted(states) == ["complete", "complete", "unreadable"]
