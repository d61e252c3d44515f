"""An interpreter that has art32 imported and forks for every command line that it is sent.

A start of Python costs more than a whole small backup; a fork costs a few milliseconds, and makes
hundreds of kill points affordable. What runs in the fork is `agent.cli.main`, unchanged, with a
trap that counts what the process does to the world outside and strikes at the n-th such event.

Protocol: a line of JSON in (`Request`); its process id out at once, its exit status at its end.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import itertools
import json
import os
import signal
import sys
from dataclasses import dataclass
from typing import Any, NoReturn

from tests.faults.store import Fault, FaultStore

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
#: Audit events (docs.python.org, audit events table) that stand for an effect outside.
EVENTS = frozenset(
    {
        *("os.link", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.truncate"),
        *("os.chmod", "os.symlink", "os.utime", "os.kill", "os.killpg"),
        *("subprocess.Popen", "fcntl.flock", "fcntl.lockf", "shutil.rmtree"),
        *("socket.connect", "sqlite3.connect", "ctypes.dlsym"),
    }
)
#: Calls without an audit event.
WRAPPED = ("fsync", "write", "fdatasync")
#: What these command lines import, also those that go wrong: in a fork it would be imported anew.
MODULES = (
    *("agent.cli.backup.delete", "agent.cli.backup.list", "agent.cli.backup.prune"),
    *("agent.cli.backup.run", "agent.cli.backup.verify", "agent.cli.restore"),
    *("agent.backup.listing", "agent.backup.make", "agent.backup.verify", "agent.backup.prune"),
    *("agent.backup.recovery", "agent.backup.wal_verify", "agent.backup.sources.command"),
    *("agent.store.directory", "agent.progress", "agent.config.load"),
    *("agent.cli.logs.restore", "agent.cli.logs.rotate", "agent.logs.scrub.kernel"),
    *("agent.backup.log_restore", "agent.logs.rotate.work"),
    *("agent.cli.wal.serve", "agent.backup.wal.serve"),
    *("agent.cli._report", "agent.report", "_strptime"),
)


@dataclass(frozen=True)
class Request:
    """A command line, its environment and files for its output, and what is to befall it.

    `strike_at` is the number of the event, from 1, before which `signal` hits the process;
    `report` a file for the names of the calls to the store, or of the events.
    """

    arguments: list[str]
    environment: dict[str, str]
    stdout: str
    stderr: str
    segment_bytes: int | None = None
    signal: int = signal.SIGKILL
    strike_at: int | None = None
    fault: dict[str, Any] | None = None
    watch_store: bool = False
    report: str | None = None


def _trap(request: Request) -> list[str]:
    """Strike at the n-th event; return the list that the events' names go to."""
    counter = itertools.count(1)
    names: list[str] = []

    def event(name: str) -> None:
        names.append(name)
        if next(counter) == request.strike_at:
            os.kill(os.getpid(), request.signal)

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        opened = name == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
        if opened or name in EVENTS:
            event(name)

    def wrapped(name: str) -> None:
        original = getattr(os, name)

        def call(*arguments: Any) -> Any:
            event(f"os.{name}")
            return original(*arguments)

        setattr(os, name, call)

    whole = os.pwrite

    def torn(descriptor: int, data: Any, offset: int) -> int:
        half = len(data) // 2
        event("os.pwrite")
        whole(descriptor, data[:half], offset)
        event("os.pwrite, torn")
        return half + whole(descriptor, data[half:], offset + half)

    # os.kill is itself an event: the trap's own comes after its number and strikes once only
    sys.addaudithook(hook)
    for name in WRAPPED:
        wrapped(name)
    os.pwrite = torn
    return names


def _watch_store(request: Request) -> list[FaultStore]:
    import agent.store
    from agent.backup import listing, log_restore, log_segments, make
    from agent.backup.wal import place

    original = agent.store.open_store
    opened: list[FaultStore] = []
    prefixes: list[str] = []

    def open_store(config: Any) -> FaultStore:
        fault = Fault(**request.fault) if request.fault else None
        if not opened:
            opened.append(FaultStore(original(config), fault))
            prefixes.append(config.prefix)
        elif config.prefix not in prefixes:  # the write-ahead log's, counted with the others
            opened.append(opened[0].beside(original(config)))
            prefixes.append(config.prefix)
        return opened[prefixes.index(config.prefix)]

    for module in (agent.store, make, listing, log_segments, log_restore, place):
        module.open_store = open_store  # type: ignore[attr-defined]
    return opened


def _run(request: Request) -> NoReturn:
    from agent import cli
    from agent.backup import log_segments, make

    if request.segment_bytes is not None:
        shipping = log_segments.shipping.__wrapped__  # type: ignore[attr-defined]
        for defaults in (make.back_up.__kwdefaults__, shipping.__kwdefaults__):
            assert defaults is not None
            defaults["segment_bytes"] = request.segment_bytes
    stores = _watch_store(request) if request.watch_store else []
    names = _trap(request) if request.strike_at is not None else []
    try:
        cli.main(request.arguments)
    finally:
        for store in stores:
            store.settle()
            names = store.names
        if request.report is not None:
            with open(request.report, "w") as report:
                json.dump(names, report)


def _become_child(request: Request) -> None:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    os.dup2(os.open(request.stdout, flags, 0o600), 1)
    os.dup2(os.open(request.stderr, flags, 0o600), 2)
    os.environ.clear()
    os.environ.update(request.environment)
    faulthandler.register(signal.SIGUSR2, all_threads=True)


def serve() -> None:
    """Answer requests until standard input ends."""
    for module in MODULES:
        importlib.import_module(module)
    from agent.logs.scan.rules import load

    load()  # the shipped rules: read and checked once, and kept
    # what is there now stays in every fork, which need not look through it, nor copy its pages
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)  # as `agent.__main__` does
    requests, replies = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    while line := requests.readline():
        request = Request(**json.loads(line))
        pid = os.fork()
        if pid == 0:
            requests.close()
            replies.close()
            _become_child(request)
            _run(request)
        replies.write(f"{pid}\n")
        replies.flush()
        replies.write(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n")
        replies.flush()


if __name__ == "__main__":
    serve()
