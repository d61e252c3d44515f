"""What every store must do, against a directory, moto and a real S3 server."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agent import clock
from agent.config.model import DirectoryStore
from agent.errors import Art32Error, Code
from agent.store import Deletion, Store, open_store
from tests.fixtures.s3 import LOCKED, PLAIN, VERSIONED, S3Server

KINDS = ("directory", "moto", "moto-plain", "seaweedfs", "seaweedfs-plain")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    kind, _, variant = request.param.partition("-")
    if kind == "directory":
        yield open_store(DirectoryStore(kind="directory", path=tmp_path, prefix="production"))
    else:
        server: S3Server = request.getfixturevalue(kind)
        yield open_store(server.config(PLAIN if variant == "plain" else VERSIONED))


@pytest.fixture(params=["moto", "seaweedfs"])
def server(request: pytest.FixtureRequest) -> S3Server:
    found: S3Server = request.getfixturevalue(request.param)
    return found


def put(store: Store, name: str, data: bytes) -> None:
    store.put(name, data, sha256=hashlib.sha256(data).hexdigest())


def listed(store: Store, prefix: str = "") -> list[str]:
    return [found.name for found in store.list(prefix)]


@pytest.mark.parametrize("size", [0, 1, 32 << 10, (32 << 10) + 1, 5 << 20])
def test_an_object_comes_back_byte_for_byte(store: Store, size: int) -> None:
    data = hashlib.shake_256(b"seed").digest(size)
    put(store, "db1/site/20261123T031500Z-ab/00000.pgp", data)
    assert store.get("db1/site/20261123T031500Z-ab/00000.pgp", limit=size) == data
    (found,) = store.list("db1/")
    assert (found.name, found.size) == ("db1/site/20261123T031500Z-ab/00000.pgp", size)
    assert abs(found.stored_at - clock.now()) < timedelta(minutes=5)
    assert store.checksum(found.name) in (hashlib.sha256(data).hexdigest(), None)


def test_what_may_be_put_may_be_any_kind_of_bytes(store: Store) -> None:
    data = bytes(range(256)) * 256
    for name, form in (("a", data), ("b", bytearray(data)), ("c", memoryview(data))):
        store.put(name, form, sha256=hashlib.sha256(data).hexdigest())
        assert store.get(name, limit=len(data)) == data


def test_the_store_tells_the_hash_that_it_computed(store: Store) -> None:
    put(store, "object", b"data")
    assert store.checksum("object") == hashlib.sha256(b"data").hexdigest()


def test_a_deleted_object_is_gone_and_deleting_it_again_finds_nothing(store: Store) -> None:
    put(store, "a/one", b"1")
    put(store, "a/two", b"2")
    assert store.delete("a/one") is Deletion.DELETED
    assert store.delete("a/one") is Deletion.ABSENT
    assert listed(store) == ["a/two"]
    with pytest.raises(Art32Error) as caught:
        store.get("a/one", limit=10)
    assert caught.value.code is Code.OBJECT_MISSING
    put(store, "a/one", b"again")
    assert store.get("a/one", limit=10) == b"again"


def test_a_put_never_replaces(store: Store) -> None:
    put(store, "name", b"first")
    with pytest.raises(Art32Error) as caught:
        put(store, "name", b"second")
    assert caught.value.code is Code.OBJECT_EXISTS
    assert store.get("name", limit=10) == b"first"


def test_of_many_puts_of_one_name_exactly_one_wins(store: Store) -> None:
    outcomes: list[object] = []

    def attempt(number: int) -> None:
        try:
            put(store, "contested", b"writer %d" % number)
            outcomes.append(number)
        except Art32Error as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert outcomes.count(Code.OBJECT_EXISTS) == 5
    assert store.get("contested", limit=100) == b"writer %d" % winner


@pytest.mark.parametrize("read", ["get", "checksum"])
def test_a_missing_object_is_said_to_be_missing(store: Store, read: str) -> None:
    with pytest.raises(Art32Error) as caught:
        store.get("absent", limit=10) if read == "get" else store.checksum("absent")
    assert caught.value.code is Code.OBJECT_MISSING


def test_an_object_larger_than_it_may_be_is_corrupt(store: Store) -> None:
    put(store, "large", b"x" * 1001)
    assert len(store.get("large", limit=1001)) == 1001
    with pytest.raises(Art32Error) as caught:
        store.get("large", limit=1000)
    assert caught.value.code is Code.CORRUPT


def test_an_object_is_read_into_memory_that_is_there(store: Store) -> None:
    put(store, "large", bytes(range(250)) * 4)
    memory = bytearray(b"x" * 1010)
    assert store.get_into("large", memoryview(memory)) == 1000
    assert memory == bytes(range(250)) * 4 + b"x" * 10
    with pytest.raises(Art32Error) as caught:
        store.get_into("large", memoryview(memory)[:999])
    assert caught.value.code is Code.CORRUPT


def test_a_listing_is_in_order_of_names_and_takes_any_prefix(store: Store) -> None:
    names = ["a/x", "a.b", "a/y/z", "a0", "b", "a/y.z", "ä/x", "a-b/c", "a/y/a", "A", "a b/c"]
    for name in names:
        put(store, name, name.encode())
    assert listed(store) == sorted(names)
    for prefix in ("a", "a/", "a/y", "a/y/", "a/y/z", "b", "ä", "c", "a/q", "b/"):
        expected = sorted(name for name in names if name.startswith(prefix))
        assert listed(store, prefix) == expected, prefix


def test_a_name_does_not_hide_another_that_begins_with_it(store: Store) -> None:
    put(store, "name", b"short")
    put(store, "name.sig", b"long")
    assert store.delete("name") is Deletion.DELETED
    assert listed(store) == ["name.sig"]
    assert store.get("name.sig", limit=10) == b"long"


@pytest.mark.parametrize("store", ["directory", "moto", "seaweedfs-plain"], indirect=True)
def test_more_than_a_thousand_names_are_all_listed(store: Store) -> None:
    names = [f"many/{number:05d}" for number in range(1005)]
    todo = iter(names)
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                name = next(todo, None)
            if name is None:
                return
            put(store, name, b"")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert listed(store) == names


@pytest.mark.parametrize(
    "name",
    ["a b", "a+b", "100%", "%41", "a&b=c;d", "it's", 'say "x"', "~a", "#1", "a?b",
     "a,b:c@d!e$f(g)h*", "[x]{y}|^`<z>", "ünï/çödé", "日本", "😀", ".hidden", "...", "-rf", "a.."],
)  # fmt: skip
def test_odd_names_stay_what_they_are(store: Store, name: str) -> None:
    put(store, f"odd/{name}", name.encode())
    assert listed(store, "odd/") == [f"odd/{name}"]
    assert store.get(f"odd/{name}", limit=100) == name.encode()
    assert store.delete(f"odd/{name}") is Deletion.DELETED


@pytest.mark.parametrize(
    "name",
    ["", "/etc/passwd", "../up", "a/../b", "a/..", "..", ".", "a/./b", "a//b", "a/", "a\x00b",
     "a\nb", "back\\slash", "x" * 256, "x/" * 500 + "x", "\udcff", ".art32-x", "a/.art32-y/b"],
)  # fmt: skip
def test_names_that_could_leave_the_store_are_refused(store: Store, name: str) -> None:
    for action in (
        lambda: store.put(name, b"", sha256=hashlib.sha256(b"").hexdigest()),
        lambda: store.get(name, limit=10),
        lambda: store.checksum(name),
        lambda: store.delete(name),
    ):
        with pytest.raises(Art32Error) as caught:
            action()
        assert caught.value.code is Code.SUSPECT


def test_the_stores_clock_is_about_ours(store: Store) -> None:
    assert abs(store.now() - clock.now()) < timedelta(minutes=2)


def test_an_address_names_the_place_and_no_credential(store: Store) -> None:
    assert "secret" not in store.address
    assert store.address.startswith(("/", "s3://"))


@pytest.mark.parametrize("kind", ["directory", "seaweedfs", "seaweedfs-plain"])
@pytest.mark.parametrize("size", [4, 100_000])
def test_bytes_that_do_not_have_the_announced_hash_are_refused(
    kind: str, size: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    name, _, variant = kind.partition("-")
    if name == "directory":
        store = open_store(DirectoryStore(kind="directory", path=tmp_path))
    else:
        found: S3Server = request.getfixturevalue(name)
        store = open_store(found.config(PLAIN if variant else VERSIONED))
    with pytest.raises(Art32Error) as caught:
        store.put("object", b"x" * size, sha256=hashlib.sha256(b"other").hexdigest())
    assert caught.value.code is Code.CORRUPT
    assert listed(store) == []


def test_the_oldest_version_counts_whatever_is_written_over_it(server: S3Server) -> None:
    config = server.config(VERSIONED)
    store = open_store(config)
    put(store, "backup", b"original")
    key = f"{config.prefix}/backup"
    for number in range(3):
        server.client().put_object(Bucket=VERSIONED, Key=key, Body=b"forged %d!" % number)
    assert store.get("backup", limit=100) == b"original"
    assert store.checksum("backup") in (hashlib.sha256(b"original").hexdigest(), None)
    assert [(found.name, found.size) for found in store.list()] == [("backup", 8)]


def test_a_delete_marker_does_not_hide_an_object(server: S3Server) -> None:
    config = server.config(VERSIONED)
    store = open_store(config)
    put(store, "backup", b"original")
    put(store, "zzz", b"other")
    server.client().delete_object(Bucket=VERSIONED, Key=f"{config.prefix}/backup")
    server.client().delete_object(Bucket=VERSIONED, Key=f"{config.prefix}/never-there")
    assert listed(store) == ["backup", "zzz"]
    assert store.get("backup", limit=100) == b"original"


def test_a_delete_takes_every_version_and_marker(server: S3Server) -> None:
    config = server.config(VERSIONED)
    store = open_store(config)
    key = f"{config.prefix}/backup"
    put(store, "backup", b"original")
    put(store, "backup.sig", b"stays")
    server.client().put_object(Bucket=VERSIONED, Key=key, Body=b"second")
    server.client().delete_object(Bucket=VERSIONED, Key=key)
    server.client().put_object(Bucket=VERSIONED, Key=key, Body=b"third")
    assert store.delete("backup") is Deletion.DELETED
    left = server.client().list_object_versions(Bucket=VERSIONED, Prefix=config.prefix)
    assert [found["Key"] for found in left["Versions"]] == [f"{key}.sig"]
    assert "DeleteMarkers" not in left


@pytest.mark.parametrize("identity", ["admin", "keeper"])
def test_a_lock_by_default_keeps_an_object(seaweedfs: S3Server, identity: str) -> None:
    config = seaweedfs.config(LOCKED, "admin")
    put(open_store(config), "backup", b"locked")
    store = open_store(config.model_copy(update={"profile": identity}))
    assert store.delete("backup") is Deletion.RETAINED
    assert store.get("backup", limit=100) == b"locked"
    facts = store.facts()
    assert (facts.versioned, facts.default_retention_mode) == (True, "GOVERNANCE")
    assert facts.default_retention_days == 1


def test_a_bucket_without_lock_or_versions_says_so(server: S3Server) -> None:
    facts = open_store(server.config(PLAIN)).facts()
    assert (facts.versioned, facts.default_retention_days) == (False, 0)
    assert len(facts.notes) == 2
