"""Directory sources, with real tar and hostile archives."""

from __future__ import annotations

import io
import os
import socket
import stat
import struct
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.backup.sources import CHUNK, DumpReport, RestoreRequest
from agent.backup.sources import directory as plugin
from agent.config.sources import DirectorySource
from agent.errors import Art32Error, Code

AS_ROOT = os.geteuid() == 0
ONLY_ROOT = pytest.mark.skipif(not AS_ROOT, reason="only root can make or restore this")
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


def source(path: Path, **settings: Any) -> DirectorySource:
    return DirectorySource(kind="directory", name="files", path=path, **settings)


def dumped(config: DirectorySource) -> tuple[bytes, DumpReport]:
    with plugin.dump(config, "") as running:
        data = b"".join(iter(running.read, b""))
        return data, running.finish()


def restored(data: bytes, target: Path, **settings: Any) -> str:
    pieces = (data[at : at + CHUNK] for at in range(0, len(data), CHUNK))
    return plugin.restore(pieces, RestoreRequest(str(target), {}, **settings))


def round_trip(path: Path, target: Path, **settings: Any) -> str:
    return restored(dumped(source(path))[0], target, **settings)


def listing(top: Path) -> dict[bytes, tuple[object, ...]]:
    """Everything that a directory holds, by name: metadata, content, attributes, links."""
    found: dict[bytes, tuple[object, ...]] = {}
    first_names: dict[int, bytes] = {}
    base = os.fsencode(top)
    paths = [base]
    for folder, directories, names in os.walk(base):
        paths += [os.path.join(folder, name) for name in (*directories, *names)]
    for path in sorted(paths):
        name = os.path.relpath(path, base)
        status = os.lstat(path)
        link = first_names.setdefault(status.st_ino, name)
        content: bytes | None = None
        if stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        elif stat.S_ISREG(status.st_mode) and status.st_size < 1 << 24:
            content = Path(os.fsdecode(path)).read_bytes()
        attributes = {
            key: os.getxattr(path, key, follow_symlinks=False)
            for key in os.listxattr(path, follow_symlinks=False)
        }
        found[name] = (
            stat.filemode(status.st_mode),
            (status.st_uid, status.st_gid),
            status.st_mtime_ns,
            status.st_size if not stat.S_ISDIR(status.st_mode) else None,
            link,
            content,
            attributes,
        )
    return found


def refusal(data: bytes, target: Path, **settings: Any) -> Art32Error:
    """Restore what must be refused; show that nothing is left, and return the error."""
    before = listing(target.parent)
    with pytest.raises(Art32Error) as caught:
        restored(data, target, **settings)
    after = listing(target.parent)
    before.pop(b"."), after.pop(b".")
    assert after == before
    return caught.value


def test_names_links_times_and_modes_survive(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "empty").mkdir(parents=True)
    (tree / "-dash").write_text("a")
    (tree / "with\nline break: and colon").write_text("b")
    Path(os.fsdecode(os.fsencode(tree) + b"/not-utf8-\xff\xfe")).write_bytes(b"c")
    (tree / ("long" * 60)).write_text("d")
    deep = tree.joinpath(*("deep" * 10 for _ in range(12)))
    deep.mkdir(parents=True)
    (deep / "file").write_text("e")
    os.link(tree / "-dash", deep / "hard")
    (tree / "symbolic").symlink_to("/no/such/place")
    (tree / "upwards").symlink_to("../outside")
    os.mkfifo(tree / "fifo")
    (tree / "closed").write_text("f")
    (tree / "closed").chmod(0o400)
    (tree / "empty").chmod(0o555)
    os.setxattr(tree / "-dash", "user.note", b"\x00binary")
    os.utime(tree / "-dash", ns=(1, 1_000_000_000_123_456_789))
    os.utime(tree / "empty", ns=(1, 946_684_800_987_654_321))
    round_trip(tree, tmp_path / "out")
    assert listing(tmp_path / "out") == listing(tree)


