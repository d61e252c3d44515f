"""The sandbox, seen from the inside: what a hostile program finds there."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import run, sandbox
from agent.errors import Art32Error, Code
from tests.fixtures.rooms import started
from tests.fixtures.waiting import runs, until

USER = "nobody"
AS_ROOT = os.geteuid() == 0
CANARY = "canary-6f1d"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """The door of a service that makes rooms for this process; None for an ordinary user."""
    if not AS_ROOT:
        yield None
        return
    door = tmp_path_factory.mktemp("service") / "door"
    child = started(door, Path("/"))
    try:
        yield door
    finally:
        child.kill()
        child.wait()


@pytest.fixture(autouse=True, params=["a room of its own", "a room by the service"])
def way(
    request: pytest.FixtureRequest, service: Path | None, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Each claim holds whoever makes the room."""
    if request.param == "a room by the service":
        if service is None:
            pytest.skip("only root has rooms made by another process")
        monkeypatch.setattr(sandbox, "ENGINES", service)
        monkeypatch.setattr(sandbox, "_may_make_rooms", lambda: False)
    return str(request.param)


def inside(script: str, *arguments: str, **settings: object) -> run.Completed:
    argv = ["sh", "-c", textwrap.dedent(script), "inside", *arguments]
    return run.run(sandbox.confined(argv, user=USER, **settings))  # type: ignore[arg-type]


@pytest.fixture
def room(tmp_path: Path) -> Path:
    path = tmp_path / "a room, with a comma"
    path.mkdir(mode=0o700)
    sandbox.give(path, USER)
    return path


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    path = tmp_path / "canary"
    path.write_text(CANARY)
    path.chmod(0o600)
    return path


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    path = tmp_path / "sockets" / "S.gpg-agent"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        path.parent.chmod(0o755)
        path.chmod(0o777)
        server.listen()
        server.settimeout(5)
        yield server


def test_streams_and_the_exit_status_pass_through() -> None:
    argv = sandbox.confined(["sh", "-c", "cat; echo error >&2; exit 7"], user=USER)
    done = run.run(argv, stdin=b"through")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"through", b"error\n")


def test_the_search_path_of_an_ordinary_user_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")  # as Debian sets it, without sbin
    assert inside("true").returncode == 0


def test_a_signal_that_kills_the_program_is_no_success() -> None:
    assert inside("sh -c 'kill -SEGV $$'").returncode not in (0, None)


def test_no_home_directory_is_there() -> None:
    visible = set(inside("ls -A /").stdout.decode().split())
    assert "usr" in visible
    assert visible <= {
        "bin",
        "dev",
        "etc",
        "lib",
        "lib32",
        "lib64",
        "libx32",
        "proc",
        "sbin",
        "usr",
    }
    assert inside('ls -A "$1"', str(Path.home())).stdout == b""
    assert inside('cat "$1"', str(Path.home() / ".profile")).stdout == b""


def test_a_private_file_outside_cannot_be_read(canary: Path, room: Path) -> None:
    done = inside('cat "$1"; cat "../$2"; ls ..', str(canary), canary.name, writable=room)
    assert CANARY.encode() not in done.stdout
    assert done.stdout.decode().split() == room.name.split()


def test_the_hosts_loopback_is_out_of_reach() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        connect = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
        assert run.run(["/usr/bin/python3", "-c", connect]).returncode == 0
        confined = sandbox.confined(["/usr/bin/python3", "-c", connect], user=USER)
        done = run.run(confined)
    assert done.returncode != 0
    assert b"unreachable" in done.stderr or b"refused" in done.stderr


CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"


def test_an_agents_socket_outside_is_out_of_reach(listener: socket.socket) -> None:
    path = listener.getsockname()
    assert run.run(["/usr/bin/python3", "-c", CONNECT, path]).returncode == 0
    done = run.run(sandbox.confined(["/usr/bin/python3", "-c", CONNECT, path], user=USER))
    assert b"FileNotFoundError" in done.stderr


def test_an_abstract_socket_outside_is_out_of_reach() -> None:
    name = f"art32-test-{os.getpid()}"
    connect = f"import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}')"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        assert run.run(["/usr/bin/python3", "-c", connect]).returncode == 0
        done = run.run(sandbox.confined(["/usr/bin/python3", "-c", connect], user=USER))
    assert b"ConnectionRefusedError" in done.stderr


def test_a_socket_that_is_given_can_be_used(listener: socket.socket) -> None:
    path = Path(listener.getsockname())
    argv = ["/usr/bin/python3", "-c", CONNECT, str(path)]
    done = run.run(sandbox.confined(argv, user=USER, sockets=(path.parent,)))
    assert (done.returncode, done.stderr) == (0, b"")


def test_what_is_readable_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "given"
    file.write_text("content")
    file.chmod(0o666)
    done = inside('cat "$1"; echo more >>"$1"', str(file), readable=(file,))
    assert done.stdout == b"content"
    assert b"Read-only" in done.stderr
    assert file.read_text() == "content"


def test_other_processes_are_invisible() -> None:
    numbers = inside("for entry in /proc/[0-9]*; do echo ${entry#/proc/}; done").stdout.split()
    assert numbers == [b"1"]


@pytest.mark.skipif(not AS_ROOT, reason="only root can take another uid")
def test_as_root_the_program_has_another_uid(room: Path) -> None:
    entry = pwd.getpwnam(USER)
    assert inside("id -u; id -g; id -G").stdout.split() == [
        str(entry.pw_uid).encode(),
        str(entry.pw_gid).encode(),
        str(entry.pw_gid).encode(),
    ]
    inside("touch made", writable=room)
    assert (room / "made").stat().st_uid == entry.pw_uid


