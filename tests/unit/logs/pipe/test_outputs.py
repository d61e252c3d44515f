"""Files that scrubbed lines go to: whole lines, no links, nothing lost when the disk is full."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import Art32Error, Code
from agent.logs.pipe.outputs import File, open_output


def write(file: File, block: bytes) -> None:
    file.offer(block, None)
    file.flush()


def test_a_new_file_is_for_its_group_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write(File(tmp_path / "a"), b"x\n")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "a").read_bytes() == b"x\n"


def test_an_old_file_is_appended_to_and_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old\n")
    (tmp_path / "a").chmod(0o600)
    write(File(tmp_path / "a"), b"new\n")
    assert (tmp_path / "a").read_bytes() == b"old\nnew\n"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_half_a_line_of_a_killed_predecessor_is_not_continued(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"whole\nhal")
    file = File(tmp_path / "a")
    write(file, b"next\n")
    write(file, b"after\n")
    assert (tmp_path / "a").read_bytes() == b"whole\nhal\nnext\nafter\n"


@pytest.mark.parametrize("kind", ["symlink", "dangling", "hard link", "fifo", "directory"])
def test_what_is_no_ordinary_file_of_one_name_is_refused(tmp_path: Path, kind: str) -> None:
    target, path = tmp_path / "target", tmp_path / "a"
    target.write_bytes(b"precious")
    match kind:
        case "symlink":
            path.symlink_to(target)
        case "dangling":
            path.symlink_to(tmp_path / "nowhere")
        case "hard link":
            path.hardlink_to(target)
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
    with pytest.raises(Art32Error, match="no ordinary file") as refused:
        File(path)
    assert refused.value.code is Code.PERMISSION
    assert target.read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()


def test_a_missing_directory_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(Art32Error, match="cannot be opened: no such file") as refused:
        open_output(str(tmp_path / "no" / "a"), fsync=False, program="a")
    assert refused.value.code is Code.DISK
    assert str(tmp_path / "no") in str(refused.value.hint)


def test_a_journal_that_is_not_there_is_one_clear_error() -> None:
    with pytest.raises(Art32Error, match="`journald:nobody` does not listen"):
        open_output("journald:nobody", fsync=False, program="a")


def test_reopening_goes_on_in_the_file_that_has_the_name_now(tmp_path: Path) -> None:
    file = File(tmp_path / "a")
    write(file, b"one\n")
    (tmp_path / "a").rename(tmp_path / "b")
    write(file, b"two\n")
    file.reopen()
    write(file, b"three\n")
    assert (tmp_path / "b").read_bytes() == b"one\ntwo\n"
    assert (tmp_path / "a").read_bytes() == b"three\n"


def test_when_reopening_fails_the_old_file_is_written_on(tmp_path: Path) -> None:
    file = File(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "a").symlink_to("/etc/passwd")
    with pytest.raises(Art32Error):
        file.reopen()
    write(file, b"one\n")
    assert (tmp_path / "b").read_bytes() == b"one\n"


def test_a_line_that_was_half_written_comes_whole_into_the_next_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = File(tmp_path / "a")
    real = os.write
    room = 7

    def write_until_full(descriptor: int, data: bytes) -> int:
        nonlocal room
        if room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = real(descriptor, data[:room])
        room -= written
        return written

    monkeypatch.setattr(os, "write", write_until_full)
    file.offer(b"one\ntwo\nthree\n", None)
    with pytest.raises(OSError, match="No space"):
        file.flush()
    assert file.pending == 2
    (tmp_path / "a").rename(tmp_path / "b")
    file.reopen()
    room = 1000
    file.flush()
    assert file.pending == 0
    assert (tmp_path / "b").read_bytes() == b"one\ntwo"
    assert (tmp_path / "a").read_bytes() == b"two\nthree\n"


def test_without_a_rotation_it_goes_on_at_the_very_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = File(tmp_path / "a")
    real = os.write
    answers: Iterator[int | OSError] = iter(
        [3, OSError(errno.ENOSPC, "full"), OSError(errno.ENOSPC, "full"), 2, 99]
    )

    def stubborn(descriptor: int, data: bytes) -> int:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return real(descriptor, data[:answer])

    monkeypatch.setattr(os, "write", stubborn)
    file.offer(b"one\ntwo\n", None)
    for _ in range(2):
        with pytest.raises(OSError, match="full"):
            file.flush()
    file.flush()
    assert (tmp_path / "a").read_bytes() == b"one\ntwo\n"
