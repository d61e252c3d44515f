"""Sites to break, and the means to run art32 on them and to look at what is left."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent import run
from agent.backup import leftovers
from agent.crypto.symmetric import OVERHEAD
from agent.ledger import Ledger
from tests.faults.interpreter import Request
from tests.faults.store import Fault
from tests.fixtures.keys import Keys
from tests.fixtures.repository import Repository, text, write_repository
from tests.fixtures.waiting import PATIENCE, until

ROOT = Path(__file__).parent.parent.parent
SEGMENT_BYTES = OVERHEAD + 4096
INTERPRETERS = 2
_RANDOM = re.compile(r"[0-9a-f]{64}|[0-9a-f]{16}|\d{8}T\d{6}Z|(?<=gpg-)\d+-[0-9a-f]{8}")
CANARY = b"Canary-7Yt2-"
SOURCE = "app"


@dataclass(frozen=True)
class Outcome:
    """How a command line ended: exit status (negative: a signal), and what it said."""

    status: int
    stdout: str
    stderr: str
    report: list[str] = field(default_factory=list)

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document of standard output."""
        found: dict[str, Any] = json.loads(self.stdout)
        return found

    @property
    def data(self) -> Any:
        return self.document["data"]

    @property
    def error(self) -> dict[str, Any]:
        """The last JSON document of standard error."""
        found: dict[str, Any] = json.loads(self.stderr.splitlines()[-1])
        return found