@ONLY_ROOT
def test_as_root_owners_acls_attributes_and_capabilities_survive(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    inner = tree / "inner"
    inner.mkdir(parents=True)
    file = inner / "file"
    file.write_text("content")
    program = tree / "program"
    program.write_text("#!")
    # version 2; then tag, rights, id: owner rw, user 1002 r, group r, mask r, others nothing
    entries = ((1, 6, -1), (2, 4, 1002), (4, 4, -1), (16, 4, -1), (32, 0, -1))
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr(file, "user.note", b"text")
    os.setxattr(file, "system.posix_acl_access", acl)
    os.setxattr(inner, "system.posix_acl_default", acl)
    os.setxattr(inner, "user.note", b"on a directory")
    (tree / "link").symlink_to("inner")
    for path, owner in ((file, 1001), (inner, 1002), (program, 0), (tree / "link", 1003)):
        os.chown(path, owner, owner + 1, follow_symlinks=False)
    os.chown(tree, 1004, 1005)
    os.setxattr(program, "security.capability", CAPABILITY)
    (tree / "set-id").write_text("x")
    os.chown(tree / "set-id", 1006, 1006)
    (tree / "set-id").chmod(0o6755)
    file.chmod(0o440)
    inner.chmod(0o1510)
    round_trip(tree, tmp_path / "out")
    assert listing(tmp_path / "out") == listing(tree)
    assert os.getxattr(tmp_path / "out" / "program", "security.capability") == CAPABILITY


def test_large_sparse_files_stay_sparse(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    with (tree / "sparse").open("wb") as file:
        file.seek(9 << 30)
        file.write(b"end")
    data, _ = dumped(source(tree))
    assert len(data) < 1 << 20
    restored(data, tmp_path / "out")
    status = (tmp_path / "out" / "sparse").stat()
    assert status.st_size == (9 << 30) + 3
    assert status.st_blocks * 512 < 1 << 20
    with (tmp_path / "out" / "sparse").open("rb") as file:
        file.seek(9 << 30)
        assert file.read() == b"end"


@pytest.mark.skipif(AS_ROOT, reason="root restores owners")
def test_an_ordinary_user_is_told_that_owners_are_not_restored(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    assert "only root can restore owners" in round_trip(tmp_path / "tree", tmp_path / "out")


def test_excludes_are_anchored_and_may_look_like_options(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("cache/a", "keep/cache/b", "-x y/c", "keep/d.log", "--help", "keep/-x y"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    config = source(tree, exclude=("./cache", "-x y/", "*.log", "--help"))
    with tarfile.open(fileobj=io.BytesIO(dumped(config)[0])) as archive:
        names = set(archive.getnames())
    assert names == {".", "./keep", "./keep/cache", "./keep/cache/b", "./keep/-x y"}


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    first, second = dumped(source(tmp_path))[0], dumped(source(tmp_path))[0]
    assert first == second


def test_sockets_are_skipped_and_counted(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "so: cket"))
        _, report = dumped(source(tmp_path))
    assert report.warnings == (("sockets-skipped", 1),)
    assert report.facts["names"] == {"sockets-skipped": [r"./so\: cket"]}


def test_files_that_change_or_vanish_are_counted(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(b"\xff" * (16 << 20))
    forged = tmp_path / "x\ntar: .: file changed as we read it"
    with plugin.dump(source(tmp_path), "") as running:
        running.read()  # tar now waits, somewhere in the first files, for its pipe to be emptied
        with forged.open("wb"):
            pass
        for name in ("a", "b", "c"):
            with (tmp_path / name).open("ab") as file:
                file.write(b"more")
        for _ in iter(running.read, b""):
            pass
        report = running.finish()
    counts = dict(report.warnings)
    assert set(counts) == {"changed-while-read"}
    assert counts["changed-while-read"] == len(report.facts["names"]["changed-while-read"])
    assert 1 <= counts["changed-while-read"] <= 2  # the file being read, and the directory


def test_messages_of_any_number_are_counted(tmp_path: Path) -> None:
    shown = tmp_path / "bin" / "tar"
    shown.parent.mkdir()
    lines = "seq -f 'tar: ./%.0f: File removed before we read it' 20000 >&2"
    shown.write_text(f'#!/bin/sh\n/usr/bin/tar "$@"; {lines}; exit 1\n')
    shown.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(shown.parent), prepend=os.pathsep)
        _, report = dumped(source(tmp_path))
    assert ("vanished-while-read", 20000) in report.warnings
    assert len(report.facts["names"]["vanished-while-read"]) == 1000


@pytest.mark.skipif(AS_ROOT, reason="root reads everything")
def test_unreadable_files_are_an_error_with_their_number(tmp_path: Path) -> None:
    for name in ("canary-1", "canary-2", "fine"):
        (tmp_path / name).write_text("content")
        (tmp_path / name).chmod(0o400 if name == "fine" else 0)
    with pytest.raises(Art32Error) as caught:
        dumped(source(tmp_path))
    assert caught.value.code is Code.SOURCE_FAILED
    assert caught.value.sentence.startswith("2 files or directories")
    assert "canary" not in caught.value.sentence + str(caught.value.hint)


@pytest.mark.parametrize("make", ["nothing", "file", "dangling"])
def test_what_is_no_directory_is_missing(tmp_path: Path, make: str) -> None:
    path = tmp_path / "it"
    if make == "file":
        path.touch()
    if make == "dangling":
        path.symlink_to("nowhere")
    with pytest.raises(Art32Error) as caught:
        plugin.probe(source(path))
    assert caught.value.code is Code.SOURCE_MISSING


def test_one_path_of_a_backup_is_restored(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "file [1]*").write_text("wanted")
    (tree / "a" / "other").write_text("not wanted")
    data, _ = dumped(source(tree))
    for number, typed in enumerate(("a/b", "./a/b/", "a/b/file [1]*")):
        out = tmp_path / f"out{number}"
        restored(data, out, only=typed)
        assert {str(path.relative_to(out)) for path in out.rglob("*")} == {
            "a",
            "a/b",
            "a/b/file [1]*",
        }
        assert (out.stat().st_uid, stat.S_IMODE(out.stat().st_mode)) == (os.geteuid(), 0o700)
        assert (out / "a").stat().st_uid == os.geteuid()


def test_a_path_that_is_not_in_the_backup_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "canary").touch()
    data, _ = dumped(source(tmp_path / "tree"))
    error = refusal(data, tmp_path / "out", only="can*")
    assert error.code is Code.NO_BACKUP
    for typed in ("/etc", "../x", "a/../../b"):
        assert refusal(data, tmp_path / "out", only=typed).code is Code.USAGE


def test_overwriting_keeps_the_old_directory_beside_the_new(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "new").touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    sentence = round_trip(tmp_path / "tree", tmp_path / "out", overwrite=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]
    (kept,) = tmp_path.glob("out.replaced-*")
    assert [path.name for path in kept.iterdir()] == ["old"]
    assert str(kept) in sentence


@ONLY_ROOT
def test_root_does_not_restore_where_another_user_may_exchange_directories(tmp_path: Path) -> None:
    for number, (owner, mode) in enumerate(((1001, 0o755), (0, 0o777))):
        home = tmp_path / f"home{number}"
        home.mkdir()
        home.chmod(mode)
        os.chown(home, owner, owner)
        (home / "inner").mkdir()
        with pytest.raises(Art32Error) as caught:
            plugin.check_target(RestoreRequest(str(home / "inner" / "out"), {}))
        assert caught.value.code is Code.TARGET_UNSAFE


# Hostile archives, written by hand: what GNU tar would never write.


def member(name: str, kind: bytes = tarfile.REGTYPE, **settings: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in settings.items():
        setattr(info, key, value)
    return info


def archive(*members: tarfile.TarInfo, content: bytes = b"hostile") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as output:
        output.addfile(member(".", tarfile.DIRTYPE))
        for info in members:
            if info.isreg():
                info.size = len(content)
            output.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return buffer.getvalue()


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "outside"
    path.mkdir()
    path.chmod(0o777)
    (path / "victim").write_text("untouched")
    (path / "victim").chmod(0o666)
    yield path
    assert [entry.name for entry in path.iterdir()] == ["victim"]
    assert (path / "victim").read_text() == "untouched"
    assert (path / "victim").stat().st_nlink == 1


def test_names_that_climb_out_are_refused(tmp_path: Path, outside: Path) -> None:
    for name in ("../outside/new", "./a/../../outside/new", "..", f"{outside}/new", "/etc/new"):
        assert refusal(archive(member(name)), tmp_path / "out").code is Code.TARGET_FAILED


def test_symbolic_links_lead_nowhere(tmp_path: Path, outside: Path) -> None:
    for target in ("../outside", str(outside), "/etc", "/usr", "/proc/1/root", "/dev"):
        link = member("./link", tarfile.SYMTYPE, linkname=target)
        for through in ("./link/new", "./link/victim"):
            assert refusal(archive(link, member(through)), tmp_path / "out").code is (
                Code.TARGET_FAILED
            )


def test_a_file_is_not_written_through_a_symbolic_link_of_its_name(
    tmp_path: Path, outside: Path
) -> None:
    link = member("./victim", tarfile.SYMTYPE, linkname=str(outside / "victim"))
    restored(archive(link, member("./victim")), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["victim"]


def test_the_directory_itself_does_not_become_a_link(tmp_path: Path, outside: Path) -> None:
    link = member(".", tarfile.SYMTYPE, linkname=str(outside))
    assert refusal(archive(link, member("./new")), tmp_path / "out").code is Code.TARGET_FAILED


def test_hard_links_lead_nowhere(tmp_path: Path, outside: Path) -> None:
    for target in (str(outside / "victim"), "../outside/victim", "/etc/passwd", "./missing"):
        link = member("./link", tarfile.LNKTYPE, linkname=target)
        error = refusal(archive(link, member("./link")), tmp_path / "out")
        assert error.code is Code.TARGET_FAILED


def test_no_device_node_arises(tmp_path: Path) -> None:
    data = archive(
        member("./disk", tarfile.BLKTYPE, devmajor=8, devminor=0),
        member("./null: Cannot open", tarfile.CHRTYPE, devmajor=1, devminor=3),
        member("./fifo", tarfile.FIFOTYPE),
        member("./file"),
    )
    sentence = restored(data, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"fifo", "file"}
    assert "device nodes left out: 2" in sentence


def test_an_error_is_not_hidden_among_device_nodes(tmp_path: Path) -> None:
    data = archive(
        member("./disk", tarfile.BLKTYPE, devmajor=8, devminor=0),
        member("./x: Cannot mknod: Operation not permitted", tarfile.LNKTYPE, linkname="./gone"),
    )
    assert refusal(data, tmp_path / "out").code is Code.TARGET_FAILED


def test_a_tree_deeper_than_pythons_stack_can_be_removed_again(tmp_path: Path) -> None:
    deep = "./" + "d/" * 1200 + "file"
    gone = member("./hard", tarfile.LNKTYPE, linkname="./gone")
    locked = member("./locked", tarfile.DIRTYPE, mode=0)
    error = refusal(archive(member(deep), locked, member("./locked/in"), gone), tmp_path / "out")
    assert error.code is Code.TARGET_FAILED


def test_what_is_no_archive_is_refused_without_its_content(tmp_path: Path) -> None:
    for data in (b"canary " * 2000, b"", archive(member("./canary"))[:1200]):
        error = refusal(data, tmp_path / "out")
        assert error.code is Code.TARGET_FAILED
        assert "canary" not in error.sentence + str(error.hint)


def test_a_stream_that_fails_late_leaves_nothing(tmp_path: Path) -> None:
    data = archive(member("./file"), content=b"x" * (4 << 20))

    def stream() -> Iterator[bytes]:
        yield data
        raise Art32Error(Code.CORRUPT, "segment 1 does not verify")

    with pytest.raises(Art32Error) as caught:
        plugin.restore(stream(), RestoreRequest(str(tmp_path / "out"), {}))
    assert caught.value.code is Code.CORRUPT
    assert list(tmp_path.iterdir()) == []


def test_a_path_within_a_backup_is_in_no_argument(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "canary-name").touch()
    data, _ = dumped(source(tmp_path / "tree"))
    seen: list[str] = []

    def stream() -> Iterator[bytes]:
        yield data
        seen.append(
            subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True).stdout
        )

    plugin.restore(stream(), RestoreRequest(str(tmp_path / "out"), {}, only="canary-name"))
    assert "--files-from" in seen[0]
    assert "canary-name" not in seen[0]