def test_as_an_ordinary_user_files_belong_to_that_user(room: Path) -> None:
    if AS_ROOT:
        pytest.skip("root takes another uid")
    inside("touch made", writable=room)
    assert (room / "made").stat().st_uid == os.geteuid()


def test_no_capability_is_left() -> None:
    lines = inside("grep -E '^(Cap|NoNewPrivs)' /proc/self/status").stdout.decode().splitlines()
    values = dict(line.split(":\t") for line in lines)
    assert values.pop("NoNewPrivs") == "1"
    assert len(values) == 5
    assert {int(value, 16) for value in values.values()} == {0}


@pytest.mark.skipif(not AS_ROOT, reason="an ordinary user has no capability to give")
def test_only_named_capabilities_are_left() -> None:
    done = inside("grep ^CapBnd /proc/self/status", capabilities=("chown", "fowner"))
    assert int(done.stdout.split()[1], 16) == 0b1001


@pytest.mark.parametrize(
    "attempt",
    [
        "touch /new",
        "touch /usr/new",
        "echo x >/etc/passwd",
        "touch /etc/alternatives/new",
        "chmod 0 /dev/null",
        "echo x >/proc/sys/kernel/core_pattern",
        "mount -t tmpfs tmpfs /usr",
        "mount -o remount,rw /",
        "umount /proc",
        "chroot / true",
        "unshare --user true",
        "unshare --user --map-root-user chroot / true",
        "mknod made c 1 3",
        "nsenter --target 1 --mount true",
    ],
)
def test_nothing_outside_the_writable_directory_changes(room: Path, attempt: str) -> None:
    every = ("chown", "fowner", "fsetid", "setfcap", "dac_override")
    done = inside(f"{attempt} && echo done", writable=room, capabilities=every)
    assert done.stdout == b""
    assert done.returncode != 0


def test_the_writable_directory_is_the_working_directory(room: Path) -> None:
    done = inside("pwd; echo text >made", writable=room)
    assert done.stdout.decode() == f"{room}\n"
    assert (room / "made").read_text() == "text\n"


def test_set_user_id_gives_nothing(room: Path) -> None:
    done = inside("grep -o nosuid /proc/self/mountinfo | wc -l; grep -c . /proc/self/mountinfo")
    marked, mounts = done.stdout.split()
    assert marked == mounts


def test_the_environment_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR", "GNUPGHOME", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, f"/{CANARY}")
    argv = sandbox.confined(["env"], user=USER)
    names = {line.partition("=")[0] for line in run.run(argv).stdout.decode().split()}
    assert names == {"PATH", "LC_ALL"}


def test_no_other_descriptor_is_inherited(canary: Path) -> None:
    with canary.open() as file:
        os.set_inheritable(file.fileno(), True)
        done = inside("ls /proc/self/fd")
    assert done.stdout.split() == [b"0", b"1", b"2", b"3"]  # 3 is the listing of `ls` itself


def mounts(room: Path) -> list[str]:
    """Return this machine's mounts, but for the small disks that other tests fill meanwhile."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    elsewhere = ("/tmp/", "/var/tmp/", f"{tempfile.gettempdir()}/")
    points = {line: line.split()[4].replace("\\040", " ") for line in lines}
    return [
        line
        for line, point in points.items()
        if point.startswith(str(room)) or not point.startswith(elsewhere)
    ]


def test_no_mount_appears_outside(room: Path) -> None:
    before = mounts(room)
    process = run.Process(
        sandbox.confined(["sh", "-c", "echo ready; sleep 60"], user=USER, writable=room)
    )
    with process:
        assert process.stdout.readline() == b"ready\n"
        assert mounts(room) == before


def descendants_with(marker: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


def test_everything_dies_with_a_parent_that_is_killed() -> None:
    marker = f"4{os.getpid():07d}.125"
    program = textwrap.dedent(
        f"""
        import subprocess, sys
        from agent import sandbox
        script = "setsid sleep {marker} & sleep {marker} & echo ready; wait"
        argv = sandbox.confined(["sh", "-c", script], user={USER!r})
        subprocess.run(argv, stdin=subprocess.DEVNULL)
        """
    )
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *filter(None, sys.path)])},
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        assert len(descendants_with(marker)) >= 2
        os.kill(parent.pid, signal.SIGKILL)
        # the pipe ends when the last process that holds it is gone
        assert parent.stdout.read() == b""
    until(lambda: not any(map(runs, descendants_with(marker))), "the end of all")


@pytest.mark.skipif(not AS_ROOT, reason="an ordinary user cannot choose")
@pytest.mark.parametrize("user", ["root", "no-such-user-here"])
def test_a_user_that_would_not_confine_is_refused(user: str) -> None:
    with pytest.raises(Art32Error) as caught:
        sandbox.confined(["true"], user=user)
    assert caught.value.code is Code.SANDBOX_UNAVAILABLE


def test_without_namespaces_nothing_runs(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way != "a room of its own":
        pytest.skip("the service tries for itself, when it starts")
    for name in ("unshare", "setpriv", "mount"):
        (tmp_path / name).write_text(
            "#!/bin/sh\necho 'unshare failed: not permitted' >&2; exit 1\n"
        )
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    sandbox._trial.cache_clear()
    try:
        with pytest.raises(Art32Error) as caught:
            sandbox.confined(["true"], user=USER)
    finally:
        sandbox._trial.cache_clear()
    assert caught.value.code is Code.SANDBOX_UNAVAILABLE
    assert caught.value.hint
