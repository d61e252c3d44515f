"""Hands files of a write-ahead log to a confined server that has neither key nor network.

Named pipes and a file in a directory that the server sees read-only: its `restore_command` is
a script that writes a name into `ask`, reads a digit from `answer`, and copies `file`. PostgreSQL
takes any status from 1 to 125 for the end of the log and promotes, so the script says 1 for proved
absence alone and 200 for everything else, its own failures among it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from agent import run
from agent.errors import Art32Error, Code
from agent.store import Bytes

SCRIPT = """#!/bin/sh
# sh fetch NAME PATH: 0 it is there, 1 there is none, 200 nobody knows
here=${0%/*}
printf '%s\\n' "$1" >"$here/ask" || exit 200
read -r answer <"$here/answer" || exit 200
case $answer in
0) cp "$here/file" "$2" || exit 200 ;;
1) exit 1 ;;
*) exit 200 ;;
esac
"""
_LONGEST = 256
_TURN_SECONDS = 0.5
_GRACE_SECONDS = 2.0


class Feed:
    """The end of this process. `failure` is what fetching raised; `files` counts what was given."""

    def __init__(self, directory: Path, fetch: Callable[[str], Bytes | None], stop: int) -> None:
        self._stop = stop
        self.failure: BaseException | None = None
        self.files = 0
        self._directory = directory
        self._fetch = fetch
        self._ended = threading.Event()

    def stop(self) -> None:
        """Have the server shut down (`_basebackup_server`)."""
        os.write(self._stop, b"stop\n")

    def _answer(self, name: str) -> bytes:
        file = self._directory / "file"
        file.unlink(missing_ok=True)
        try:
            content = self._fetch(name)
            if content is None:
                return b"1\n"
            with file.open("xb") as target:
                target.write(content)
            file.chmod(0o644)
        except OSError as error:
            reason = (error.strerror or "error").lower()
            self.failure = Art32Error(
                Code.DISK, f"no room beside the target for one file of the log: {reason}"
            )
        except BaseException as error:  # noqa: BLE001 - raised where the server is waited for
            self.failure = error
        else:
            self.files += 1
            return b"0\n"
        return b"2\n"

    def _serve(self, ask: int, answer: int) -> None:
        pending = b""
        while not self._ended.is_set():
            if not run.readable([ask], _TURN_SECONDS):
                continue
            pending += os.read(ask, _LONGEST)
            line, newline, pending = pending.partition(b"\n")
            if not newline:
                pending = line[:_LONGEST]
                continue
            os.write(answer, self._answer(line.decode("ascii", "replace")))


@contextlib.contextmanager
def feed(directory: Path, fetch: Callable[[str], Bytes | None]) -> Iterator[Feed]:
    """Serve a server's `restore_command` from a directory of ours for the block."""
    (directory / "fetch").write_text(SCRIPT)
    (directory / "fetch").chmod(0o644)
    descriptors = []
    for name, mode in (("ask", 0o622), ("answer", 0o644), ("stop", 0o644)):
        os.mkfifo(directory / name)
        (directory / name).chmod(mode)
        # both ends in one descriptor: never an end of file, never a wait for the other side
        descriptors.append(os.open(directory / name, os.O_RDWR | os.O_CLOEXEC))
    one = Feed(directory, fetch, descriptors[2])
    server = threading.Thread(target=one._serve, args=tuple(descriptors[:2]), daemon=True)
    server.start()
    try:
        yield one
    finally:
        one._ended.set()
        server.join(_GRACE_SECONDS)
        if not server.is_alive():  # one that a store holds up is left to itself, with its pipes
            for descriptor in descriptors:
                os.close(descriptor)
