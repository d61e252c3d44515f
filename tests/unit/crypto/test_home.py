"""GnuPG homes: private, short, empty at the start and gone at the end."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agent import run
from agent.crypto import home as module
from agent.crypto.home import isolated_home
from agent.errors import Art32Error, Code
from tests.fixtures.keys import gpg
from tests.fixtures.waiting import runs, until


def test_a_home_is_private_empty_and_short() -> None:
    with isolated_home() as home:
        status = home.path.stat()
        assert stat.S_IMODE(status.st_mode) == 0o700
        assert status.st_uid == os.geteuid()
        assert list(home.path.iterdir()) == []
        assert len(str(home.path / "S.gpg-agent.browser")) <= 107


def test_two_homes_are_two() -> None:
    with isolated_home() as one, isolated_home() as other:
        assert one.path != other.path


def test_a_home_ends_with_its_agent_and_its_keys() -> None:
    with isolated_home() as home:
        gpg(home.path, "--quick-generate-key", "x <x@example.invalid>", "ed25519", "sign")
        info = ["gpg-connect-agent", "--homedir", str(home.path), "GETINFO pid", "/bye"]
        answer = subprocess.run(info, capture_output=True, check=True).stdout.split()
        agent = int(answer[1])
        os.kill(agent, 0)
        path = home.path
    assert not path.exists()
    until(lambda: not runs(agent), "the agent's end")


def test_a_home_ends_when_the_block_fails() -> None:
    with pytest.raises(KeyError), isolated_home() as home:
        raise KeyError
    assert not home.path.exists()


def test_the_home_of_a_killed_process_is_swept_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import time\n"
        "from pathlib import Path\n"
        "from agent.crypto import home as module\n"
        f"module._parent = lambda: Path({str(tmp_path)!r})\n"
        "with module.isolated_home() as home:\n"
        "    print(home.path, flush=True)\n"
        "    time.sleep(60)\n"
    )
    # elsewhere any other process of art32 may be the next
    monkeypatch.setattr(module, "_parent", lambda: tmp_path)
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    left = Path(child.stdout.readline().strip())
    with isolated_home():
        assert left.is_dir(), "the home of a living process was swept"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert left.is_dir()
    with isolated_home():
        assert not left.exists()


def test_a_home_is_alive_as_long_as_its_lock_is_held_whatever_its_process_id_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    held = tmp_path / f"art32-gpg-{dead.pid}-01234567"  # as one of another container looks
    left = tmp_path / f"art32-gpg-{os.getpid()}-01234567"  # a process id that came again
    held.mkdir()
    left.mkdir()
    monkeypatch.setattr(module, "_parent", lambda: tmp_path)
    descriptor = os.open(held, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with isolated_home():
        assert held.is_dir()
        assert not left.exists()
    os.close(descriptor)
    with isolated_home():
        assert not held.exists()


def test_a_home_that_a_sweep_took_before_its_lock_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = module._lock
    taken: list[Path] = []

    def late(descriptor: int, path: Path) -> bool:
        if not taken:
            taken.append(path)
            path.rmdir()
        return lock(descriptor, path)

    monkeypatch.setattr(module, "_parent", lambda: tmp_path)
    monkeypatch.setattr(module, "_lock", late)
    with isolated_home() as home:
        assert home.path.is_dir()
        assert [home.path] != taken
    assert list(tmp_path.iterdir()) == []


def test_what_only_looks_like_a_stale_home_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").write_bytes(b"x")
    (tmp_path / f"art32-gpg-{dead.pid}-01234567").symlink_to(victim)
    (tmp_path / f"art32-gpg-{dead.pid}-01234567x").mkdir()
    (tmp_path / f"art32-gpg-{dead.pid}-0123456").mkdir()
    (tmp_path / f"art32-gpg-{dead.pid}-89abcdef").write_bytes(b"a file")
    before = sorted(os.listdir(tmp_path))
    monkeypatch.setattr(module, "_parent", lambda: tmp_path)
    with isolated_home():
        pass
    assert sorted(os.listdir(tmp_path)) == before
    assert (victim / "precious").exists()


def test_a_memory_backed_directory_of_this_user_is_taken_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{tmp_path}:/elsewhere")
    if len(str(tmp_path)) < 60:
        with isolated_home() as home:
            assert home.path.parent == tmp_path
    too_long = tmp_path / ("x" * 80)
    too_long.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(too_long))
    with isolated_home() as home:
        assert home.path.parent != too_long


def test_without_a_place_for_a_home_there_is_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_parents", lambda: iter([Path("/proc/self")]))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(Art32Error) as caught, isolated_home():
        pytest.fail("a home in a place that cannot be written")
    assert caught.value.code is Code.PERMISSION
    assert caught.value.hint


def test_the_users_own_configuration_plays_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gpg.conf").write_text("this is no option\n")
    monkeypatch.setenv("GNUPGHOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with isolated_home() as home:
        (home.path / "gpg.conf").write_text("neither is this\n")
        done = run.run(home.command("--with-colons", "--list-keys"))
    assert done.returncode == 0
