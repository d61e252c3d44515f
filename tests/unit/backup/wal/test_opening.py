"""What is sealed comes back; what is anything else does not."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from agent import clock
from agent.backup import identity
from agent.backup.identity import Reader, Writer
from agent.backup.wal import listing, names, opening, pages, place, seal
from agent.backup.wal.opening import Opener
from agent.backup.wal.place import Place
from agent.config.model import Configuration
from agent.crypto import packets, private, sealed
from agent.errors import Art32Error, Code
from agent.memory import Buffer
from agent.store import Store, digest
from tests.fixtures.keys import Keys, gpg
from tests.fixtures.repository import write_repository
from tests.fixtures.wal import SYSTEM, segment

PREFIX = "production"


@dataclass(frozen=True)
class World:
    """A host that seals and a restorer that opens, over one store."""

    config: Configuration
    writer: Writer
    other: Writer
    reader: Reader
    archive: Store
    opener: Opener
    keys: Keys

    def seal(
        self, where: Place, content: bytes, *, by: Writer | None = None, claim: Place | None = None
    ) -> bytes:
        return bytes(seal.seal(by or self.writer, PREFIX, claim or where, content).view)

    def store(self, where: Place, message: bytes) -> None:
        self.archive.put(where.new_object(), message, sha256=digest(message))

    def find(self, name: str, host: str = "db1") -> opening.Opened | None:
        return self.opener.find([host], SYSTEM, names.require(name))


@pytest.fixture(scope="module")
def base(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("site")
    config = write_repository(
        directory / "db1",
        keys,
        "",
        store=f'[store]\nkind = "directory"\nprefix = "{PREFIX}"\npath = "{directory}"',
        signers=[("web1", keys.other_host)],
    ).configuration()
    another = write_repository(
        directory / "web1", keys, "", host="web1", signing=keys.other_host
    ).configuration()
    with (
        identity.writer(config) as writer,
        identity.writer(another) as other,
        identity.reader(config) as reader,
    ):
        archive = place.open_archive(config.store)
        opener = Opener(archive, reader, prefix=PREFIX, private_home=keys.restorer_home)
        yield World(config, writer, other, reader, archive, opener, keys)


@pytest.fixture
def world(base: World, tmp_path: Path) -> World:
    """The same keys over an empty store."""
    archive = place.open_archive(base.config.store.model_copy(update={"path": tmp_path}))
    opener = Opener(archive, base.reader, prefix=PREFIX, private_home=base.keys.restorer_home)
    return replace(base, archive=archive, opener=opener)


def at(name: str, host: str = "db1", system_id: int = SYSTEM) -> Place:
    return Place(host, system_id, names.require(name))


def raised(world: World, name: str) -> Art32Error:
    with pytest.raises(Art32Error) as caught:
        world.find(name)
    return caught.value


def test_a_segment_comes_back_as_it_was(world: World) -> None:
    name, content = segment(3)
    world.store(at(name), world.seal(at(name), content))
    found = world.find(name)
    assert found is not None
    assert found.content.view == content
    assert (found.place, found.segment_bytes, found.warnings) == (at(name), len(content), ())
    assert [entry.place for entry in listing.entries(world.archive, host="db1")] == [at(name)]
    assert list(listing.entries(world.archive, host="db1", system_id=SYSTEM, timeline=2)) == []


def test_small_files_come_back(world: World) -> None:
    for name in ("00000002.history", "000000010000000000000003.00000028.backup"):
        world.store(at(name), world.seal(at(name), name.encode()))
        found = world.find(name)
        assert found is not None
        assert found.content.view == name.encode()
        assert found.segment_bytes is None


def test_what_the_store_does_not_have_is_none(world: World) -> None:
    name, _ = segment(3)
    assert world.find(name) is None


def test_an_object_tells_nobody_what_it_holds(world: World) -> None:
    name, content = segment(3)
    message = world.seal(at(name), content)
    assert len(packets.recipients_of(message)) == 2
    for told in (f"wal/db1/{SYSTEM}", name):
        assert told.encode() not in message
    assert world.keys.host.fingerprint[-16:].lower() not in message.hex()


def test_it_opens_with_stock_tools(world: World, tmp_path: Path) -> None:
    name, content = segment(3)
    file = tmp_path / "object.pgp"
    file.write_bytes(world.seal(at(name), content))
    pinned = tmp_path / "db1.pgp"
    pinned.write_bytes(gpg(world.keys.host.home, "--export"))
    squeezed = gpg(world.keys.restorer_home, "--keyring", str(pinned), "--decrypt", str(file))
    done = subprocess.run(["zstd", "-d", "-q"], input=squeezed, capture_output=True, check=True)
    assert done.stdout == content


@pytest.mark.parametrize(
    "claim",
    [
        at("000000010000000000000004"),
        at("000000020000000000000003"),
        at("000000010000000000000003", host="web1"),
        at("000000010000000000000003", system_id=SYSTEM + 1),
    ],
    ids=["name", "timeline", "host", "system"],
)
def test_what_was_signed_for_another_place_is_suspect(world: World, claim: Place) -> None:
    name, content = segment(3)
    world.store(at(name), world.seal(at(name), content, claim=claim))
    assert raised(world, name).code is Code.SUSPECT


def test_what_was_signed_for_another_prefix_is_suspect(world: World) -> None:
    name, content = segment(3)
    message = bytes(seal.seal(world.writer, "staging", at(name), content).view)
    world.store(at(name), message)
    assert raised(world, name).code is Code.SUSPECT


def test_another_host_cannot_write_for_this_one(world: World) -> None:
    name, content = segment(3)
    world.store(at(name), world.seal(at(name), content, by=world.other))
    assert raised(world, name).code is Code.SUSPECT


def test_a_host_that_signs_another_segment_under_a_name_is_not_believed(world: World) -> None:
    name, _ = segment(3)
    _, content = segment(4)
    world.store(at(name), world.seal(at(name), content))
    assert raised(world, name).code is Code.SUSPECT


def test_what_nobody_signed_is_suspect(world: World, tmp_path: Path) -> None:
    name, content = segment(3)
    files = [
        option
        for key in (world.keys.operations, world.keys.escrow)
        for option in ("--recipient-file", str(key.public_file))
    ]
    message = gpg(
        world.keys.host.home, "--trust-model", "always", *files, "-z", "0", "--encrypt",
        stdin=content,
    )  # fmt: skip
    world.store(at(name), message)
    assert raised(world, name).code is Code.SUSPECT


def test_an_unknown_signer_is_pending(world: World) -> None:
    name, content = segment(3)
    message = world.seal(at(name), content)
    world.store(at(name), message)
    config = world.config.model_copy(update={"signing": None, "signers": world.config.signers[:1]})
    with identity.reader(config) as stranger:
        opener = Opener(
            world.archive, stranger, prefix=PREFIX, private_home=world.keys.restorer_home
        )
        with pytest.raises(Art32Error) as caught:
            opener.find(["db1"], SYSTEM, names.require(name))
    assert caught.value.code is Code.PENDING


@pytest.mark.parametrize("at_byte", [0, 40, 900, -30, -1])
def test_a_flipped_bit_is_damage(world: World, at_byte: int) -> None:
    name, content = segment(3)
    message = bytearray(world.seal(at(name), content))
    message[at_byte] ^= 1
    world.store(at(name), bytes(message))
    assert raised(world, name).code in (Code.CORRUPT, Code.SUSPECT)


@pytest.mark.parametrize("message", [b"", b"rubbish", b"\xff" * 5000])
def test_rubbish_is_damage(world: World, message: bytes) -> None:
    name, _ = segment(3)
    world.store(at(name), message)
    assert raised(world, name).code is Code.CORRUPT


def test_a_message_cut_anywhere_is_damage(world: World) -> None:
    name, content = segment(3)
    message = world.seal(at(name), content)
    for length in (1, 100, 400, len(message) // 2, len(message) - 1):
        where = at(name, host="web1")
        world.archive.put(where.new_object(), message[:length], sha256=digest(message[:length]))
    for entry in listing.entries(world.archive, host="web1"):
        with pytest.raises(Art32Error) as caught:
            world.opener.open(entry)
        assert caught.value.code in (Code.CORRUPT, Code.SUSPECT)


def test_of_two_alike_one_is_taken(world: World) -> None:
    name, content = segment(3)
    for _ in range(2):
        world.store(at(name), world.seal(at(name), content))
    found = world.find(name)
    assert found is not None
    assert found.content.view == content


def test_two_that_differ_are_a_split_brain(world: World) -> None:
    for salt in ("one", "other"):
        name, content = segment(3, salt=salt)
        world.store(at(name), world.seal(at(name), content))
    assert raised(world, name).code is Code.SPLIT_BRAIN


def test_a_worthless_object_beside_a_good_one_is_a_warning(world: World) -> None:
    name, content = segment(3)
    world.store(at(name), world.seal(at(name), content))
    world.store(at(name), b"rubbish")
    found = world.find(name)
    assert found is not None
    assert found.content.view == content
    assert len(found.warnings) == 1


def test_a_key_that_cannot_decrypt_is_no_damage(world: World, tmp_path: Path) -> None:
    name, content = segment(3)
    world.store(at(name), world.seal(at(name), content))
    stranger = Opener(world.archive, world.reader, prefix=PREFIX, private_home=world.keys.host.home)
    with pytest.raises(Art32Error) as caught:
        stranger.find(["db1"], SYSTEM, names.require(name))
    assert caught.value.code is Code.KEY_UNDECRYPTABLE


def test_a_retired_key_counts_for_what_was_there_before(world: World) -> None:
    name, content = segment(3)
    world.store(at(name), world.seal(at(name), content))
    now = clock.now()
    for moment, good in ((now.replace(year=now.year + 1), True), (now.replace(year=2000), False)):
        pins = tuple(
            replace(pin, retired_after_sequence=5, retired_at=moment) for pin in world.reader.pins
        )
        opener = Opener(
            world.archive,
            replace(world.reader, pins=pins),
            prefix=PREFIX,
            private_home=world.keys.restorer_home,
        )
        if good:
            assert opener.find(["db1"], SYSTEM, names.require(name)) is not None
        else:
            with pytest.raises(Art32Error, match="retired"):
                opener.find(["db1"], SYSTEM, names.require(name))


def test_a_signed_message_within_a_signed_message_is_refused(world: World, tmp_path: Path) -> None:
    message = world.seal(at("00000002.history"), b"data")
    source, target = Buffer(len(message)), Buffer(len(message))
    source.append(memoryview(message))
    assert private.unwrap(world.keys.restorer_home, source, target).plaintext is not None
    twice = Buffer(2 * target.length)
    twice.append(target.view)
    twice.append(target.view)
    found, _ = world.reader.keyring.open(twice, Buffer(twice.length))
    assert found.signer is None
    once, notations = world.reader.keyring.open(target, Buffer(target.length))
    assert once.signer == world.keys.host.fingerprint
    assert notations[sealed.NOTATION] == f"{PREFIX}/wal/db1/{SYSTEM}/00000002/00000002.history"


def test_a_page_of_another_segment_shows() -> None:
    name, content = segment(3)
    _, other = segment(9)
    torn = content[:524288] + other[524288:]
    wanted = names.require(name)
    assert pages.check(content, wanted, SYSTEM).segment_bytes == len(content)
    for bad in (torn, content[:-1], content + b"x", other, b"", bytes(len(content))):
        with pytest.raises(Art32Error) as caught:
            pages.check(bad, wanted, SYSTEM)
        assert caught.value.code is Code.SOURCE_INCOMPLETE
    with pytest.raises(Art32Error):
        pages.check(content, wanted, SYSTEM + 1)
    switched = content[:524288] + bytes(524288)
    assert pages.check(switched, wanted, SYSTEM).segment_bytes == len(content)
    with pytest.raises(Art32Error, match="page that is not its own"):
        pages.check(switched[:-8192] + content[-8192:], wanted, SYSTEM)
    # a partial one may end in what was there before
    pages.check(torn, names.require(f"{name}.partial"), SYSTEM)


def test_the_first_segment_of_a_timeline_begins_with_its_parents_pages() -> None:
    name, content = segment(3, timeline=2, page_timeline=1)
    pages.check(content, names.require(name), SYSTEM)
    name, content = segment(3, timeline=1, page_timeline=2)
    with pytest.raises(Art32Error, match="later timeline"):
        pages.check(content, names.require(name), SYSTEM)