class Running:
    """A command line in progress."""

    def __init__(self, interpreter: Interpreter, pid: int, request: Request) -> None:
        self._interpreter = interpreter
        self._request = request
        self.pid = pid

    def send(self, number: int) -> None:
        """Send a signal to the process."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, patience: float = 2 * PATIENCE) -> Outcome:
        """Return the outcome; fail the test, with the stacks of all threads, when it hangs."""
        if not self._interpreter.readable(patience):
            self.send(signal.SIGUSR2)
            time.sleep(0.5)
            self.send(signal.SIGKILL)
            self._interpreter.number()
            pytest.fail(f"`{self._request.arguments}` hangs:\n{_read(self._request.stderr)}")
        status = self._interpreter.number()
        report = self._request.report
        names = json.loads(_read(report)) if report and os.path.exists(report) else []
        return Outcome(status, _read(self._request.stdout), _read(self._request.stderr), names)


def _read(path: str) -> str:
    return Path(path).read_text() if os.path.exists(path) else ""


class Interpreter:
    """The client of one `tests.faults.interpreter`, which serves one request after another."""

    def __init__(self, prefix: Sequence[str] = ()) -> None:
        self._child = subprocess.Popen(
            [*prefix, sys.executable, "-m", "tests.faults.interpreter"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            bufsize=0,
        )

    def number(self) -> int:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        assert line, "the interpreter has ended"
        return int(line)

    def readable(self, patience: float) -> bool:
        assert self._child.stdout is not None
        return bool(run.readable([self._child.stdout.fileno()], patience))

    def start(self, request: Request) -> Running:
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(asdict(request)).encode() + b"\n")
        return Running(self, self.number(), request)

    def close(self) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        self._child.wait(PATIENCE)
        self._child.stdout.close()

    def kill(self) -> None:
        self._child.kill()
        self.close()


class Interpreters:
    """A few interpreters, lent to whoever wants to run something."""

    def __init__(self, count: int, prefix: Sequence[str] = ()) -> None:
        self._prefix = prefix
        self._free: queue.SimpleQueue[Interpreter] = queue.SimpleQueue()
        for _ in range(count):
            self._free.put(Interpreter(prefix))

    @contextlib.contextmanager
    def start(self, request: Request) -> Iterator[Running]:
        interpreter = self._free.get(timeout=600)
        try:
            yield interpreter.start(request)
        except BaseException:  # an answer that nobody read would be taken for the next one's
            interpreter.kill()
            interpreter = Interpreter(self._prefix)
            raise
        finally:
            self._free.put(interpreter)

    def close(self) -> None:
        while not self._free.empty():
            self._free.get().close()


@dataclass(frozen=True)
class Site:
    """A repository in a short directory of its own, with a HOME and a run-time directory that no
    other site has: by these its processes and its GnuPG homes are told from those of others."""

    repository: Repository
    interpreters: Interpreters
    content: Path
    sessions: set[int] = field(default_factory=set)

    @property
    def directory(self) -> Path:
        return self.repository.directory

    @property
    def runtime(self) -> Path:
        return self.directory / "run"

    @property
    def target(self) -> Path:
        return self.directory / "target" / "restored"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "TMPDIR": str(self.directory / "tmp"),
            "LC_ALL": "C.UTF-8",
        }

    def _request(self, arguments: Sequence[str], **more: Any) -> Request:
        out = self.directory / "out"
        number = f"{time.monotonic_ns()}"
        return Request(
            ["--config", str(self.repository.config_file), "--output", "json", *arguments],
            self.environment,
            str(out / f"{number}.stdout"),
            str(out / f"{number}.stderr"),
            segment_bytes=SEGMENT_BYTES,
            report=str(out / f"{number}.report"),
            **more,
        )

    @contextlib.contextmanager
    def start(self, *arguments: str, fault: Fault | None = None, **more: Any) -> Iterator[Running]:
        """Begin a command line; `more` are fields of `Request`."""
        befalls = {"fault": asdict(fault), "watch_store": True} if fault else {}
        with self.interpreters.start(self._request(arguments, **befalls, **more)) as running:
            self.sessions.add(running.pid)
            yield running

    def run(self, *arguments: str, fault: Fault | None = None, **more: Any) -> Outcome:
        """Run a command line to its end."""
        with self.start(*arguments, fault=fault, **more) as running:
            return running.wait()

    def done(self, *arguments: str) -> Outcome:
        """Run a command line that has to succeed without a warning."""
        outcome = self.run(*arguments)
        assert outcome.status == 0, outcome
        return outcome

    def backups(self) -> list[dict[str, Any]]:
        """Return what `backup list` says of every backup, whatever its exit status."""
        outcome = self.run("backup", "list")
        assert outcome.status in (0, 20), outcome
        found: list[dict[str, Any]] = outcome.data["backups"]
        return found

    def states(self) -> list[str]:
        return [str(backup["state"]) for backup in self.backups()]

    def ledger(self) -> list[str]:
        """Return the ledger's events; raise where its chain does not hold."""
        return [record.event for record in Ledger(self.repository.state / "ledger.jsonl").records()]

    def complete(self) -> set[str]:
        """Return the ids of the complete backups in the store."""
        return {str(one["id"]) for one in self.backups() if one["state"] == "complete"}

    def recorded(self) -> set[str]:
        """Return the ids of the backups that the ledger calls complete."""
        records = Ledger(self.repository.state / "ledger.jsonl").records()
        return {str(one.facts["id"]) for one in records if one.event == "backup-complete"}

    def unsent(self) -> set[str]:
        """Return the ids of the backups whose end a dead run has kept whole."""
        found = set()
        for path in (self.repository.state / "unsent").glob("*/*"):
            with contextlib.suppress(ValueError):
                found.add(str(json.loads(path.read_text())["facts"]["id"]))
        return found

    def left_by_restores(self) -> list[str]:
        """Return what restores that were killed have left, in the words of `doctor`."""
        return [str(one.what) for one in leftovers.look(self.repository.state)]

    def store_files(self) -> list[Path]:
        return [path for path in self.repository.store.rglob("*") if path.is_file()]

    def snapshot(self) -> dict[str, bytes]:
        """Return all files of the store and the ledger."""
        files = [*self.store_files(), self.repository.state / "ledger.jsonl"]
        top = self.directory
        return {str(file.relative_to(top)): file.read_bytes() for file in files if file.exists()}

    def condition(self) -> object:
        """Return all that a next command finds here, without what is random: names, sizes, rests
        of GnuPG homes, and the ledger's events. After two runs of one condition all goes alike."""
        places = (self.repository.store, self.repository.state, self.runtime)
        paths = [
            path for place in places for path in (*place.rglob("*"), *self.target.parent.iterdir())
        ]
        ledger = self.repository.state / "ledger.jsonl"
        lines = ledger.read_text().splitlines(keepends=True) if ledger.exists() else []
        events = [json.loads(one)["event"] if one.endswith("\n") else len(one) for one in lines]
        names = [str(path.relative_to(self.directory)) for path in paths]
        sizes = [path.lstat().st_size if path.is_file() else -1 for path in paths]
        found = zip((_RANDOM.sub("*", name) for name in names), sizes, strict=True)
        return tuple(sorted(found)), tuple(events)

    def copy_from(self, other: Site) -> None:
        """Take over the store and the state of another site."""
        for mine, its in (
            (self.repository.store, other.repository.store),
            (self.repository.state, other.repository.state),
        ):
            shutil.copytree(its, mine, dirs_exist_ok=True)

    def processes(self) -> list[str]:
        """Return the living processes of this site by name, gpg's agents left out.

        A child between fork and exec still has its parent's locks, and the environment of the
        interpreter: it is known by its session alone.
        """
        mark = b"HOME=" + os.fsencode(self.directory) + b"\0"
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                # proc_pid_stat(5): state, parent, group and session follow the name in brackets
                before, _, after = (entry / "stat").read_text().rpartition(")")
                name = before.partition("(")[2]
                state, _, _, session = after.split()[:4]
                if name == "gpg-agent" or state in "ZX":
                    continue
                environment = (entry / "environ").read_bytes()
                if int(session) in self.sessions or mark in environment + b"\0":
                    found.append(name)
        return found

    def require_no_process(self) -> None:
        """Fail unless every process of this site ends by itself."""
        until(lambda: not self.processes(), "the end of every process")

    def require_no_home(self) -> None:
        """Fail when a GnuPG home, and so a private key, is left."""
        left = sorted(path.name for path in self.runtime.iterdir() if path.name != "gnupg")
        assert left == []

    def require_no_home_of_the_dead(self) -> None:
        """Fail when more than one home is left: each command sweeps what the last one left."""
        assert len(list(self.runtime.glob("art32-gpg-*"))) <= 1

    def places_of(self, needle: bytes) -> list[Path]:
        """Return the files below the site that hold some bytes, source and target left out."""
        return [
            path
            for path in self.directory.rglob("*")
            if path != self.content
            and self.target.parent not in path.parents
            and path.is_file()
            and needle in path.read_bytes()
        ]

    def remove(self) -> None:
        for home in self.runtime.glob("art32-gpg-*"):
            command = ["gpgconf", "--homedir", str(home), "--kill", "all"]
            subprocess.run(command, capture_output=True, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


def content(size: int = 14_000) -> bytes:
    """Return bytes that do not compress, with canaries all through them."""
    block = CANARY + os.urandom(500)
    return b"".join([block, *(CANARY + os.urandom(500) for _ in range(size // len(block)))])


@contextlib.contextmanager
def site(
    keys: Keys,
    interpreters: Interpreters,
    *,
    sources: str | None = None,
    **more: Any,
) -> Iterator[Site]:
    """Hold a site with one source, a `cat` of a generated file; `more` as in `write_repository`."""
    place = Path(tempfile.mkdtemp(prefix="a32-", dir="/tmp"))
    try:
        file = place / "content"
        file.write_bytes(content())
        for name in ("run", "tmp", "out", "target"):
            (place / name).mkdir(mode=0o700)
        section = sources or command_source("cat", str(file))
        one = Site(write_repository(place, keys, section, **more), interpreters, file)
    except BaseException:
        shutil.rmtree(place)
        raise
    try:
        yield one
    finally:
        one.remove()


def command_source(*command: str, name: str = SOURCE) -> str:
    """Return the section of a source that is a command's output."""
    words = ", ".join(text(word) for word in command)
    return f'[[sources]]\nname = {text(name)}\nkind = "command"\ncommand = [{words}]'
