"""The rule of absent, complete, pending and suspect, case by case, with real signatures."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.backup import catalog, identity, layout, manifest
from agent.backup.catalog import Backup, State
from agent.backup.identity import Reader
from agent.backup.layout import Place
from agent.backup.manifest import Manifest, ObjectEntry, SetEntry
from agent.config.model import Configuration, DirectoryStore, Signer
from agent.errors import Art32Error, Code
from agent.store import Store, open_store
from tests.fixtures.keys import CREATED, EXPIRED, Keys, ThrowAwayKey, gpg, key_directory
from tests.fixtures.simulation import DAY, backup_id, simulated

PREFIX = "production"
MOMENT = datetime(2026, 11, 23, 3, 15, tzinfo=UTC)
RETIREMENT = 5


@dataclass(frozen=True)
class Subkeys:
    """A host key that signs with subkeys: the good one, and one that has been revoked."""

    key: ThrowAwayKey
    good: str
    revoked: str
    encryption: str
    before: ThrowAwayKey


def _fingerprints(home: Path) -> list[str]:
    listing = gpg(home, "--with-colons", "--list-keys").decode().splitlines()
    return [line.split(":")[9] for line in listing if line.startswith("fpr:")]


@pytest.fixture(scope="module")
def subkeys() -> Iterator[Subkeys]:
    with key_directory() as directory:
        home, copy = directory / "home", directory / "copy"
        home.mkdir(mode=0o700)
        copy.mkdir(mode=0o700)
        gpg(home, "--quick-generate-key", "sub <sub@example.invalid>", "ed25519", "cert", "never")
        (primary,) = _fingerprints(home)
        for kind in (("ed25519", "sign"), ("ed25519", "sign"), ("cv25519", "encr")):
            gpg(home, "--quick-add-key", primary, *kind, "never")
        _, good, revoked, encryption = _fingerprints(home)
        public, secret = directory / "sub.asc", directory / "sub.secret.asc"
        secret.write_bytes(gpg(home, "--armor", "--export-secret-keys", primary))
        gpg(copy, "--import", stdin=secret.read_bytes())
        revoke = b"key 2\nrevkey\ny\n0\n\ny\nsave\n"
        gpg(copy, "--no-batch", "--command-fd", "0", "--edit-key", primary, stdin=revoke)
        public.write_bytes(gpg(copy, "--armor", "--export", primary))
        key = ThrowAwayKey("sub", primary, copy, public, secret)
        before = ThrowAwayKey("sub", primary, home, public, secret)
        yield Subkeys(key, good, revoked, encryption, before)


@dataclass
class Vault:
    """A directory store into which a test puts backups, good and bad."""

    store: Store
    reader: Reader
    root: Path
    keys: Keys
    number: int = 0
    hashes: dict[int, str] = field(default_factory=dict)

    def put(self, place: Place, name: str, data: bytes) -> None:
        self.store.put(place.name(name), data, sha256=hashlib.sha256(data).hexdigest())

    def path(self, place: Place, name: str) -> Path:
        return self.root / PREFIX / place.name(name)

    def place(self, *, host: str = "db1", source: str = "app") -> Place:
        self.number += 1
        return Place(host, source, "20261123T031500Z", backup_id(self.number))

    def manifest(self, place: Place, key: ThrowAwayKey, **changes: object) -> Manifest:
        contents = {
            layout.KEY: b"key",
            layout.segment(0, hashlib.sha256(b"zero").hexdigest()): b"zero",
            layout.segment(1, hashlib.sha256(b"one").hexdigest()): b"one",
            layout.DETAILS: b"details",
            layout.SUMS: b"sums",
        }
        for name, data in contents.items():
            self.put(place, name, data)
        values: dict[str, object] = {
            "prefix": PREFIX,
            "host": place.host,
            "source": place.source,
            "id": place.id,
            "sequence": self.number,
            "previous": "0" * 64,
            "ledger": "0" * 64,
            "started": place.started,
            "finished": place.started,
            "signer": key.fingerprint,
            "recipients": ["B" * 40],
            "objects": [
                ObjectEntry(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
                for name, data in contents.items()
            ],
        }
        return Manifest.model_validate({**values, **changes})

    def commit(
        self,
        *,
        key: ThrowAwayKey | None = None,
        host: str = "db1",
        source: str = "app",
        sign: Callable[[bytes], bytes] | None = None,
        at: datetime | None = None,
        claims: Mapping[str, object] | None = None,
        **changes: object,
    ) -> Place:
        """Store a whole backup, signed by a key or as `sign` does it, and return its place."""
        own = key or self.keys.host
        place = self.place(host=host, source=source)
        data = self.manifest(place, own, **changes, **(claims or {})).serialise()
        self.put(place, layout.MANIFEST, data)
        self.hashes[self.number] = hashlib.sha256(data).hexdigest()
        signature = sign(data) if sign else own.sign(data, at=at)
        self.put(place, layout.SIGNATURE, signature)
        return place

    def read(self, **limits: str) -> list[Backup]:
        return catalog.read(self.store, self.reader, PREFIX, **limits)

    def judged(self, place: Place) -> Backup:
        (found,) = [backup for backup in self.read() if backup.place == place]
        return found


@pytest.fixture(scope="module")
def reader(keys: Keys, subkeys: Subkeys) -> Iterator[Reader]:
    def pinned(host: str, key: ThrowAwayKey, retired: int | None = None) -> Signer:
        return Signer(
            host=host,
            fingerprint=key.fingerprint,
            key_file=key.public_file,
            retired_after_sequence=retired,
        )

    config = Configuration(
        host="keeper",
        store=DirectoryStore(kind="directory", path=Path("/nowhere")),
        signers=(
            pinned("db1", keys.host),
            pinned("db2", keys.other_host),
            pinned("old", keys.expired_host),
            pinned("stolen", keys.revoked_host),
            pinned("sub", subkeys.key),
            pinned("retired", keys.other_host, RETIREMENT),
        ),
    )
    with identity.reader(config) as found:
        yield found


@pytest.fixture
def vault(tmp_path: Path, keys: Keys, reader: Reader) -> Vault:
    store = open_store(DirectoryStore(kind="directory", path=tmp_path, prefix=PREFIX))
    return Vault(store, reader, tmp_path, keys)


def test_a_whole_signed_backup_is_complete(vault: Vault) -> None:
    backup = vault.judged(vault.commit())
    assert (backup.state, backup.reason, backup.notes) == (State.COMPLETE, "", ())
    assert backup.manifest is not None
    assert backup.manifest_sha256 == vault.hashes[1]
    assert catalog.require_complete(backup) is backup.manifest


@pytest.mark.parametrize("stored", [(), (layout.KEY,), (layout.KEY, layout.MANIFEST)])
def test_without_a_signature_a_backup_is_absent(vault: Vault, stored: tuple[str, ...]) -> None:
    place = vault.place()
    vault.put(place, "00000-" + "ab" * 32 + ".pgp", b"data")
    for name in stored:
        vault.put(place, name, b"data")
    backup = vault.judged(place)
    assert backup.state is State.ABSENT
    with pytest.raises(Art32Error) as caught:
        catalog.require_complete(backup)
    assert caught.value.code is Code.NO_BACKUP


def test_every_object_that_is_missing_makes_it_suspect(vault: Vault) -> None:
    names = [entry.name for entry in vault.manifest(vault.place(), vault.keys.host).objects]
    for name in (*names, layout.MANIFEST):
        place = vault.commit()
        vault.path(place, name).unlink()
        backup = vault.judged(place)
        assert backup.state is State.SUSPECT, name
        assert "missing" in backup.reason
        with pytest.raises(Art32Error) as caught:
            catalog.require_complete(backup)
        assert caught.value.code is Code.SUSPECT


@pytest.mark.parametrize("change", [b"", b"longer"])
def test_an_object_of_another_size_makes_it_suspect(vault: Vault, change: bytes) -> None:
    place = vault.commit()
    vault.path(place, layout.KEY).write_bytes(change)
    assert vault.judged(place).state is State.SUSPECT


def test_a_link_in_place_of_an_object_makes_it_suspect(vault: Vault) -> None:
    for name in (layout.KEY, layout.MANIFEST):
        place = vault.commit()
        elsewhere = vault.root / f"elsewhere-{place.id}"
        vault.path(place, name).rename(elsewhere)
        vault.path(place, name).symlink_to(elsewhere)
        assert vault.judged(place).state is State.SUSPECT


def test_a_byte_changed_anywhere_in_the_manifest_makes_it_suspect(vault: Vault) -> None:
    place = vault.commit()
    path = vault.path(place, layout.MANIFEST)
    data = bytearray(path.read_bytes())
    for position in range(0, len(data), len(data) // 6):
        changed = bytearray(data)
        changed[position] ^= 1
        path.write_bytes(changed)
        assert vault.judged(place).state is State.SUSPECT


def _armored(key: ThrowAwayKey) -> Callable[[bytes], bytes]:
    return lambda data: gpg(
        key.home, "--local-user", key.fingerprint, "--armor", "--detach-sign", stdin=data
    )


def test_an_armored_signature_counts_like_a_binary_one(vault: Vault) -> None:
    place = vault.commit(sign=_armored(vault.keys.host))
    assert vault.judged(place).state is State.COMPLETE


def test_a_signature_that_is_none_makes_it_suspect(vault: Vault) -> None:
    own = vault.keys.host
    forgeries: dict[str, Callable[[bytes], bytes]] = {
        "empty": lambda data: b"",
        "text": lambda data: b"signed, the host",
        "random": lambda data: os.urandom(300),
        "of other data": lambda data: own.sign(data + b" "),
        "cut": lambda data: own.sign(data)[:-10],
        "twice the same": lambda data: own.sign(data) * 2,
        "two signers": lambda data: own.sign(data) + vault.keys.other_host.sign(data),
        "stranger second": lambda data: own.sign(data) + vault.keys.operations.sign(data),
        "whole message": lambda data: gpg(own.home, "--sign", stdin=data),
        "clear text": lambda data: gpg(own.home, "--clear-sign", stdin=data),
        "a public key": lambda data: own.public_file.read_bytes(),
        "huge": lambda data: own.sign(data) + bytes(catalog.SIGNATURE_LIMIT),
    }
    for name, forge in forgeries.items():
        backup = vault.judged(vault.commit(sign=forge))
        assert backup.state is State.SUSPECT, name
        assert backup.reason
        assert backup.manifest is None


def test_a_signer_whom_nobody_pinned_leaves_it_pending(vault: Vault) -> None:
    backup = vault.judged(vault.commit(key=vault.keys.operations))
    assert backup.state is State.PENDING
    with pytest.raises(Art32Error) as caught:
        catalog.require_complete(backup)
    assert caught.value.code is Code.PENDING


def test_a_signature_by_another_hosts_key_makes_it_suspect(vault: Vault) -> None:
    backup = vault.judged(vault.commit(key=vault.keys.other_host))
    assert (backup.state, backup.reason) == (State.SUSPECT, "signed by the key of another host")


def test_a_host_that_nobody_pinned_cannot_borrow_a_pinned_key(vault: Vault) -> None:
    assert vault.judged(vault.commit(host="db3")).state is State.SUSPECT


def test_a_signature_by_a_revoked_key_makes_it_suspect(vault: Vault) -> None:
    backup = vault.judged(vault.commit(key=vault.keys.revoked_host_before, host="stolen"))
    assert backup.state is State.SUSPECT
    assert "revoked" in backup.reason


def test_a_signature_made_before_its_key_expired_stays_complete(vault: Vault) -> None:
    place = vault.commit(key=vault.keys.expired_host_before, host="old", at=EXPIRED - DAY)
    assert vault.judged(place).state is State.COMPLETE


@pytest.mark.parametrize("at", [EXPIRED, EXPIRED + timedelta(seconds=1), None])
def test_a_signature_made_after_its_key_expired_makes_it_suspect(
    vault: Vault, at: datetime | None
) -> None:
    backup = vault.judged(vault.commit(key=vault.keys.expired_host_before, host="old", at=at))
    assert backup.state is State.SUSPECT
    assert "not valid" in backup.reason


def test_a_signature_from_before_its_key_existed_makes_it_suspect(vault: Vault) -> None:
    before = vault.keys.expired_host_before

    def early(data: bytes) -> bytes:
        return gpg(
            before.home,
            "--ignore-time-conflict",
            "--ignore-valid-from",
            "--detach-sign",
            stdin=data,
            at=CREATED - DAY,
        )

    backup = vault.judged(vault.commit(key=before, host="old", sign=early))
    assert backup.state is State.SUSPECT


def test_a_signature_that_expired_itself_makes_it_suspect(vault: Vault) -> None:
    before = vault.keys.expired_host_before

    def brief(data: bytes) -> bytes:
        return gpg(
            before.home, "--default-sig-expire", "1d", "--detach-sign", stdin=data, at=CREATED + DAY
        )

    assert vault.judged(vault.commit(key=before, host="old", sign=brief)).state is State.SUSPECT


def test_a_signature_over_text_that_ignores_line_ends_makes_it_suspect(vault: Vault) -> None:
    def textual(data: bytes) -> bytes:
        return gpg(vault.keys.host.home, "--textmode", "--detach-sign", stdin=data)

    assert vault.judged(vault.commit(sign=textual)).state is State.SUSPECT


def _by(home: Path, part: str) -> Callable[[bytes], bytes]:
    return lambda data: gpg(home, "--local-user", f"{part}!", "--detach-sign", stdin=data)


def test_a_subkey_signs_for_its_primary(vault: Vault, subkeys: Subkeys) -> None:
    place = vault.commit(key=subkeys.key, host="sub", sign=_by(subkeys.key.home, subkeys.good))
    assert vault.judged(place).state is State.COMPLETE


def test_a_signature_by_a_revoked_subkey_makes_it_suspect(vault: Vault, subkeys: Subkeys) -> None:
    place = vault.commit(
        key=subkeys.key, host="sub", sign=_by(subkeys.before.home, subkeys.revoked)
    )
    backup = vault.judged(place)
    assert backup.state is State.SUSPECT
    assert "revoked" in backup.reason


@pytest.mark.parametrize(
    ("sequence", "state"),
    [(1, State.COMPLETE), (RETIREMENT, State.COMPLETE), (RETIREMENT + 1, State.SUSPECT)],
)
def test_a_retired_key_counts_up_to_its_last_sequence(
    vault: Vault, sequence: int, state: State
) -> None:
    place = vault.commit(key=vault.keys.other_host, host="retired", sequence=sequence)
    assert vault.judged(place).state is state


@pytest.mark.parametrize(
    "changes",
    [
        {"prefix": "staging"},
        {"prefix": ""},
        {"host": "db2"},
        {"source": "other"},
        {"id": "f" * 16},
        {"started": "20261122T031500Z"},
        {"signer": "B" * 40},
    ],
    ids=lambda changes: str(*changes),
)
def test_a_manifest_of_another_place_makes_it_suspect(
    vault: Vault, changes: dict[str, object]
) -> None:
    backup = vault.judged(vault.commit(claims=changes))
    assert backup.state is State.SUSPECT
    assert backup.reason == "the manifest was made for another place"


def test_a_whole_backup_copied_to_another_place_is_suspect_there(vault: Vault) -> None:
    place = vault.commit()
    for other in (vault.place(), vault.place(source="other"), vault.place(host="db2")):
        for path in sorted(vault.path(place, "").iterdir()):
            vault.put(other, path.name, path.read_bytes())
        assert vault.judged(other).state is State.SUSPECT
    assert vault.judged(place).state is State.COMPLETE


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"null", b"[" * 9999, b"\xff", b'{"format":"art32/backup/1"}']
)
def test_a_signed_manifest_that_is_malformed_makes_it_suspect(vault: Vault, content: bytes) -> None:
    place = vault.place()
    vault.put(place, layout.MANIFEST, content)
    vault.put(place, layout.SIGNATURE, vault.keys.host.sign(content))
    backup = vault.judged(place)
    assert backup.state is State.SUSPECT
    assert "malformed" in backup.reason


def test_objects_that_nobody_signed_are_a_note(vault: Vault) -> None:
    place = vault.commit()
    vault.put(place, "00002-" + "ab" * 32 + ".pgp", b"junk")
    vault.put(place, "strange name", b"junk")
    backup = vault.judged(place)
    assert backup.state is State.COMPLETE
    assert backup.notes == ("2 objects that nobody signed",)


def test_foreign_names_are_left_alone(vault: Vault) -> None:
    place = vault.commit()
    for name in ("README", "db1/README", "db1/app/notes/x", f"{place.path}/below/x", "DB1/app/x/y"):
        vault.store.put(name, b"x", sha256=hashlib.sha256(b"x").hexdigest())
    (backup,) = vault.read()
    assert (backup.state, backup.notes) == (State.COMPLETE, ())


def test_a_chain_of_backups_has_no_notes_and_a_broken_one_has(vault: Vault) -> None:
    vault.commit(sequence=1)
    vault.commit(sequence=2, previous=vault.hashes[1])
    assert [backup.notes for backup in vault.read()] == [(), ()]
    vault.commit(sequence=3, previous="f" * 64)
    assert vault.read()[-1].notes == ("does not follow the backup of sequence 2",)


def test_a_doubled_sequence_is_noted_on_both(vault: Vault) -> None:
    vault.commit(sequence=1)
    vault.commit(sequence=1)
    notes = {backup.notes for backup in vault.read()}
    assert notes == {("sequence 1 stands twice: the host lost its ledger",)}


def test_sequences_of_two_signers_are_two_chains(vault: Vault) -> None:
    vault.commit(sequence=1)
    vault.commit(sequence=1, key=vault.keys.other_host, host="db2")
    assert [backup.notes for backup in vault.read()] == [(), ()]


def test_order_goes_by_the_stores_time_of_the_signature(vault: Vault) -> None:
    places = [vault.commit(sequence=number) for number in (1, 2, 3)]
    for place, age in zip(places, (1, 3, 2), strict=True):
        moment = (MOMENT - age * DAY).timestamp()
        os.utime(vault.path(place, layout.SIGNATURE), (moment, moment))
    found = vault.read()
    assert [backup.place for backup in found] == [places[1], places[2], places[0]]
    assert found[0].stored_at == MOMENT - 3 * DAY


def test_of_one_second_of_the_store_the_higher_sequence_is_the_later_one(vault: Vault) -> None:
    places = [vault.commit(sequence=number) for number in (3, 2, 1)]
    for place in places:
        os.utime(vault.path(place, layout.SIGNATURE), (MOMENT.timestamp(), MOMENT.timestamp()))
    found = vault.read()
    assert [backup.place for backup in found] == places[::-1]
    assert [unit.backups[0].place for unit in catalog.units(found)] == places[::-1]


def test_one_host_or_one_source_can_be_read_alone(vault: Vault) -> None:
    vault.commit()
    vault.commit(source="ap")
    vault.commit(host="db2", key=vault.keys.other_host)
    assert [backup.place.source for backup in vault.read(host="db1", source="ap")] == ["ap"]
    assert len(vault.read(host="db1")) == 2
    assert len(vault.read(source="app")) == 2


def test_an_empty_store_has_no_backups(vault: Vault) -> None:
    assert vault.read() == []


def test_members_of_a_set_are_one_unit(vault: Vault) -> None:
    for number in (1, 2, 3):
        entry = SetEntry(id="a" * 16, number=number, size=3)
        vault.commit(sequence=number, set=entry.model_dump())
        (unit,) = catalog.units(vault.read())
        assert unit.whole == (number == 3)


def test_a_suspicious_backup_is_complete_and_counts_once_accepted(vault: Vault) -> None:
    place = vault.commit(suspicious=["shrunk"])
    vault.commit(sequence=2, accepted=[place.id], previous=vault.hashes[1])
    backups = vault.read()
    assert [backup.state for backup in backups] == [State.COMPLETE] * 2
    first = next(unit for unit in catalog.units(backups) if unit.backups[0].place == place)
    assert not first.good(frozenset())
    assert first.good(catalog.accepted_ids(backups))
    assert first.good(catalog.accepted_ids([], [place.id]))


def test_a_backup_is_found_by_the_beginning_of_its_id() -> None:
    backups = [simulated(0xABCD << 48, MOMENT), simulated((0xABCE << 48) + 1, MOMENT)]
    assert catalog.find(backups, "abcd") is backups[0]
    assert catalog.find(backups, backups[1].id) is backups[1]
    for wanted in ("abc", "", "ffff", "abcd" * 5, "ABCD", "*"):
        with pytest.raises(Art32Error) as caught:
            catalog.find(backups, wanted)
        assert caught.value.code is Code.NO_BACKUP
        assert caught.value.hint


def test_junk_that_borrows_an_id_does_not_hide_the_backup() -> None:
    good = simulated(7, MOMENT)
    junk = [
        simulated(0, MOMENT - n * DAY, state, borrowed_id=good.id)
        for n, state in enumerate((State.ABSENT, State.SUSPECT, State.PENDING), 1)
    ]
    assert catalog.find([*junk, good], good.id) is good


def test_a_store_that_fails_while_reading_is_an_error_and_no_verdict(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.commit()

    def unreachable(*_: object, **__: object) -> bytes:
        raise Art32Error(Code.STORE_UNREACHABLE, "the store does not answer")

    monkeypatch.setattr(vault.store, "get", unreachable)
    with pytest.raises(Art32Error, match="does not answer"):
        vault.read()


@pytest.mark.parametrize("code", [Code.STORE_REFUSED, Code.STORE_FAILED])
@pytest.mark.parametrize("name", [layout.MANIFEST, layout.SIGNATURE])
def test_one_object_that_the_store_does_not_give_makes_one_backup_unreadable(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, name: str, code: Code
) -> None:
    good, bad = vault.commit(), vault.commit(previous=vault.hashes[1])
    genuine = vault.store.get

    def refusing(wanted: str, *, limit: int) -> bytes:
        if wanted == bad.name(name):
            raise Art32Error(code, "no")
        return genuine(wanted, limit=limit)

    monkeypatch.setattr(vault.store, "get", refusing)
    assert vault.judged(good).state is State.COMPLETE
    found = vault.judged(bad)
    assert (found.state, found.reason) == (State.UNREADABLE, "it cannot be read: no")
    with pytest.raises(Art32Error, match="is unreadable") as caught:
        catalog.require_complete(found)
    assert caught.value.code is Code.STORE_FAILED


def test_a_host_accepts_its_own_backups_alone() -> None:
    backups = [simulated(1, MOMENT, accepted=[2]), simulated(2, MOMENT, host="db2")]
    found = catalog.accepted_by_host(backups)
    assert found == {"db1": {backup_id(2)}, "db2": frozenset()}


def test_an_object_that_vanishes_meanwhile_makes_it_suspect_and_no_crash(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = vault.commit()
    genuine = vault.store.get

    def vanishing(name: str, *, limit: int) -> bytes:
        with contextlib.suppress(FileNotFoundError):
            vault.path(place, layout.SIGNATURE).unlink()
        return genuine(name, limit=limit)

    monkeypatch.setattr(vault.store, "get", vanishing)
    (backup,) = vault.read()
    assert backup.state is State.SUSPECT


def test_the_limit_of_a_manifest_is_kept(vault: Vault) -> None:
    place = vault.commit()
    with vault.path(place, layout.MANIFEST).open("r+b") as handle:
        handle.truncate(manifest.MANIFEST_LIMIT + 1)
    assert vault.judged(place).state is State.SUSPECT
