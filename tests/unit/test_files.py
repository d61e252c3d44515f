"""Durable writes: whole or not at all, and never in place of something else."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import files
from agent.errors import Art32Error, Code

Restrict = Callable[[pytest.MonkeyPatch], None]


def _everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the file system as it is."""


def _no_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = os.open

    def refusing(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "no O_TMPFILE here")
        return genuine(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refusing)


def _no_links_to_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(descriptor: int, path: Path) -> None:
        raise OSError(errno.ENOENT, "no /proc here")

    monkeypatch.setattr(files, "_link", refusing)


def _neither_temporary_files_nor_flags_of_rename(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(source: Path, target: Path) -> None:
        raise OSError(errno.EINVAL, "no RENAME_NOREPLACE here")

    _no_temporary_files(monkeypatch)
    monkeypatch.setattr(files, "rename_without_replacing", refusing)


KINDS_OF_FILE_SYSTEM = [
    _everything,
    _no_temporary_files,
    _no_links_to_descriptors,
    _neither_temporary_files_nor_flags_of_rename,
]


@pytest.fixture(params=KINDS_OF_FILE_SYSTEM, ids=lambda function: function.__name__.strip("_"))
def restricted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of file system that `create` has an answer to, NFS among them."""
    request.param(monkeypatch)


@pytest.mark.usefixtures("restricted")
class TestCreating:
    """What holds on every file system."""

    @pytest.mark.parametrize("data", [b"", b"x", b"x" * (3 << 20)], ids=["empty", "byte", "3MiB"])
    def test_a_file_holds_the_bytes_and_is_private(self, tmp_path: Path, data: bytes) -> None:
        files.create(tmp_path / "new", data)
        assert (tmp_path / "new").read_bytes() == data
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600
        assert os.listdir(tmp_path) == ["new"]

    def test_the_mode_does_not_depend_on_the_umask(self, tmp_path: Path) -> None:
        before = os.umask(0o777)
        try:
            files.create(tmp_path / "new", b"x", mode=0o640)
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640

    @pytest.mark.parametrize("kind", ["file", "directory", "link", "dangling link", "fifo"])
    def test_nothing_is_ever_replaced(self, tmp_path: Path, kind: str) -> None:
        victim, taken = tmp_path / "victim", tmp_path / "taken"
        victim.write_bytes(b"precious")
        match kind:
            case "file":
                taken.write_bytes(b"precious")
            case "directory":
                taken.mkdir()
            case "link":
                taken.symlink_to(victim)
            case "dangling link":
                taken.symlink_to(tmp_path / "nowhere")
            case "fifo":
                os.mkfifo(taken)
        before = sorted(os.listdir(tmp_path)), taken.lstat().st_ino
        with pytest.raises(FileExistsError):
            files.create(taken, b"new")
        assert (sorted(os.listdir(tmp_path)), taken.lstat().st_ino) == before
        assert victim.read_bytes() == b"precious"

    def test_of_many_creators_of_one_name_one_wins(self, tmp_path: Path) -> None:
        start, won, lost = threading.Barrier(8), [], []

        def compete(number: int) -> None:
            start.wait()
            try:
                files.create(tmp_path / "name", bytes([number]) * 100_000)
                won.append(number)
            except FileExistsError:
                lost.append(number)

        threads = [threading.Thread(target=compete, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert len(lost) == 7
        assert (tmp_path / "name").read_bytes() == bytes([won[0]]) * 100_000
        assert os.listdir(tmp_path) == ["name"]

    def test_a_failing_write_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        genuine = os.write

        def full(descriptor: int, data: Any) -> int:
            if len(data) < 1000:
                raise OSError(errno.ENOSPC, "no space")
            return genuine(descriptor, data[:500])

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OSError, match="no space"):
            files.create(tmp_path / "new", b"x" * 5000)
        monkeypatch.undo()
        assert os.listdir(tmp_path) == []

    def test_a_missing_directory_is_not_made(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            files.create(tmp_path / "absent" / "new", b"x")
        assert os.listdir(tmp_path) == []


def test_a_killed_creator_leaves_no_litter(tmp_path: Path) -> None:
    program = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from agent import files\n"
        "genuine = os.fsync\n"
        "def stuck(descriptor):\n"
        "    print('written', flush=True)\n"
        "    time.sleep(60)\n"
        "os.fsync = stuck\n"
        "files.create(Path(sys.argv[1]) / 'new', b'x' * 100000)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, bufsize=0
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"written\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert os.listdir(tmp_path) == []


def test_replacing_leaves_the_new_bytes_alone(tmp_path: Path) -> None:
    files.create(tmp_path / "state", b"old")
    files.replace(tmp_path / "state", b"new")
    assert (tmp_path / "state").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["state"]


def test_a_rename_refuses_a_taken_name_and_leaves_both(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    with pytest.raises(FileExistsError):
        files.rename_without_replacing(tmp_path / "a", tmp_path / "b")
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [b"a", b"b"]


def test_directories_are_made_with_all_parents_and_private(tmp_path: Path) -> None:
    files.make_directory(tmp_path / "a" / "b" / "c")
    files.make_directory(tmp_path / "a" / "b" / "c")
    for name in ("a", "a/b", "a/b/c"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700


def test_a_second_holder_of_a_lock_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "app.lock"
    with files.lock(path, what="source `app`"):
        with (
            pytest.raises(Art32Error, match="another run of source `app`") as caught,
            files.lock(path, what="source `app`"),
        ):
            pytest.fail("two holders")
        assert caught.value.code is Code.LOCKED
    with files.lock(path, what="source `app`"):
        pass


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from agent import files\n"
        "with files.lock(Path(sys.argv[1]), what='it'):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    path = tmp_path / "lock"
    child = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    with pytest.raises(Art32Error), files.lock(path, what="it"):
        pytest.fail("two holders")
    child.kill()
    child.wait()
    child.stdout.close()
    with files.lock(path, what="it"):
        pass


@pytest.fixture
def fork() -> Iterator[Callable[[], None]]:
    """A function that forks a child which runs no program, as of another thread; it ends here."""
    children: list[int] = []

    def make() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads: this child needs none
            child = os.fork()
        if child == 0:
            signal.pause()
        children.append(child)

    yield make
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_what_was_forked_while_a_lock_was_held_holds_it_no_longer_than_its_block(
    tmp_path: Path, fork: Callable[[], None]
) -> None:
    with files.lock(tmp_path / "lock", what="it"):
        fork()
    with files.lock(tmp_path / "lock", what="it"):
        pass
    with files.claimed(tmp_path / "claims", b"left"):
        fork()
    for _ in files.abandoned(tmp_path / "claims"):
        fork()
    assert found(tmp_path / "claims") == [b"left"]


def test_a_lock_that_cannot_be_opened_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"a file where a directory should be")
    with (
        pytest.raises(Art32Error) as caught,
        files.lock(tmp_path / "state" / "app.lock", what="it"),
    ):
        pytest.fail("held")
    assert caught.value.code is Code.DISK
    assert caught.value.hint


def test_a_lock_is_never_taken_through_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(Art32Error), files.lock(tmp_path / "lock", what="it"):
        pytest.fail("held")


def found(directory: Path) -> list[bytes | None]:
    return [data for _, data in files.abandoned(directory)]


def test_a_claim_is_abandoned_only_when_its_process_is_dead(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from agent import files\n"
        "with files.claimed(Path(sys.argv[1]), b'mine'):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    place = tmp_path / "claims"
    assert found(place) == []
    child = subprocess.Popen([sys.executable, "-c", program, str(place)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    assert found(place) == []
    child.kill()
    child.wait()
    child.stdout.close()
    assert found(place) == found(place) == [b"mine"]


def test_a_claim_stays_until_it_is_released_and_is_locked_while_somebody_looks(
    tmp_path: Path,
) -> None:
    with files.claimed(tmp_path, b"kept"):
        pass
    for path, data in files.abandoned(tmp_path):
        assert (data, path.stat().st_mode & 0o777) == (b"kept", 0o600)
        assert found(tmp_path) == []
        path.unlink()
    with files.claimed(tmp_path, b"released") as release:
        release()
        release()
    assert list(tmp_path.iterdir()) == []


def test_a_claim_that_was_never_written_is_removed_and_a_link_is_not_followed(
    tmp_path: Path,
) -> None:
    (tmp_path / "0000").touch()
    assert found(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="link"):
        found(tmp_path)


class TestSharedDirectories:
    """A directory that is setgid and its group's to write to is shared by users of one duty."""

    @pytest.mark.parametrize("umask", [0o022, 0o007, 0o077])
    def test_whoever_writes_first_writes_for_the_group(self, tmp_path: Path, umask: int) -> None:
        tmp_path.chmod(0o2770)
        before = os.umask(umask)
        try:
            files.create(tmp_path / "created", b"x")
            files.replace(tmp_path / "replaced", b"x")
            with files.lock(tmp_path / "locks" / "deep" / "lock", what="it"):
                pass
            with files.claimed(tmp_path / "claims", b"x"):
                (claim,) = (tmp_path / "claims").iterdir()
                claim.rename(tmp_path / "claims" / "claim")
        finally:
            os.umask(before)
        modes = {
            str(path.relative_to(tmp_path)): oct(stat.S_IMODE(path.stat().st_mode))
            for path in tmp_path.rglob("*")
        }
        assert modes == {
            "created": "0o660",
            "replaced": "0o660",
            "locks": "0o2770",
            "locks/deep": "0o2770",
            "locks/deep/lock": "0o660",
            "claims": "0o2770",
            "claims/claim": "0o660",
        }

    @pytest.mark.parametrize("mode", [0o770, 0o2750, 0o700])
    def test_any_other_directory_keeps_its_files_private(self, tmp_path: Path, mode: int) -> None:
        tmp_path.chmod(mode)
        files.create(tmp_path / "created", b"x")
        with files.lock(tmp_path / "lock", what="it"):
            pass
        files.make_directory(tmp_path / "below")
        found = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        assert found == {"created": 0o600, "lock": 0o600, "below": 0o700}
