"""Making backups: what fails leaves no signature, and every run stands in the ledger."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from agent import files
from agent.backup import (
    acceptance,
    catalog,
    history,
    identity,
    layout,
    make,
    restore,
    shipment,
)
from agent.backup.catalog import State
from agent.backup.sources import Dump
from agent.backup.sources import command as command_plugin
from agent.config.sources import CommandSource
from agent.errors import Art32Error, Code
from agent.store import open_store
from tests.fixtures.repository import MakeRepository, Repository

CANARY = "marta.hartmann@example.com"


def command(*argv: str, more: str = "") -> str:
    words = ", ".join(f'"{word}"' for word in argv)
    return f'[[sources]]\nname = "app"\nkind = "command"\ncommand = [{words}]\n{more}'


def states(site: Repository) -> list[State]:
    config = site.configuration()
    with identity.reader(config) as reader:
        found = catalog.read(open_store(config.store), reader, config.store.prefix)
    return [backup.state for backup in found]


def known(site: Repository) -> history.History:
    return history.read(make.ledger_of(site.configuration()).records())


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (("sh", "-c", "head -c 300000 /dev/zero; exit 3"), Code.SOURCE_FAILED),
        (("sh", "-c", "head -c 300000 /dev/zero; kill -9 $$"), Code.SOURCE_FAILED),
        (("true",), Code.SOURCE_EMPTY),
        (("/nowhere/program",), None),
    ],
    ids=["exit 3", "killed", "empty", "no program"],
)
def test_a_run_that_fails_leaves_no_signature_and_says_so(
    make_repository: MakeRepository, argv: tuple[str, ...], code: Code | None
) -> None:
    site = make_repository(command(*argv))
    with pytest.raises(Art32Error) as caught:
        site.back_up("app")
    assert code is None or caught.value.code is code
    assert set(states(site)) <= {State.ABSENT}
    assert not list(site.store.rglob(layout.SIGNATURE))
    assert known(site).last_result == {"app": caught.value.code.label}
    assert known(site).backups == []


def test_a_backup_without_its_trailer_is_none(make_repository: MakeRepository) -> None:
    site = make_repository(command("printf", "data", more='trailer = "-- complete"'))
    with pytest.raises(Art32Error) as caught:
        site.back_up("app")
    assert caught.value.code is Code.SOURCE_INCOMPLETE
    assert State.COMPLETE not in states(site)


def test_no_plaintext_leaves_the_host(make_repository: MakeRepository) -> None:
    site = make_repository(command("printf", f"{CANARY}"))
    site.back_up("app")
    for path in [*site.store.rglob("*"), *site.state.rglob("*")]:
        assert path.is_dir() or CANARY.encode() not in path.read_bytes(), path.name


def test_a_backup_that_shrank_is_suspicious_until_accepted(
    make_repository: MakeRepository, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"x" * 1000)
    site = make_repository(command("cat", str(data)))
    site.back_up("app")
    data.write_bytes(b"x" * 499)
    (small,) = site.back_up("app")
    assert small.suspicious == (shipment.SHRUNK,)
    (again,) = site.back_up("app")
    assert again.suspicious, "a suspicious backup is no baseline"
    make.ledger_of(site.configuration()).append(history.ACCEPTED, id=again.id)
    (after,) = site.back_up("app")
    assert after.suspicious == ()
    assert states(site) == [State.COMPLETE] * 4


def test_two_runs_of_one_source_never_overlap(make_repository: MakeRepository) -> None:
    site = make_repository(command("printf", "data"))
    lock = site.state / "locks" / "app.lock"
    with files.lock(lock, what="it"), pytest.raises(Art32Error) as caught:
        site.back_up("app")
    assert caught.value.code is Code.LOCKED
    assert not list(site.store.iterdir())
    site.back_up("app")


def test_a_broken_ledger_stops_the_run(make_repository: MakeRepository) -> None:
    site = make_repository(command("printf", "data"))
    site.back_up("app")
    path = site.state / make.LEDGER
    path.write_bytes(path.read_bytes().replace(b'"app"', b'"api"', 1))
    with pytest.raises(Art32Error) as caught:
        site.back_up("app")
    assert caught.value.code is Code.LEDGER_BROKEN
    assert states(site) == [State.COMPLETE]


def test_a_members_tag_is_stable_and_says_nothing(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    tag = shipment.member_tag(one, "customers")
    assert tag == shipment.member_tag(one, "customers")
    assert tag is not None
    assert len(tag) == 16
    assert (
        len({tag, shipment.member_tag(one, "orders"), shipment.member_tag(other, "customers")}) == 3
    )
    assert shipment.member_tag(one, "") is None


def test_runs_of_different_sources_at_once_share_one_sequence(
    make_repository: MakeRepository,
) -> None:
    sources = "".join(
        f'[[sources]]\nname = "s{number}"\nkind = "command"\ncommand = ["echo", "{number}"]\n'
        for number in range(4)
    )
    site = make_repository(sources)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: site.back_up(f"s{number % 4}"), range(4)))
    config = site.configuration()
    with identity.reader(config) as reader:
        found = catalog.read(open_store(config.store), reader, config.store.prefix)
    numbers = sorted(backup.manifest.sequence for backup in found if backup.manifest)
    assert numbers == [1, 2, 3, 4]
    assert [backup.notes for backup in found] == [()] * 4


class Set:
    """A plug-in whose members are the given ones."""

    def __init__(self, *members: str) -> None:
        self._members = members

    def probe(self, config: object) -> None:
        pass

    def members(self, config: object) -> tuple[str, ...]:
        return self._members

    def dump(self, config: CommandSource, member: str) -> AbstractContextManager[Dump]:
        return command_plugin.dump(config, member)


def test_a_member_that_vanished_from_a_set_is_flagged_until_accepted(
    make_repository: MakeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_repository(command("echo", "rows"))

    def made(*members: str) -> list[tuple[str, ...]]:
        monkeypatch.setattr(make, "plugin", lambda kind: Set(*members))
        return [one.suspicious for one in site.back_up("app")]

    assert made("globals:", "database:crm", "database:app") == [()] * 3
    assert made("globals:", "database:app") == [(make.MEMBER_MISSING,)] * 2
    assert made("globals:", "database:app") == [(make.MEMBER_MISSING,)] * 2
    assert made("globals:", "database:app", "database:crm", "database:new") == [()] * 4
    assert made("globals:", "database:new") == [(make.MEMBER_MISSING,)] * 2
    accepted = acceptance.accept(site.configuration(), known(site).backups[-1].id)
    assert len(accepted) == 2
    assert made("globals:", "database:new") == [()] * 2


def test_a_part_of_a_set_is_found_by_its_member(
    make_repository: MakeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_repository(command("echo", "rows"))
    monkeypatch.setattr(make, "plugin", lambda kind: Set("globals:", "database:crm"))
    site.back_up("app")
    config = site.configuration()
    store = open_store(config.store)
    with identity.reader(config) as reader:
        found = catalog.read(store, reader, config.store.prefix)
    chosen = restore.choose(found, source="app", host=config.host)
    assert len(chosen) == 2
    names = [restore.part(config, store, chosen, name).id for name in ("globals", "crm")]
    assert names == [backup.id for backup in sorted(chosen, key=number)]
    with pytest.raises(Art32Error) as unsaid:
        restore.part(config, store, chosen, None)
    assert unsaid.value.code is Code.USAGE
    with pytest.raises(Art32Error) as unknown:
        restore.part(config, store, chosen, "nobody")
    assert unknown.value.code is Code.NO_BACKUP
    assert "database:crm" in (unknown.value.hint or "")


def number(backup: catalog.Backup) -> int:
    assert backup.manifest is not None
    assert backup.manifest.set is not None
    return backup.manifest.set.number
