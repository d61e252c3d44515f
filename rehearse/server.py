"""The server that will be lost, and those that come back: real ones, on sockets alone.

PostgreSQL refuses root: as root they run under the uid of `nobody`. A server that happens to run on
this machine is never looked at.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent import clock
from demo.terminal import DemoError, quiet

_SERVER_USER = "nobody"
_PATIENCE = 120.0
DATABASE = "postgres"


def account() -> pwd.struct_passwd:
    """Return whose the servers are."""
    return pwd.getpwnam(_SERVER_USER) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


def dropped(argv: Sequence[str]) -> list[str]:
    """Return an argv that runs as the servers' user and dies with this process."""
    mortal = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
    if os.geteuid() != 0:
        return mortal
    user = account()
    ids = f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"
    return ["setpriv", *ids, "--", *mortal]


def own(path: Path) -> Path:
    """Give a path to the servers' user."""
    if os.geteuid() == 0:
        os.chown(path, account().pw_uid, account().pw_gid)
    return path


@dataclass(frozen=True)
class Server:
    """A server: its programs, its data directory and the directory of its socket. The role of all
    is named like the user, whom the socket lets in."""

    programs: Path
    data: Path
    socket: Path

    def client(self, program: str, *arguments: str) -> list[str]:
        """Return the argv of a client program, connected."""
        options = ["--host", str(self.socket), "--username", account().pw_name]
        return dropped([str(self.programs / program), *options, *arguments])

    def sql(self, text: str) -> str:
        """Run SQL and return unaligned rows; raise DemoError when it fails."""
        options = ("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "--dbname", DATABASE)
        return (
            quiet(self.client("psql", *options), stdin=text.encode(), cwd=Path("/"))
            .decode()
            .strip()
        )

    def wait_for(self, child: subprocess.Popen[bytes], log: Path) -> None:
        """Wait until it answers; raise DemoError when it ends instead."""
        deadline = clock.monotonic() + _PATIENCE
        while clock.monotonic() < deadline and child.poll() is None:
            with contextlib.suppress(DemoError):
                self.sql("SELECT 1")
                return
            clock.sleep(0.05)
        raise DemoError(f"the server did not start: see `{log}`")


def initialised(programs: Path, data: Path, socket: Path) -> Server:
    """Make the files of a server, with checksums."""
    options = ("--auth-local=peer", "--auth-host=reject", "--encoding=UTF8", "--locale=C.UTF-8")
    argv = [str(programs / "initdb"), "--pgdata", str(data), "--data-checksums", *options]
    quiet(dropped([*argv, "--username", account().pw_name]), cwd=Path("/"))
    return Server(programs, data, socket)


@contextlib.contextmanager
def running(
    server: Server, log: Path, settings: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Hold a running server for the block; whatever ends the block, it has ended then, too."""
    argv = [str(server.programs / "postgres"), "-D", str(server.data)]
    given = {"listen_addresses": "", "unix_socket_directories": str(server.socket), **settings}
    argv += [part for key, value in given.items() for part in ("-c", f"{key}={value}")]
    with log.open("ab") as output:
        child = subprocess.Popen(
            dropped(argv), stdout=output, stderr=output, cwd="/", start_new_session=True
        )
    try:
        server.wait_for(child, log)
        yield child
    finally:
        destroy(child)


def destroy(child: subprocess.Popen[bytes]) -> None:
    """Kill a server with all its processes, without a word."""
    if child.poll() is None:
        # each has a session of its own: by their parent, before it is gone
        mine = [child.pid, *(int(one) for one in _children(child.pid))]
        for pid in mine:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    child.wait()


def _children(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


@dataclass
class Heartbeat:
    """A client that commits a numbered row every few milliseconds, and knows which were answered:
    `acknowledged` has, for each number from 1, the seconds at which its commit was."""

    server: Server
    acknowledged: list[float] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def _beat(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        while not self._stop.is_set():
            number = len(self.acknowledged) + 1
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(
                    f"INSERT INTO heartbeat VALUES ({number}, clock_timestamp());\n"
                    "SELECT extract(epoch FROM clock_timestamp());\n".encode()
                )
                child.stdin.flush()
            line = child.stdout.readline().strip()
            if not line:
                return
            self.acknowledged.append(float(line))
            self._stop.wait(0.02)

    @contextlib.contextmanager
    def beating(self) -> Iterator[Heartbeat]:
        """Hold it for the block."""
        self.server.sql("CREATE TABLE heartbeat (number int PRIMARY KEY, at timestamptz NOT NULL)")
        options = ("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "--dbname", DATABASE)
        with subprocess.Popen(
            self.server.client("psql", *options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
        ) as child:
            thread = threading.Thread(target=self._beat, args=(child,), daemon=True)
            thread.start()
            try:
                yield self
            finally:
                self._stop.set()
                child.kill()
                thread.join()
