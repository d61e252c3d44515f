"""The directory store: what is special to files."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

import pytest

from agent import files
from agent.config.model import DirectoryStore
from agent.errors import Art32Error, Code
from agent.store import Deletion
from agent.store.directory import Directory
from tests.fixtures.own import open_files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    path.mkdir()
    return path


@pytest.fixture
def store(root: Path) -> Directory:
    return Directory(DirectoryStore(kind="directory", path=root))


def put(store: Directory, name: str, data: bytes = b"data") -> None:
    store.put(name, data, sha256=hashlib.sha256(data).hexdigest())


def test_a_root_that_is_not_there_is_never_created(root: Path, store: Directory) -> None:
    root.rmdir()
    for action in (
        lambda: put(store, "a/b"),
        lambda: list(store.list()),
        lambda: store.get("a/b", limit=10),
        lambda: store.checksum("a/b"),
        lambda: store.delete("a/b"),
        store.facts,
    ):
        with pytest.raises(Art32Error) as caught:
            action()
        assert caught.value.code is Code.STORE_MISSING
    assert not root.exists()


def test_a_root_that_is_a_file_is_no_store(root: Path, store: Directory) -> None:
    root.rmdir()
    root.write_bytes(b"")
    with pytest.raises(Art32Error) as caught:
        put(store, "name")
    assert caught.value.code is Code.STORE_MISSING


def test_only_the_owner_may_look_whatever_the_umask(root: Path, store: Directory) -> None:
    before = os.umask(0)
    try:
        put(store, "a/b/c")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((root / path).stat().st_mode) for path in ("a", "a/b", "a/b/c")]
    assert modes == [0o700, 0o700, 0o600]


def test_links_and_special_files_are_not_objects(
    root: Path, store: Directory, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "file").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(root / "pipe")
    put(store, "good")
    assert [found.name for found in store.list()] == ["good"]
    assert list(store.list("up/")) == []
    for name in ("file", "up/secret", "pipe", "up"):
        with pytest.raises(Art32Error) as caught:
            store.get(name, limit=10)
        assert caught.value.code is Code.SUSPECT
        with pytest.raises(Art32Error) as caught:
            store.checksum(name)
        assert caught.value.code is Code.SUSPECT
    with pytest.raises(Art32Error) as caught:
        put(store, "up/new")
    assert caught.value.code is Code.SUSPECT
    with pytest.raises(Art32Error) as caught:
        store.delete("up/secret")
    assert caught.value.code is Code.SUSPECT
    with pytest.raises(Art32Error) as caught:
        put(store, "file")
    assert caught.value.code is Code.OBJECT_EXISTS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret", "store"]
    assert (tmp_path / "secret").read_bytes() == b"secret"


def test_temporaries_of_a_kill_are_not_listed(root: Path, store: Directory) -> None:
    (root / f"{files.TEMPORARY_PREFIX}0123.tmp").write_bytes(b"half")
    (root / b"not-utf8-\xff".decode("utf-8", "surrogateescape")).write_bytes(b"")
    put(store, "good")
    assert [found.name for found in store.list()] == ["good"]


def test_the_last_object_takes_its_directories_along(root: Path, store: Directory) -> None:
    put(store, "a/b/c/one")
    put(store, "a/two")
    assert store.delete("a/b/c/one") is Deletion.DELETED
    assert [str(path.relative_to(root)) for path in sorted(root.rglob("*"))] == ["a", "a/two"]
    assert store.delete("a/two") is Deletion.DELETED
    assert list(root.iterdir()) == []


def test_a_file_in_place_of_a_directory_is_suspect(root: Path, store: Directory) -> None:
    put(store, "a")
    for action in (lambda: put(store, "a/b"), lambda: store.get("a/b", limit=10)):
        with pytest.raises(Art32Error) as caught:
            action()
        assert caught.value.code is Code.SUSPECT


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, Code.STORE_FULL),
        (errno.EDQUOT, Code.STORE_FULL),
        (errno.EROFS, Code.STORE_FAILED),
        (errno.EIO, Code.STORE_FAILED),
        (errno.EACCES, Code.STORE_REFUSED),
        (errno.EPERM, Code.STORE_REFUSED),
    ],
)
def test_failures_of_the_disk_are_told_apart(
    store: Directory, monkeypatch: pytest.MonkeyPatch, number: int, code: Code
) -> None:
    def fail(path: Path, data: bytes) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(files, "create", fail)
    with pytest.raises(Art32Error) as caught:
        put(store, "name")
    assert caught.value.code is code
    assert caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is refused to root")
def test_a_directory_of_somebody_else_is_refused(root: Path, store: Directory) -> None:
    root.chmod(0o500)
    with pytest.raises(Art32Error) as caught:
        put(store, "name")
    assert caught.value.code is Code.STORE_REFUSED


def test_a_listing_survives_what_is_deleted_meanwhile(store: Directory) -> None:
    for number in range(4):
        put(store, f"d{number}/file")
    listing = store.list()
    assert next(listing).name == "d0/file"
    store.delete("d2/file")
    assert [found.name for found in listing] == ["d1/file", "d3/file"]


def test_no_descriptor_stays_open(store: Directory, root: Path) -> None:
    put(store, "a/b")
    for _ in range(3):
        list(store.list())
        store.get("a/b", limit=10)
        with pytest.raises(Art32Error):
            store.get("a/absent", limit=10)
        with pytest.raises(Art32Error):
            put(store, "a/b")
    assert not [link for link in open_files() if link.startswith(str(root))]
