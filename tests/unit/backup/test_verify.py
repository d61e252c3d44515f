"""Verification and restore of damaged backups: every tier finds what it claims to find."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.backup import catalog, identity, layout, make, manifest, restore, verify
from agent.backup.catalog import Backup
from agent.backup.layout import Place
from agent.backup.sources import RestoreRequest
from agent.backup.verify import Tier
from agent.crypto import symmetric
from agent.crypto.home import isolated_home
from agent.errors import Art32Error, Code
from agent.store import open_store
from tests.fixtures.keys import Keys
from tests.fixtures.repository import Repository, write_repository

PLAIN = hashlib.shake_256(b"data").digest(300_000)
SEGMENT = symmetric.OVERHEAD + (96 << 10)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Repository:
    """A site with one backup of several segments."""
    directory = tmp_path_factory.mktemp("pristine")
    (directory / "data").write_bytes(PLAIN)
    source = (
        f'[[sources]]\nname = "app"\nkind = "command"\ncommand = ["cat", "{directory / "data"}"]'
    )
    site = write_repository(directory, keys, source)
    site.back_up("app", segment_bytes=SEGMENT)
    return site


@pytest.fixture
def place(pristine: Repository, tmp_path: Path) -> Path:
    """The directory of that backup in a copy of the store that a test may damage."""
    shutil.copytree(pristine.store, tmp_path / "store")
    (found,) = (tmp_path / "store" / "db1" / "app").iterdir()
    return found


def judged(pristine: Repository, place: Path) -> tuple[Repository, Backup]:
    config = pristine.configuration()
    local = config.store.model_copy(update={"path": place.parents[2]})
    with identity.reader(config) as reader:
        (backup,) = catalog.read(open_store(local), reader, "")
    return pristine, backup


def verified(pristine: Repository, place: Path, tier: Tier) -> str:
    site, backup = judged(pristine, place)
    config = site.configuration()
    local = config.store.model_copy(update={"path": place.parents[2]})
    return verify.verify(config, open_store(local), backup, tier).problem


def restored(pristine: Repository, place: Path) -> bytes:
    site, backup = judged(pristine, place)
    config = site.configuration()
    local = config.store.model_copy(update={"path": place.parents[2]})
    ledger = make.ledger_of(config)
    with tempfile.TemporaryFile() as out:
        restore.restore(config, open_store(local), backup, ledger, _never, output=out)
        out.seek(0)
        return out.read()


def _never(details: object) -> RestoreRequest:
    raise AssertionError("standard output needs no target")


def segments(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if layout.parse_segment(path.name))


def test_an_intact_backup_passes_every_tier_and_comes_back(
    pristine: Repository, place: Path
) -> None:
    assert len(segments(place)) > 2
    assert [verified(pristine, place, tier) for tier in Tier] == ["", "", ""]
    assert restored(pristine, place) == PLAIN


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _exchange(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def _flip_sums(place: Path) -> None:
    _flip(place / layout.SUMS)


def _cut(path: Path, by: int = 1) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-by] if by > 0 else data + b"\0")


# what is done to the backup, and the first tier that finds it
DAMAGE: list[tuple[str, Callable[[Path], None], Tier]] = [
    ("a bit in a middle segment", lambda place: _flip(segments(place)[1]), Tier.HASHES),
    ("a bit in the last segment", lambda place: _flip(segments(place)[-1]), Tier.HASHES),
    ("a bit in the key", lambda place: _flip(place / layout.KEY), Tier.HASHES),
    ("a bit in the details", lambda place: _flip(place / layout.DETAILS), Tier.HASHES),
    ("a bit in the sums", _flip_sums, Tier.HASHES),
    ("two segments exchanged", lambda place: _exchange(*segments(place)[:2]), Tier.HASHES),
    ("a missing last segment", lambda place: segments(place)[-1].unlink(), Tier.LISTING),
    ("a cut segment", lambda place: _cut(segments(place)[1]), Tier.LISTING),
    ("a longer segment", lambda place: _cut(segments(place)[1], -1), Tier.LISTING),
    ("no key", lambda place: (place / layout.KEY).unlink(), Tier.LISTING),
    ("no manifest", lambda place: (place / layout.MANIFEST).unlink(), Tier.LISTING),
    ("a bit in the manifest", lambda place: _flip(place / layout.MANIFEST), Tier.LISTING),
    ("a bit in the signature", lambda place: _flip(place / layout.SIGNATURE), Tier.LISTING),
    ("no signature", lambda place: (place / layout.SIGNATURE).unlink(), Tier.LISTING),
]


@pytest.mark.parametrize(
    ("damage", "tier"), [one[1:] for one in DAMAGE], ids=[one[0] for one in DAMAGE]
)
def test_damage_is_found_and_never_restored(
    pristine: Repository, place: Path, damage: Callable[[Path], None], tier: Tier
) -> None:
    damage(place)
    assert verified(pristine, place, tier)
    if tier is Tier.HASHES:
        assert verified(pristine, place, Tier.LISTING) == ""
    if damage is _flip_sums:
        assert restored(pristine, place) == PLAIN  # the sums are for people; art32 has the manifest
        return
    with pytest.raises(Art32Error) as caught:
        restored(pristine, place)
    assert caught.value.code in (Code.CORRUPT, Code.SUSPECT, Code.NO_BACKUP)


def test_a_damaged_restore_stands_in_the_ledger_with_its_outcome(
    pristine: Repository, place: Path
) -> None:
    _flip(segments(place)[1])
    with pytest.raises(Art32Error):
        restored(pristine, place)
    last = list(make.ledger_of(pristine.configuration()).records())[-1]
    assert (last.event, last.facts["result"]) == ("restore-finished", "corrupt")


def test_another_private_key_opens_nothing(pristine: Repository, place: Path, keys: Keys) -> None:
    _, backup = judged(pristine, place)
    config = pristine.configuration()
    local = open_store(config.store)
    other = config.model_copy(
        update={"restore": config.restore.model_copy(update={"gnupg_home": keys.other_host.home})}
    )
    with pytest.raises(Art32Error) as caught:
        verify.verify(other, local, backup, Tier.DECRYPT)
    assert caught.value.code is Code.KEY_UNDECRYPTABLE
    assert "example.invalid" not in f"{caught.value.sentence} {caught.value.hint}"
    nowhere = config.restore.model_copy(update={"gnupg_home": Path("/nowhere")})
    with pytest.raises(Art32Error) as caught:
        restore.open_key(
            config.model_copy(update={"restore": nowhere}),
            local,
            backup,
            catalog.require_complete(backup),
        )
    assert caught.value.code is Code.KEY_MISSING


def test_a_stream_of_another_length_than_its_details_say_is_refused(
    pristine: Repository, place: Path, keys: Keys
) -> None:
    """A host that signs nonsense is no reason to hand nonsense over as good."""
    site, backup = judged(pristine, place)
    config = site.configuration()
    store = open_store(config.store.model_copy(update={"path": place.parents[2]}))
    found = catalog.require_complete(backup)
    passphrase = restore.open_key(config, store, backup, found)
    details = manifest.Details(kind="command", plain_bytes=7, compressed_bytes=1)
    with isolated_home() as home:
        lie = bytes(symmetric.encrypt(home, passphrase, details.serialise()))
    (place / layout.DETAILS).write_bytes(lie)
    entries = [
        manifest.ObjectEntry(name=entry.name, size=len(lie), sha256=manifest.sha256(lie))
        if entry.name == layout.DETAILS
        else entry
        for entry in found.objects
    ]
    data = found.model_copy(update={"objects": entries}).serialise()
    (place / layout.MANIFEST).write_bytes(data)
    (place / layout.SIGNATURE).write_bytes(keys.host.sign(data))
    assert verified(pristine, place, Tier.HASHES) == ""
    assert "another length" in verified(pristine, place, Tier.DECRYPT)
    with pytest.raises(Art32Error, match="another length"):
        restored(pristine, place)


def test_plain_metadata_tells_nothing_about_content(place: Path) -> None:
    found = manifest.parse((place / layout.MANIFEST).read_bytes())
    plain = b"".join(
        path.read_bytes() for path in place.iterdir() if not path.name.endswith(".pgp")
    )
    assert hashlib.sha256(PLAIN).hexdigest().encode() not in plain
    assert not re.search(rb"\b%d\b" % len(PLAIN), plain)
    assert found.binds("", Place("db1", "app", found.started, found.id))


def test_a_ledger_whose_end_was_cut_off_is_noticed(pristine: Repository, place: Path) -> None:
    _, backup = judged(pristine, place)
    config = pristine.configuration()
    assert verify.ledger_notes(config, [backup]) == []
    ledger = make.ledger_of(config).path
    whole = ledger.read_bytes()
    first, _, _ = whole.partition(b"\n")
    for damaged in (b"", first.replace(b"backup-run", b"backup-nun") + b"\n"):
        ledger.write_bytes(damaged)
        (note,) = verify.ledger_notes(config, [backup])
        assert backup.id in note
    ledger.write_bytes(whole)
